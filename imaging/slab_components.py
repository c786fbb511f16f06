"""Connected components of a label map, a slab of slices at a time.

The numbers of all voxels' components would take four times the memory of the map. So they are held
for one slab only. Components that touch where two slabs meet are one; where components are erased,
their slabs are numbered again.
"""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from imaging.components import connected

SLAB_SLICES = 64
Labels = NDArray[np.uint8]
Numbers = NDArray[np.int64]
_Slice = tuple[Labels, Numbers]
"""One slice: labels [Y, X], and the numbers of the parts of components, where there is a label."""


class SlabComponents:
    """The 26-connected components of a label map; each has one label, and none is background."""

    sizes: Numbers
    """int64 [components]: voxels of each, in the order of their first voxels."""
    labels: Labels
    """uint8 [components]: the label of each."""

    def __init__(self, labels: Labels) -> None:
        """Find the components.

        Args:
            labels: uint8 [Z, Y, X], 0 is background; may be a view. `erase` changes it.
        """
        self._slabs = [labels[z : z + SLAB_SLICES] for z in range(0, len(labels), SLAB_SLICES)]
        sizes, values, touching, firsts = [], [], [], [0]
        below: _Slice | None = None
        for slab in self._slabs:
            found = connected(slab)
            part_labels, part_sizes = _measured(slab, found.numbers, found.count)
            bottom, top = (found.numbers[z].astype(np.int64) + firsts[-1] - 1 for z in (0, -1))
            if below is not None:
                touching += _touching(below, (slab[0], bottom))
            below = slab[-1], top
            sizes.append(part_sizes)
            values.append(part_labels)
            firsts.append(firsts[-1] + found.count)
        components = _united(firsts[-1], touching)
        self._components = np.split(components, firsts[1:-1])
        self.sizes = np.zeros(components.max(initial=-1) + 1, np.int64)
        np.add.at(self.sizes, components, np.concatenate(sizes))
        self.labels = np.zeros(self.sizes.size, np.uint8)
        self.labels[components] = np.concatenate(values)

    def erase(self, gone: NDArray[np.bool_]) -> None:
        """Set the voxels of components to background.

        Args:
            gone: bool [components]: which.
        """
        for slab, components in zip(self._slabs, self._components, strict=True):
            kept = np.concatenate([[True], ~gone[components]]).astype(np.uint8)
            if not kept.all():
                for part, numbers in zip(slab, connected(slab).numbers, strict=True):
                    part *= kept.take(numbers)


def _measured(
    slab: Labels, numbers: NDArray[np.unsignedinteger], count: int
) -> tuple[Labels, Numbers]:
    """Return the label of each part of a component in a slab, and how many voxels it has."""
    sizes, labels = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.uint8)
    for of_slice, part in zip(numbers, slab, strict=True):  # bincount makes 64-bit numbers
        filled = part > 0
        found = of_slice[filled]
        sizes += np.bincount(found, minlength=count + 1)
        labels[found] = part[filled]
    return labels[1:], sizes[1:]


def _touching(below: _Slice, above: _Slice) -> list[tuple[int, int]]:
    """Return the pairs of parts of one label that touch between two slices, corners included."""
    labels, numbers = below
    padded_labels, padded_numbers = (np.pad(plane, 1) for plane in above)
    height, width = labels.shape
    beyond = int(padded_numbers.max()) + 1
    found: set[int] = set()
    for y, x in product(range(3), repeat=2):
        place = (slice(y, y + height), slice(x, x + width))
        same = (labels > 0) & (labels == padded_labels[place])
        pairs = numbers[same] * beyond + padded_numbers[place][same]
        found.update(pairs[np.diff(pairs, prepend=-1) != 0].tolist())  # most are as the one before
    return [divmod(pair, beyond) for pair in found]


def _united(count: int, touching: list[tuple[int, int]]) -> Numbers:
    """Return the component of each of `count` parts, numbered by their first parts."""
    parents = list(range(count))

    def first_part(part: int) -> int:
        while parents[part] != part:
            parents[part] = parents[parents[part]]
            part = parents[part]
        return part

    for pair in touching:
        one, other = sorted(map(first_part, pair))
        parents[other] = one
    numbers: dict[int, int] = {}
    found = [numbers.setdefault(first_part(part), len(numbers)) for part in range(count)]
    return np.array(found, np.int64)
