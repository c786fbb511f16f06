"""The map between two grids of voxels that cover the same length of an axis.

Voxel centers lie at half-integers from the corner that both grids share; edges are extended. "Old"
voxels are those of the input, "new" voxels those of the result.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Place = TypeVar("Place", float, NDArray[np.float64])


def from_corner(voxel: Place, ratio: float) -> Place:
    """Return how far from the corner the centers of new voxels lie, in old voxels.

    Args:
        voxel: Numbers of new voxels.
        ratio: Old voxels per new one; or millimetres or pixels, for a result in those units.
    """
    return (voxel + 0.5) * ratio


def center(voxel: Place, ratio: float) -> Place:
    """Return where the centers of new voxels lie, in old voxels from the center of the first."""
    return from_corner(voxel, ratio) - 0.5


def nearest(old: int, new: int) -> NDArray[np.intp]:
    """Return the old voxel in which the center of each of `new` voxels lies: intp [new]."""
    return from_corner(np.arange(new, dtype=np.float64), old / new).astype(np.intp)


def holding(place: float, old: int, new: int) -> int:
    """Return the old voxel that holds a place, which is given in new voxels from the corner."""
    return min(int(place * old / new), old - 1)


class Linear:
    """Linear interpolation along one axis: each new voxel is made of one or two old ones."""

    def __init__(self, old: int, new: int) -> None:
        """Map `new` voxels to the `old` ones over the same length."""
        self.place = np.clip(center(np.arange(new, dtype=np.float64), old / new), 0, old - 1)
        """float64 [new]: where their centers lie, in old voxels from the center of the first."""
        self.below = np.minimum(self.place.astype(np.intp), max(0, old - 2))
        """intp [new]: the first old voxel that each new one is made of."""
        self.above = np.minimum(self.below + 1, old - 1)
        """intp [new]: the second; the same as the first where there is only one old voxel."""
        self.share = (self.place - self.below).astype(np.float32)
        """float32 [new]: weight of `above`, 0 to 1; `below` has the rest."""

    def support(self, new: slice) -> slice:
        """Return the old voxels that the new voxels in `new` are made of."""
        return slice(int(self.below[new][0]), int(self.above[new][-1]) + 1)

    def within(self, first: int, last: int) -> slice:
        """Return the new voxels in the cells first..last; cell i starts at old voxel i."""
        start, stop = np.searchsorted(self.below, (first, last + 1))
        return slice(int(start), int(stop))

    def decided_by(self, known: int) -> int:
        """Return how many new voxels are made of the first `known` old ones alone."""
        return int(np.searchsorted(self.above, known))

    def first_needed(self, new: int) -> int:
        """Return the first old voxel to keep once the first `new` ones are decided.

        Every old voxel that the remaining new ones are made of is kept. The result is never past
        the old voxels that the first `new` ones need: where two new voxels lie more than two old
        ones apart, no cell holds those between them, and some of these may not be known yet.
        """
        past = int(self.above[new - 1]) + 1 if new else 0
        return past if new == self.below.size else min(past, int(self.below[new]))

    def blend(self, block: NDArray[np.float32], new: slice, axis: int) -> NDArray[np.float32]:
        """Interpolate along an axis of a block.

        Args:
            block: float32 of three axes; along `axis` the support of `new`.
            new: New voxels; not empty.
            axis: Number of the axis that this map is of.
        """
        share = self.share[new].reshape([-1 if a == axis else 1 for a in range(3)])
        start = self.support(new).start
        low: NDArray[np.float32] = block.take(self.below[new] - start, axis)
        if not share.any():
            return low
        high = block.take(self.above[new] - start, axis)
        high -= low
        high *= share
        low += high
        return low


def strided(part: slice, stride: int) -> slice:
    """Return which of every `stride`-th voxels, the first among them, lie in a part of an axis."""
    return slice(-(-part.start // stride), -(-part.stop // stride))


def widened(part: slice, stride: int, margin: int, size: int) -> slice:
    """Return where every `stride`-th voxels lie on the axis of `size` that they were taken from.

    Args:
        part: Of the taken voxels; each represents itself and those up to the next.
        stride: Voxels from one to the next.
        margin: Voxels more at both ends, as far as the axis goes.
        size: Voxels of the axis.
    """
    return slice(max(0, part.start * stride - margin), min(size, part.stop * stride + margin))
