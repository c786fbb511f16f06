"""Logits on the working grid to labels on the CT's grid, without all logits on the CT's grid.

Linear interpolation is a convex combination: in a cell of the working grid a logit lies between the
smallest and the largest of the cell's corners. A class whose largest is below another's smallest
cannot win there. So each class is interpolated only in the box of cells where it may win, in slabs
of native slices, with a running maximum. The result is exact, at a fraction of the work.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from imaging.axis import Linear
from imaging.geometry import Box, Shape

Array = NDArray[np.float32]

SLAB_SLICES = 8
"""Native slices at a time: 8 x 512 x 512 floats are 8 MB; fewer slices have tighter boxes."""
_ROUNDING = 1e-5
"""Bound of float32's rounding error in interpolation, as a share of the largest logit."""


def keep_only(labels: NDArray[np.uint8], values: Iterable[int]) -> None:
    """Set all labels but `values` to background.

    Args:
        labels: uint8 [Z, Y, X], changed in place.
        values: Those that stay.
    """
    table = np.zeros(256, np.uint8)
    for value in values:
        table[value] = value
    for part in labels:  # slice by slice: no second copy
        part[:] = table[part]


class NativeLabels:
    """Labels on the CT's own grid, made as logits of the working grid come in, slab by slab.

    The same rule as `resample_linear` followed by argmax (the lowest class wins a tie).
    """

    def __init__(self, old: Shape, labels: NDArray[np.uint8], threads: int = 1) -> None:
        """Begin.

        Args:
            old: Shape (Z, Y, X) of the working grid; covers the same box as `labels`.
            labels: uint8 [Z, Y, X], zeros, to be filled; may be a view.
            threads: Slabs at a time; NumPy releases Python's lock. The labels do not depend on it.
        """
        self._axes = [Linear(*sizes) for sizes in zip(old, labels.shape, strict=True)]
        self._labels = labels
        self._threads = threads
        self._done = 0
        self._first = 0
        """Of the working grid's slices that are held."""
        self._held: Array | None = None

    def add(self, logits: Array) -> None:
        """Take the next slices of logits and fill in every label that they decide.

        Args:
            logits: float32 [K, z, Y, X], finite, class 0 is background; K at most 256.
        """
        known = self._first + (0 if self._held is None else self._held.shape[1])
        last = known + logits.shape[1]
        ready = self._axes[0].decided_by(last)
        starts = range(self._done, ready, SLAB_SLICES)
        with ThreadPoolExecutor(self._threads) as pool:
            slabs = [slice(start, min(start + SLAB_SLICES, ready)) for start in starts]
            for _ in pool.map(lambda z: self._fill(logits, known, z), slabs):
                pass
        self._done = ready
        needed = self._axes[0].first_needed(ready)
        self._held = self._block(logits, known, slice(needed, last)).copy()
        self._first = needed

    def _block(self, logits: Array, known: int, part: slice) -> Array:
        """Return slices of the working grid, those that are held among them.

        Args:
            logits: The latest slices.
            known: The number of the first of them.
            part: What is wanted.
        """
        new = logits[:, max(0, part.start - known) : max(0, part.stop - known)]
        if self._held is None or part.start >= known:
            return new
        held = self._held[:, part.start - self._first : part.stop - self._first]
        return np.concatenate([held, new], axis=1)  # a few slices: no second copy of all

    def _fill(self, logits: Array, known: int, z: slice) -> None:
        block = self._block(logits, known, self._axes[0].support(z))
        cells = _may_win(block)
        foreground: NDArray[np.bool_] = np.any(cells[1:], axis=0)
        whole = _box(foreground, z, self._axes)
        if whole is not None:
            boxes = [_box(where, z, self._axes) for where in cells]
            self._labels[whole] = _slab_labels(block, self._axes, boxes, whole)


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


def _box(cells: NDArray[np.bool_], z: slice, axes: list[Linear]) -> Box | None:
    """Return the native box of the slices `z` around the True cells [Y, X]; None if it is empty."""
    spans = [np.flatnonzero(cells.any(axis=other)) for other in (1, 0)]
    if not spans[0].size:
        return None
    y, x = (axis.within(s[0], s[-1]) for axis, s in zip(axes[1:], spans, strict=True))
    return (z, y, x) if y.start < y.stop and x.start < x.stop else None


def _slab_labels(
    block: Array, axes: list[Linear], boxes: list[Box | None], whole: Box
) -> NDArray[np.uint8]:
    """Return the labels of the box `whole`; class k is compared only in `boxes[k]`."""
    best = np.full([part.stop - part.start for part in whole], -np.inf, dtype=np.float32)
    winner = np.zeros(best.shape, dtype=np.uint8)
    for label, box in enumerate(boxes):
        inside = None if box is None else _common(box, whole)
        if inside is None:
            continue
        value = _interpolated(block[label], axes, inside)
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


def _interpolated(volume: Array, axes: list[Linear], box: Box) -> Array:
    """Return the native voxels in `box` of `volume`: [Z, Y, X], no slices but the box's support."""
    y, x = (axis.support(part) for axis, part in zip(axes[1:], box[1:], strict=True))
    block = volume[:, y, x]
    for number, (axis, part) in enumerate(zip(axes, box, strict=True)):
        block = axis.blend(block, part, number)
    return block
