"""Whether a CT's numbers look like Hounsfield units, from a histogram of some of its voxels.

In Hounsfield units air is at -1000, fat at -100, soft tissue at 40, and little lies between fat and
lung. A table of the frequency of each value in abdominal CTs is compared with the histogram as it
is, shifted, and mirrored. If a shifted or mirrored table fits much better, the numbers are not
Hounsfield units, and the best fit says what they are.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from imaging.hounsfield import Hu

Floats = NDArray[np.float64]
_VOXELS = 1 << 16
"""Most voxels that are read."""
_FEWEST = 1000
"""With fewer voxels there is no warning."""
_BIN_HU, _LOWEST_HU, _BINS = 16, -65536, 8192
_TABLE_HU = (-1408, 1792)
_RARE = 1e-4
"""Share of a bin that hardly ever occurs."""
_NO_AIR_HU, _NO_AIR = -30, 0.005
"""In every part of a body fat or gas, under -30 HU, has a larger share than this."""
_BETTER, _MUCH_BETTER = 0.5, 0.8
"""Log-likelihood per voxel by which another reading must fit better. In 30 correct CTs it is at
most .10, in parts of them .46; for numbers shifted by 200 it is .67 and more."""
_MIRRORED = 0.1
_WORST_FIT = 4.2
"""30 CTs have 5.2 to 5.7; parts of them have 4.4 and more."""
_WINDOW = 300
"""The HU of a body have a wider range."""


def warning(hu: Hu) -> str | None:
    """Say what numbers look like that are not Hounsfield units; None where they may be.

    Args:
        hu: [Z, Y, X], finite, not all the same.
    """
    seen = _some(hu).astype(np.float64)
    if seen.size < _FEWEST:
        return None
    reading = _looks_like(seen)
    if reading is None:
        return None
    low, high = float(hu.min()), float(hu.max())
    return f"the numbers, {low:g} to {high:g}, do not look like Hounsfield units; {reading}"


def _looks_like(seen: Floats) -> str | None:
    low, high = float(seen.min()), float(seen.max())
    no_air = float(np.mean(seen < _NO_AIR_HU)) < _NO_AIR
    if no_air and high - low < _WINDOW:
        return _window(seen)
    if high > np.iinfo(np.int16).max:
        signed = np.where(seen > np.iinfo(np.int16).max, seen - (1 << 16), seen)
        if np.ptp(signed) < np.ptp(seen) and _looks_like(signed) is None:
            return (
                "signed 16-bit numbers are called unsigned, it seems; mend the header's data type"
            )
    inner = seen[(seen > low) & (seen < high)]  # a window leaves its air and bone at its ends
    fits = [_fits(seen)] + ([_fits(inner)] if inner.size >= _FEWEST else [])
    better = min(moved - here for here, moved, *_ in fits)
    here, moved, mirrored, offset, turned = fits[0]
    if mirrored > moved + _MIRRORED and mirrored - here > _BETTER:
        return f"dark and bright are exchanged, it seems: they are {turned} less HU; invert them"
    if better > (_MUCH_BETTER if no_air else _BETTER):
        if max(fit[1] for fit in fits) < _WORST_FIT:
            return "they are on another scale, it seems; give HU"
        return f"about {offset:+,d} was added to HU, it seems; subtract it"
    if no_air:
        return "there is neither air nor fat; is it a CT, or an MR image?"
    if max(fit[0] for fit in fits) < _WORST_FIT:
        return "air, fat and soft tissue are not where they belong; is it a CT?"
    return None


def _some(hu: Hu) -> Hu:
    """Return voxels from all over a volume, flat."""
    steps = [1, 1, 1]
    counts = list(hu.shape)
    while counts[0] * counts[1] * counts[2] > _VOXELS:
        axis = counts.index(max(counts))
        steps[axis] += 1
        counts[axis] = -(-hu.shape[axis] // steps[axis])
    return hu[:: steps[0], :: steps[1], :: steps[2]].ravel()


def _window(seen: Floats) -> str:
    """Name numbers that span less than a body does."""
    low, high = float(seen.min()), float(seen.max())
    if low >= 0 and high <= 1:
        return "they are a window scaled to 0..1, it seems; give the whole range in HU"
    if low >= -1 and high <= 1:
        return "they are a window scaled to -1..1, or HU over 1000, it seems; give HU"
    if abs(float(seen.mean())) < 0.25 and 0.5 < float(seen.std()) < 2:
        return "they are z-scores, it seems; give HU"
    if low >= 0 and high <= 255:
        return "they are a window in 8 bits, it seems; give the whole range in HU"
    if _fits(seen * 1000)[0] > _WORST_FIT:
        return "they are HU over 1000, it seems; multiply them"
    return "they span too little for a body; give HU"


def _fits(seen: Floats) -> tuple[float, float, float, int, int]:
    """Compare the table with the histogram of `seen`.

    Returns:
        The fit without a shift, with the best shift, and mirrored with its best shift; then the
        number, in HU, that was added, and the number from which the mirrored HU were subtracted.
    """
    bins = ((seen - _LOWEST_HU) / _BIN_HU).clip(0, _BINS - 1).astype(np.int64)
    histogram = np.bincount(bins, minlength=_BINS) / seen.size
    table = _table()
    moved = np.fft.irfft(np.fft.rfft(histogram) * table)
    mirrored = np.fft.irfft(np.fft.rfft(histogram[::-1]) * table)
    best, turned = int(moved.argmax()), int(mirrored.argmax())
    here = (_TABLE_HU[0] - _LOWEST_HU) // _BIN_HU
    offset, shift = ((place - here) * _BIN_HU for place in (best, turned))
    return float(moved[here]), float(moved[best]), float(mirrored[turned]), offset, -shift


@cache
def _table() -> NDArray[np.complex128]:
    """Return the Fourier transform of the log frequency of values in abdominal CTs."""
    hu = np.arange(*_TABLE_HU, _BIN_HU) + _BIN_HU / 2

    def peak(middle: float, width: float) -> Floats:
        bell: Floats = np.exp(-(((hu - middle) / width) ** 2) / 2)
        return bell / (width * float(np.sqrt(2 * np.pi)))

    def level(low: float, high: float) -> Floats:
        return ((hu >= low) & (hu < high)) / (high - low)

    air, lung = 0.4 * peak(-1000, 40), 0.08 * level(-950, -150)
    fat, soft = 0.18 * peak(-100, 35), 0.22 * peak(45, 40)
    bright = 0.09 * level(60, 300) + 0.03 * level(300, 1400)
    shares = (air + lung + fat + soft + bright) * _BIN_HU
    return np.conj(np.fft.rfft(np.log(shares + _RARE) - np.log(_RARE), _BINS))
