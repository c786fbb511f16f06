"""Connected components; the only module that imports connected-components-3d."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Components:
    """The connected components of an array; each has one value, and 0 is background."""

    numbers: NDArray[np.unsignedinteger]
    """Of the array's shape: the number of every voxel's component, from 1 on; 0 is background."""
    count: int
    """How many pieces there are."""
    _padded: NDArray[np.unsignedinteger]

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Voxels of each piece, by its number; that of 0 is 0."""
        sizes: NDArray[np.int64] = self._measured["voxel_counts"].astype(np.int64)
        sizes[0] = 0
        return sizes

    @cached_property
    def _measured(self) -> Any:
        """What cc3d measures of all pieces; it takes longer than to find them."""
        import cc3d

        return cc3d.statistics(self._padded, no_slice_conversion=True)

    def within(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return how many voxels of each piece lie in `mask`, by its number; that of 0 is 0.

        Args:
            mask: bool, of the array's shape.
        """
        counts = np.bincount(self.numbers[mask], minlength=self.count + 1)
        counts[0] = 0
        return counts

    def box(self, number: int) -> tuple[slice, ...]:
        """Return the smallest box around a piece."""
        ends = self._measured["bounding_boxes"][number].reshape(-1, 2).tolist()
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
    numbers, count = cc3d.connected_components(
        np.pad(array, 1), connectivity=connectivity, return_N=True
    )
    return Components(numbers[(slice(1, -1),) * array.ndim], int(count), numbers)
