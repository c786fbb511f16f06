"""Whether two fingerprints are of one CT: their best place on each other, and how alike they are.

What is compared is not the numbers but the contrast of each voxel to its neighbours, which survives
another window. Every translation is tried at once, by Fourier transforms on a 16 mm grid, in all
eight mirrored forms; the best are followed up to 4 mm and to parts of a voxel.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from evaluation.leakage.fingerprints import STEP_MM, Fingerprint

Floats = NDArray[np.float32]
Shift = NDArray[np.int64]
"""Voxels along Z, Y, X: int64 [3]."""
Mirrored = tuple[bool, bool, bool]

_COARSE = 4
"""Voxels of the fingerprint in one of the first search: 16 mm."""
_SOFT = 0.1
"""Difference to a neighbour that counts fully: 40 HU of the window's 400."""
_LEAST_SHARED = 0.3
"""Share of the smaller CT's contrast that must lie in both."""
_CANDIDATE = 0.4
"""Likeness on the coarse grid that is followed up."""
_RIVAL = 0.1
"""A mirrored form is followed up too if it is worse by less."""
_LEVELS = 256
"""Of a fingerprint's numbers."""
_FORMS: tuple[Mirrored, ...] = tuple(
    (z, y, x) for z in (False, True) for y in (False, True) for x in (False, True)
)


@dataclass(frozen=True)
class Match:
    """Two CTs laid on each other as well as they go."""

    likeness: float
    """Correlation of their contrasts where both lie, -1 to 1."""
    shift_mm: tuple[float, float, float]
    """How far the second is moved along Z, Y, X, beyond what the two headers say."""
    mirrored: Mirrored
    """Axes Z, Y, X along which the second is mirrored."""
    shared: float
    """Share of the smaller CT's contrast that lies in both."""


class PreparedCt:
    """A fingerprint and what all its comparisons need."""

    def __init__(self, found: Fingerprint) -> None:
        """Compute the coarse contrast once."""
        self.found = found
        self.values = np.asarray(found.values / 255, np.float32)
        self.skipped: Shift = -np.array(found.start) % _COARSE
        self.coarse = contrast(block_means(self.values, self.skipped, _COARSE))

    def form(self, mirrored: Mirrored) -> tuple[Floats, Floats, Shift]:
        """Return the values and coarse contrast, mirrored, and what lies before its first block."""
        turn = tuple(slice(None, None, -1 if flip else 1) for flip in mirrored)
        behind = np.array(self.values.shape) - self.skipped - _COARSE * np.array(self.coarse.shape)
        return self.values[turn], self.coarse[turn], np.where(mirrored, behind, self.skipped)


def best_match(first: PreparedCt, second: PreparedCt) -> Match | None:
    """Return the best way to lay `second` on `first`; None where no way is worth a closer look."""
    starts = []
    for mirrored in _FORMS:
        values, coarse, before = second.form(mirrored)
        score, blocks = _best_translation(first.coarse, coarse)
        if score >= _CANDIDATE:
            shift = first.skipped - before + _COARSE * blocks
            starts.append((score, mirrored, values, shift))
    best = max((score for score, *_ in starts), default=0.0)
    found = [
        _followed(first, second, mirrored, values, shift)
        for score, mirrored, values, shift in starts
        if score >= best - _RIVAL
    ]
    return max(found, key=lambda match: match.likeness, default=None)


def contrast(values: Floats) -> Floats:
    """Return how much brighter each voxel is than its 26 neighbours, -1 to 1: float32 [Z, Y, X]."""
    padded = np.pad(values, 1, mode="edge")
    found = np.zeros_like(values)
    for place in np.ndindex(3, 3, 3):
        if place != (1, 1, 1):
            z, y, x = (slice(a, a + n) for a, n in zip(place, values.shape, strict=True))
            found += np.clip((values - padded[z, y, x]) / _SOFT, -1, 1)
    return np.asarray(found / 26, np.float32)


def block_means(values: Floats, skipped: Iterable[int], size: int) -> Floats:
    """Return the means of blocks of `size` voxels along each axis, `skipped` voxels left out.

    An axis that is shorter than a block is one block.
    """
    for axis, skip in enumerate(skipped):
        rows = np.moveaxis(values, axis, 0)
        count = (len(rows) - skip) // size
        if count < 1:
            rows = rows.mean(axis=0, keepdims=True)
        else:
            rows = rows[skip : skip + count * size]
            rows = rows.reshape(count, size, *rows.shape[1:]).mean(axis=1)
        values = np.moveaxis(rows, 0, axis)
    return np.ascontiguousarray(values, np.float32)


def _followed(
    first: PreparedCt, second: PreparedCt, mirrored: Mirrored, values: Floats, shift: Shift
) -> Match:
    """Return the best place of `values`, the mirrored `second`, around a coarse `shift`."""
    odd = shift % 2
    one, two = (
        contrast(block_means(array, skipped, 2))
        for array, skipped in ((first.values, (0, 0, 0)), (values, odd))
    )
    shift = 2 * _best_near(one, two, (shift + odd) // 2, 2) - odd
    one, two = contrast(first.values), contrast(values)
    shift = _best_near(one, two, shift, 1)
    part = _part_of_voxel(one, two, shift)
    moved = ndimage.shift(values, part, order=1, mode="nearest", output=np.float32)
    score, shared = max(_at(one, two, shift), _at(one, contrast(moved), shift))
    if not (first.found.hounsfield and second.found.hounsfield):
        score = max(score, _at(one, contrast(_matched(first.values, moved, shift)), shift)[0])
    by_headers = np.subtract(second.found.start, first.found.start)
    z, y, x = (STEP_MM * (shift - by_headers + part)).tolist()
    return Match(score, (z, y, x), mirrored, shared)


def _best_translation(first: Floats, second: Floats) -> tuple[float, Shift]:
    """Return the best correlation over all translations of `second`, and that translation."""
    size = [
        fft.next_fast_len(a + b - 1, real=True)
        for a, b in zip(first.shape, second.shape, strict=True)
    ]

    def spectrum(array: Floats) -> NDArray[np.complex64]:
        return np.asarray(fft.rfftn(array, size))

    def inverse(product: NDArray[np.complex64]) -> Floats:
        return np.asarray(fft.irfftn(product, size))

    inside, of_second = spectrum(np.ones_like(first)), np.conj(spectrum(np.ones_like(second)))
    common = inverse(spectrum(first) * np.conj(spectrum(second)))
    energy = inverse(spectrum(first**2) * of_second)
    other = inverse(inside * np.conj(spectrum(second**2)))
    enough = np.minimum(energy, other) > _LEAST_SHARED * min((first**2).sum(), (second**2).sum())
    scores = np.where(enough, common / np.sqrt(np.maximum(energy * other, 1e-9)), -1)
    place = np.unravel_index(int(scores.argmax()), scores.shape)
    shift = np.where(np.less(place, first.shape), place, np.subtract(place, size))
    return float(scores[place]), shift


def _best_near(first: Floats, second: Floats, shift: Shift, reach: int) -> Shift:
    """Return the best of the translations of one contrast that are near `shift`."""
    near = [shift + step - reach for step in np.ndindex(*(2 * reach + 1,) * 3)]
    return max(near, key=lambda place: _at(first, second, place)[0])


def _overlap(
    first: Floats, second: Floats, shift: Shift
) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
    """Return where two arrays lie on each other, as parts of each; None where nowhere."""
    begin, end = np.maximum(0, shift), np.minimum(first.shape, shift + second.shape)
    if (begin >= end).any():
        return None
    return tuple(map(slice, begin, end)), tuple(map(slice, begin - shift, end - shift))


def _matched(first: Floats, second: Floats, shift: Shift) -> Floats:
    """Return `second` in the numbers of `first`: for each number, the mean of what lies there."""
    parts = _overlap(first, second, shift)
    if parts is None:
        return second
    levels, seen = (
        np.rint(255 * array).astype(np.intp).clip(0, _LEVELS - 1) for array in (second, first)
    )
    found = levels[parts[1]].ravel()
    total = np.bincount(found, seen[parts[0]].ravel(), _LEVELS)
    count = np.bincount(found, minlength=_LEVELS)
    known = np.flatnonzero(count)
    table = np.interp(np.arange(_LEVELS), known, total[known] / count[known]) / 255
    return np.asarray(table[levels], np.float32)


def _at(first: Floats, second: Floats, shift: Shift) -> tuple[float, float]:
    """Return the correlation at one translation, and the share of the smaller that lies in both.

    Args:
        first: Contrast, float32 [Z, Y, X].
        second: Contrast, float32 [Z, Y, X].
        shift: Voxels of `first` before the first of `second`.
    """
    parts = _overlap(first, second, shift)
    if parts is None:
        return -1.0, 0.0
    f, g = first[parts[0]], second[parts[1]]
    ff, gg, fg = (float(np.einsum("zyx,zyx->", a, b)) for a, b in ((f, f), (g, g), (f, g)))
    shared = f.size / min(first.size, second.size)
    return (fg / (ff * gg) ** 0.5 if ff > 0 and gg > 0 else -1.0), shared


def _part_of_voxel(first: Floats, second: Floats, shift: Shift) -> NDArray[np.float64]:
    """Return the part of a voxel by which `second` should move on: a parabola along each axis."""
    here = _at(first, second, shift)[0]
    parts = []
    for step in np.eye(3, dtype=np.int64):
        below, above = (_at(first, second, shift + d * step)[0] for d in (-1, 1))
        bend = below - 2 * here + above
        parts.append(float(np.clip((below - above) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0)
    return np.array(parts)
