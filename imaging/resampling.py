"""Resampling: linear, voxel centers at half-integers, edges extended.

The same rule as torch's `interpolate(mode="trilinear", align_corners=False)` and skimage's
`resize(order=1, mode="edge", anti_aliasing=False)`, which nnU-Net uses at order 1.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.axis import center
from imaging.geometry import Shape, as_shape

SLAB_SLICES = 32
"""Slices of the result at a time: no float32 copy of a long CT is ever held."""


def resample_linear(
    array: NDArray[np.float32] | NDArray[np.int16],
    shape: Shape,
    clip: tuple[float, float] | None = None,
) -> NDArray[np.float32]:
    """Resample [Z, Y, X] to float32 of `shape`, covering the same box.

    Args:
        array: float32 or int16 [Z, Y, X]; may be a flipped or transposed view.
        shape: Shape of the result.
        clip: Least and greatest value, enforced before interpolation; None leaves them.

    Returns:
        float32; `array` itself if there is nothing to do.
    """
    if as_shape(array) == shape:
        return _floats(array, clip)
    result = np.empty(shape, dtype=np.float32)
    for place, slab in linear_slabs(array, shape, clip):
        result[place] = slab
    return result


def linear_slabs(
    array: NDArray[np.float32] | NDArray[np.int16],
    shape: Shape,
    clip: tuple[float, float] | None = None,
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield what `resample_linear` returns, `SLAB_SLICES` slices at a time, with their place."""
    ratio = array.shape[0] / shape[0]
    for first in range(0, shape[0], SLAB_SLICES):
        last = min(first + SLAB_SLICES, shape[0]) - 1
        place = center(first, ratio)
        start = max(0, math.floor(place))
        stop = math.floor(center(last, ratio)) + 2
        slab = _floats(array[start:stop], clip)
        size = (last + 1 - first, *shape[1:])
        spacing = (ratio, array.shape[1] / shape[1], array.shape[2] / shape[2])
        yield (
            slice(first, last + 1),
            _resampled(slab, size, spacing, place - start, sitk.sitkLinear),
        )


def resample_nearest(labels: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """Resample uint8 [Z, Y, X] labels to `shape`: the label of the nearest voxel center."""
    if as_shape(labels) == shape:
        return labels
    z, y, x = (old / new for old, new in zip(labels.shape, shape, strict=True))
    return _resampled(labels, shape, (z, y, x), center(0, z), sitk.sitkNearestNeighbor)


def _floats(
    array: NDArray[np.float32] | NDArray[np.int16], clip: tuple[float, float] | None
) -> NDArray[np.float32]:
    values = array.astype(np.float32, copy=False)
    return values if clip is None else np.clip(values, *clip)


def _resampled(
    array: NDArray[Any],
    size: Shape,
    spacing: tuple[float, float, float],
    offset_z: float,
    interpolator: int,
) -> NDArray[Any]:
    """Resample to voxels `spacing` apart, the first slice at `offset_z`; unit: `array`'s voxels."""
    _, y, x = spacing
    found: NDArray[Any] = sitk.GetArrayFromImage(
        sitk.Resample(
            sitk.GetImageFromArray(array),
            size[::-1],
            sitk.Transform(),
            interpolator,
            (center(0, x), center(0, y), offset_z),
            spacing[::-1],
        )
    )
    return found
