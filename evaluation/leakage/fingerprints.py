"""A CT reduced to what every copy of it keeps: a coarse, clipped image in patient axes.

Copies are re-windowed, cropped, resampled, turned. So the numbers are clipped to a narrow soft
tissue window, which most windows contain, averaged over 4 mm, and laid on a grid that is anchored
at the patient's zero point, so that a crop with its own origin falls on the same voxels.
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from imaging.digest import sha256
from imaging.errors import KitError
from imaging.files import make_folder, replacing
from imaging.geometry import Orientation
from imaging.volumes import Volume, read_place, read_volume

STEP_MM = 4.0
_WINDOW_HU = (-160.0, 240.0)
_TAILS = (0.5, 99.5)
"""Percentiles that stand for the window where the numbers are no Hounsfield units."""
_VERSION = 2
"""Of the cache: a fingerprint of another version is made anew."""


@dataclass(frozen=True)
class Fingerprint:
    """The coarse image of one CT."""

    values: NDArray[np.uint8]
    """uint8 [Z, Y, X], axes to Superior, Posterior, Left; 0 is -160 HU, 255 is 240 HU."""
    start: tuple[int, int, int]
    """Place of the first voxel on the grid of all patients, in voxels."""
    hounsfield: bool = True
    """False: the numbers are no Hounsfield units, and 0 to 255 is the range that they have."""


def fingerprint(path: Path) -> Fingerprint:
    """Read a CT and reduce it.

    Raises:
        VolumeError: It cannot be read.
    """
    volume = read_volume(path)
    turn = Orientation.to("LPS", volume.direction)
    hu, spacing = turn.apply(volume.hu), turn.grid(volume.grid).spacing_mm
    hounsfield = not any("Hounsfield" in warning for warning in volume.warnings)
    low, high = _WINDOW_HU if hounsfield else _range(volume)
    kernels = [
        _kernel(count, mm, first)
        for count, mm, first in zip(hu.shape, spacing, _first_mm(path, volume), strict=True)
    ]
    (_, over_z), (_, over_y), (_, over_x) = kernels
    slices = np.empty((len(hu), len(over_y), len(over_x)), np.float32)
    for z, stored in enumerate(hu):
        scaled = (np.clip(stored.astype(np.float32), low, high) - low) / (high - low)
        slices[z] = over_y @ scaled @ over_x.T
    values = np.tensordot(over_z, slices, 1)
    starts = [start for start, _ in kernels]
    start = starts[0], starts[1], starts[2]
    return Fingerprint(np.rint(255 * values).astype(np.uint8), start, hounsfield)


def cached_fingerprint(path: Path, digest: str, cache: Path | None) -> Fingerprint:
    """Return the fingerprint of a CT, from the folder `cache` if it is there.

    Args:
        path: The CT.
        digest: Its sha256.
        cache: Folder of fingerprints, by digest; None keeps none.

    Raises:
        KitError: The CT cannot be read, or the folder cannot be written.
    """
    if cache is None:
        return fingerprint(path)
    kept = cache / f"{sha256(f'{_VERSION} {digest}'.encode())[:32]}.npz"
    if kept.is_file():
        try:
            with np.load(kept, allow_pickle=False) as arrays:
                z, y, x = (int(place) for place in arrays["start"])
                return Fingerprint(arrays["values"], (z, y, x), bool(arrays["hounsfield"]))
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise KitError(f"{kept} is damaged ({error}); delete it") from error
    found = fingerprint(path)
    make_folder(cache)
    with replacing(kept) as partial, partial.open("wb") as stream:
        np.savez_compressed(
            stream, values=found.values, start=found.start, hounsfield=found.hounsfield
        )
    return found


def _range(volume: Volume) -> tuple[float, float]:
    """Return what becomes 0 and 1 where the numbers are no Hounsfield units."""
    low, high = (float(tail) for tail in np.percentile(volume.hu[::2, ::4, ::4], _TAILS))
    return low, max(high, low + 1e-6)


def _first_mm(path: Path, volume: Volume) -> tuple[float, float, float]:
    """Return where the first voxel lies, (Z, Y, X), once the axes grow to S, P, L."""
    place = read_place(path, volume.header)
    steps = volume.direction * place.spacing_mm
    last = np.array(volume.hu.shape[::-1]) - 1
    corners = [place.origin_mm + steps @ (last * corner) for corner in np.ndindex(2, 2, 2)]
    x, y, z = np.min(corners, axis=0).tolist()
    return z, y, x


def _kernel(count: int, mm: float, first_mm: float) -> tuple[int, NDArray[np.float32]]:
    """Return the first coarse voxel of an axis, and the weights [coarse, stored] of its means.

    Coarse voxel k lies around (k + 0.5) * STEP_MM; those that the CT does not fill are left out,
    but one stays.
    """
    begin, end = first_mm - mm / 2, first_mm + (count - 0.5) * mm
    start = int(np.ceil(begin / STEP_MM - 1e-6))
    stop = max(start + 1, int(np.floor(end / STEP_MM + 1e-6)))
    centers = (np.arange(start, stop) + 0.5) * STEP_MM
    stored = first_mm + np.arange(count) * mm
    apart = np.abs(centers[:, None] - stored[None]) / max(STEP_MM, mm)
    weights = np.clip(1 - apart, 0, None)
    empty = ~weights.any(axis=1)
    weights[empty, np.argmin(apart[empty], axis=1)] = 1
    weights /= weights.sum(axis=1, keepdims=True)
    return start, weights.astype(np.float32)
