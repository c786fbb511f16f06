"""Logits on the working grid to labels on the CT's own grid, never classes times native voxels.

Linear interpolation is a convex combination: in a cell of the working grid a logit stays between
the least and the greatest of the cell's corners. A class whose greatest is below another's least
cannot win there, so each class is interpolated only in the box of cells where it may win: in slabs
of native slices, with a running maximum. Exact, and a fraction of the work.
"""

import numpy as np
from numpy.typing import NDArray

from inference.geometry import Box, Shape, as_shape

Array = NDArray[np.float32]

SLAB_SLICES = 8
"""Native slices at a time: 8 x 512 x 512 floats are 8 MB, and the fewer, the tighter the boxes."""
_ROUNDING = 1e-5
"""Share of the largest logit by which float32 interpolation may leave its corners; it is less."""


def labels_at(logits: Array, shape: Shape) -> NDArray[np.uint8]:
    """Interpolate `logits` linearly to `shape` and take the class with the largest.

    The same rule as `resample_linear` followed by argmax (the lowest class wins a tie).

    Args:
        logits: float32 [K, Z, Y, X], finite, class 0 is background; K at most 256.
        shape: Shape of the result, covering the same box.

    Returns:
        uint8 labels of `shape`.
    """
    axes = [_Axis(old, new) for old, new in zip(as_shape(logits[0]), shape, strict=True)]
    labels = np.zeros(shape, dtype=np.uint8)
    for first in range(0, shape[0], SLAB_SLICES):
        z = slice(first, min(first + SLAB_SLICES, shape[0]))
        cells = _may_win(logits[:, axes[0].support(z)])
        foreground: NDArray[np.bool_] = np.any(cells[1:], axis=0)
        whole = _box(foreground, z, axes)
        if whole is not None:
            boxes = [_box(where, z, axes) for where in cells]
            labels[whole] = _slab_labels(logits, axes, boxes, whole)
    return labels


def _may_win(block: Array) -> NDArray[np.bool_]:
    """Say where in a slab [K, z, Y, X] each class may win: bool [K, Y cells, X cells]."""
    least = _over_cells(block.min(axis=1), np.minimum)
    most = _over_cells(block.max(axis=1), np.maximum)
    margin = np.float32(_ROUNDING * max(-float(least.min()), float(most.max())))
    found: NDArray[np.bool_] = most >= least.max(axis=0) - margin
    return found


def _over_cells(corners: Array, extreme: np.ufunc) -> Array:
    """Reduce [K, Y, X] corners to cells of two by two; an axis of one voxel is one cell."""
    if corners.shape[1] > 1:
        corners = extreme(corners[:, :-1], corners[:, 1:])
    if corners.shape[2] > 1:
        corners = extreme(corners[:, :, :-1], corners[:, :, 1:])
    return corners


def _box(cells: NDArray[np.bool_], z: slice, axes: list["_Axis"]) -> Box | None:
    """Return the native box of the slices `z` around the True cells [Y, X]; None if it is empty."""
    spans = [np.flatnonzero(cells.any(axis=other)) for other in (1, 0)]
    if not spans[0].size:
        return None
    y, x = (axis.within(s[0], s[-1]) for axis, s in zip(axes[1:], spans, strict=True))
    return (z, y, x) if y.start < y.stop and x.start < x.stop else None


def _slab_labels(
    logits: Array, axes: list["_Axis"], boxes: list[Box | None], whole: Box
) -> NDArray[np.uint8]:
    """Return the labels of the box `whole`; class k is looked at in `boxes[k]` only."""
    best = np.full([part.stop - part.start for part in whole], -np.inf, dtype=np.float32)
    winner = np.zeros(best.shape, dtype=np.uint8)
    for label, box in enumerate(boxes):
        inside = None if box is None else _common(box, whole)
        if inside is None:
            continue
        value = _interpolated(logits[label], axes, inside)
        place = tuple(
            slice(a.start - b.start, a.stop - b.start) for a, b in zip(inside, whole, strict=True)
        )
        better = value > best[place]
        np.copyto(best[place], value, where=better)
        np.copyto(winner[place], np.uint8(label), where=better)
    return winner


def _common(one: Box, other: Box) -> Box | None:
    """Return the intersection of two boxes of the same slices; None if it is empty."""
    y, x = (
        slice(max(a.start, b.start), min(a.stop, b.stop))
        for a, b in zip(one[1:], other[1:], strict=True)
    )
    return (one[0], y, x) if y.start < y.stop and x.start < x.stop else None


def _interpolated(volume: Array, axes: list["_Axis"], box: Box) -> Array:
    """Return the native voxels in `box`, interpolated from `volume` [Z, Y, X]."""
    block = volume[tuple(axis.support(part) for axis, part in zip(axes, box, strict=True))]
    for number, (axis, part) in enumerate(zip(axes, box, strict=True)):
        block = axis.blend(block, part, number)
    return block


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

    def within(self, first: int, last: int) -> slice:
        """Return the fine voxels in the cells first..last; cell i starts at coarse voxel i."""
        start, stop = np.searchsorted(self._below, (first, last + 1))
        return slice(int(start), int(stop))

    def blend(self, block: Array, fine: slice, axis: int) -> Array:
        """Interpolate `block`, the support of `fine`, along its axis number `axis`."""
        share = self._share[fine].reshape([-1 if a == axis else 1 for a in range(3)])
        start = self.support(fine).start
        low: Array = block.take(self._below[fine] - start, axis)
        if not share.any():
            return low
        high = block.take(self._above[fine] - start, axis)
        high -= low
        high *= share
        low += high
        return low
