"""Connected components; the only module that imports connected-components-3d."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Components:
    """The connected components of an array; each has one value, and 0 is background."""

    numbers: NDArray[np.unsignedinteger]
    """Of the array's shape: the number of every voxel's component, from 1 on; 0 is background."""
    sizes: NDArray[np.int64]
    """Voxels of each piece, by its number; that of 0 is 0."""
    _bounds: NDArray[np.integer]
    """[pieces + 1, 2 x axes]: the first and the last voxel along each axis, of the padded array."""

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return self.sizes.size - 1

    def within(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return how many voxels of each piece lie in `mask`, by its number; that of 0 is 0.

        Args:
            mask: bool, of the array's shape.
        """
        counts = np.bincount(self.numbers[mask], minlength=self.sizes.size)
        counts[0] = 0
        return counts

    def box(self, number: int) -> tuple[slice, ...]:
        """Return the smallest box around a piece."""
        ends = self._bounds[number].reshape(-1, 2).tolist()
        return tuple(slice(first - 1, last) for first, last in ends)


def connected(array: NDArray[Any], connectivity: Literal[4, 6, 8, 18, 26] = 26) -> Components:
    """Find the connected components of an array.

    Args:
        array: bool or whole numbers, [Z, Y, X] or [Y, X].
        connectivity: Neighbours of a voxel: 6, 18 or 26; of a pixel: 4 or 8.
    """
    import cc3d

    # Padded: cc3d 4.1 needs a border of zeros. Without one, scattered voxels in a tight box raise
    # "maximum length exception".
    numbers = cc3d.connected_components(np.pad(array, 1), connectivity=connectivity)
    found = cc3d.statistics(numbers, no_slice_conversion=True)
    sizes: NDArray[np.int64] = found["voxel_counts"].astype(np.int64)
    sizes[0] = 0
    inner = (slice(1, -1),) * array.ndim
    return Components(numbers[inner], sizes, found["bounding_boxes"])
