"""The kit's one resampler: linear, voxel centers at half-integers, edges extended.

The same rule as torch's `interpolate(mode="trilinear", align_corners=False)` and skimage's
`resize(order=1, mode="edge", anti_aliasing=False)`, which is what nnU-Net does at order 1.
"""

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from inference.geometry import Shape, as_shape


def resample_linear(array: NDArray[np.float32], shape: Shape) -> NDArray[np.float32]:
    """Resample float32 [Z, Y, X] to `shape`, covering the same box."""
    return _resampled(array.astype(np.float32, copy=False), shape, sitk.sitkLinear)


def resample_nearest(labels: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """Resample uint8 [Z, Y, X] labels to `shape`: the label of the nearest voxel center."""
    return _resampled(labels, shape, sitk.sitkNearestNeighbor)


def _resampled(array: NDArray, shape: Shape, interpolator: int) -> NDArray:  # type: ignore[type-arg]
    if as_shape(array) == shape:
        return array
    step = [old / new for old, new in zip(array.shape[::-1], shape[::-1], strict=True)]
    result = sitk.Resample(
        sitk.GetImageFromArray(array),
        shape[::-1],
        sitk.Transform(),
        interpolator,
        [0.5 * s - 0.5 for s in step],
        step,
    )
    return sitk.GetArrayFromImage(result)
