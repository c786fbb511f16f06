"""Resampling: linear, voxel centers at half-integers, edges extended.

The same rule as torch's `interpolate(mode="trilinear", align_corners=False)` and skimage's
`resize(order=1, mode="edge", anti_aliasing=False)`, which nnU-Net uses at order 1.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.axis import Linear, nearest
from imaging.geometry import Shape, as_shape
from imaging.memory import give_back

SLAB_SLICES = 32
"""Slices of the result at a time: no float32 copy of a long CT is ever held."""
Stored = NDArray[np.float32] | NDArray[np.int16]
Floats = NDArray[np.float64]
_Axis = tuple[NDArray[np.intp], NDArray[np.intp], Floats]
"""Of each voxel of the result: the first and the second stored one, and the weight of that."""


def resample_linear(
    array: Stored,
    shape: Shape,
    clip: tuple[float, float] | None = None,
    *,
    consume: bool = False,
) -> NDArray[np.float32]:
    """Resample [Z, Y, X] to float32 of `shape`, covering the same box.

    Args:
        array: float32 or int16 [Z, Y, X]; may be a flipped or transposed view.
        shape: Shape of the result.
        clip: Least and greatest value, enforced before interpolation; None leaves them.
        consume: Give the memory of `array` back as it is read, where there are slabs: it holds
            zeros afterwards.

    Returns:
        float32; `array` itself if there is nothing to do.
    """
    if as_shape(array) == shape:
        values = array.astype(np.float32, copy=False)
        return values if clip is None else np.clip(values, *clip)
    result = np.empty(shape, dtype=np.float32)
    slices, done = Linear(array.shape[0], shape[0]), 0
    for place, slab in linear_slabs(array, shape, clip):
        result[place] = slab
        if consume:
            needed = slices.first_needed(place.stop)
            give_back(array[done:needed])
            done = needed
    return result


def linear_slabs(
    array: Stored, shape: Shape, clip: tuple[float, float] | None = None
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield what `resample_linear` returns, `SLAB_SLICES` slices at a time, with their place.

    Slices are resampled in their plane first, in float64, and each only once: a slice of the result
    is made of one or two of them. What no voxel of the result is made of is never converted.
    """
    maps = [Linear(*sizes) for sizes in zip(array.shape, shape, strict=True)]
    z, y, x = ((axis.below, axis.above, axis.place - axis.below) for axis in maps)
    held: dict[int, Floats] = {}
    for first in range(0, shape[0], SLAB_SLICES):
        place = slice(first, min(first + SLAB_SLICES, shape[0]))
        slab = np.empty((place.stop - first, *shape[1:]), np.float32)
        for part, low, high, share in zip(slab, *(of[place] for of in z), strict=True):
            held = {
                end: held[end] if end in held else _plane(array[end], y, x, clip)
                for end in (int(low), int(high))
            }
            part[:] = _between(held[int(low)], held[int(high)], share)
        yield place, slab


def resample_nearest(labels: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """Resample uint8 [Z, Y, X] labels to `shape`: the label of the nearest voxel center."""
    if as_shape(labels) == shape:
        return labels
    return labels[np.ix_(*(nearest(*sizes) for sizes in zip(labels.shape, shape, strict=True)))]


def _plane(part: NDArray[Any], y: _Axis, x: _Axis, clip: tuple[float, float] | None) -> Floats:
    """Resample one slice [Y, X]: rows first, which are taken whole, then columns."""
    low, high = (_rows(part[rows], clip) for rows in y[:2])
    rows = _between(low, high, y[2][:, np.newaxis])
    return _between(rows[:, x[0]], rows[:, x[1]], x[2])


def _rows(rows: NDArray[Any], clip: tuple[float, float] | None) -> Floats:
    """Return stored numbers clipped; 16-bit ones before they are converted, which is faster."""
    if clip is not None and rows.dtype == np.int16 and all(_is_int16(bound) for bound in clip):
        rows = np.clip(rows, np.int16(clip[0]), np.int16(clip[1]))
        clip = None
    values: Floats = rows.astype(np.float64)
    return values if clip is None else np.clip(values, *clip, out=values)


def _is_int16(bound: float) -> bool:
    return -(2**15) <= bound < 2**15 and bound == int(bound)


def _between(low: Floats, high: Floats, share: Any) -> Floats:
    """Return what lies between two arrays, `share` of the way from the first to the second."""
    difference = high - low
    difference *= share
    difference += low
    return difference
