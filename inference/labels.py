"""Logits on the working grid to labels on the CT's own grid, never classes times native voxels.

Linear interpolation is a convex combination: where every corner of a working-grid cell says
background, so does every native voxel in it. Only the box of cells with foreground is interpolated,
class by class in slabs of native slices with a running maximum.
"""

import numpy as np
from numpy.typing import NDArray

from inference.geometry import Shape, as_shape

SLAB_SLICES = 16
"""Native slices at a time: 16 x 512 x 512 floats are 17 MB, a good fit for caches and threads."""


def labels_at(logits: NDArray[np.float32], shape: Shape) -> NDArray[np.uint8]:
    """Interpolate `logits` linearly to `shape` and take the class with the largest.

    The same rule as `resample_linear` followed by argmax (the lowest class wins a tie).

    Args:
        logits: float32 [K, Z, Y, X], class 0 is background; K at most 256.
        shape: Shape of the result, covering the same box.

    Returns:
        uint8 labels of `shape`.
    """
    coarse = _argmax(logits)
    if as_shape(coarse) == shape:
        return coarse
    labels = np.zeros(shape, dtype=np.uint8)
    axes = [_Axis(old, new) for old, new in zip(coarse.shape, shape, strict=True)]
    for first in range(0, shape[0], SLAB_SLICES):
        slab = slice(first, min(first + SLAB_SLICES, shape[0]))
        low_z = axes[0].support(slab)
        foreground: NDArray[np.bool_] = np.any(coarse[low_z], axis=0)
        if not foreground.any():
            continue
        spans = [np.flatnonzero(foreground.any(axis=a)) for a in (1, 0)]
        y, x = (axis.touching(s[0], s[-1]) for axis, s in zip(axes[1:], spans, strict=True))
        if y.stop and x.stop:
            labels[slab, y, x] = _slab_labels(logits, axes, (slab, y, x))
    return labels


def _argmax(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """First class with the largest logit, in one pass per class."""
    best = logits[0].copy()
    winner = np.zeros(best.shape, dtype=np.uint8)
    for label in range(1, logits.shape[0]):
        better = logits[label] > best
        np.copyto(best, logits[label], where=better)
        np.copyto(winner, np.uint8(label), where=better)
    return winner


def _slab_labels(
    logits: NDArray[np.float32], axes: list["_Axis"], target: tuple[slice, slice, slice]
) -> NDArray[np.uint8]:
    low = tuple(axis.support(part) for axis, part in zip(axes, target, strict=True))
    along_z, along_y, along_x = (
        axis.matrix(part, near) for axis, part, near in zip(axes, target, low, strict=True)
    )
    best = _interpolate(logits[0][low], along_z, along_y, along_x)
    winner = np.zeros(best.shape, dtype=np.uint8)
    for label in range(1, logits.shape[0]):
        value = _interpolate(logits[label][low], along_z, along_y, along_x)
        better = value > best
        np.copyto(best, value, where=better)
        np.copyto(winner, np.uint8(label), where=better)
    return winner


def _interpolate(
    block: NDArray[np.float32],
    along_z: NDArray[np.float32],
    along_y: NDArray[np.float32],
    along_x: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Multiply [z, y, x] by a two-entries-a-row matrix on each axis: BLAS beats gathering here."""
    plane = np.matmul(along_y, block @ along_x.T)
    fine: NDArray[np.float32] = along_z @ plane.reshape(plane.shape[0], -1)
    shape = (along_z.shape[0], plane.shape[1], plane.shape[2])
    return fine.reshape(shape)


class _Axis:
    """Linear interpolation along one axis from `old` to `new` voxels over the same length."""

    def __init__(self, old: int, new: int) -> None:
        place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
        self._below = np.minimum(place.astype(np.intp), max(0, old - 2))
        self._above = np.minimum(self._below + 1, old - 1)
        self._share = (place - self._below).astype(np.float32)

    def support(self, fine: slice) -> slice:
        """Return the coarse voxels that the fine voxels in `fine` are made of."""
        return slice(int(self._below[fine][0]), int(self._above[fine][-1]) + 1)

    def touching(self, first: int, last: int) -> slice:
        """Return the fine voxels that have any of the coarse voxels first..last as a corner.

        Down-sampling may pass over all of them: the slice is then empty, 0..0.
        """
        found = np.flatnonzero((self._above >= first) & (self._below <= last))
        return slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 0)

    def matrix(self, fine: slice, coarse: slice) -> NDArray[np.float32]:
        """Return float32 [fine, coarse]: weights that make each fine voxel of coarse ones."""
        rows = np.arange(fine.stop - fine.start)
        weights = np.zeros((rows.size, coarse.stop - coarse.start), dtype=np.float32)
        share = self._share[fine]
        np.add.at(weights, (rows, self._below[fine] - coarse.start), 1 - share)
        np.add.at(weights, (rows, self._above[fine] - coarse.start), share)
        return weights
