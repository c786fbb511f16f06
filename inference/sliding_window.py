"""How a network's patch is moved over a volume: places, weights and their sums."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imaging.errors import GeometryError
from imaging.geometry import Box, Shape

Array = NDArray[np.float32]
Infer = Callable[[Iterable[Array]], Iterator[Array]]
"""Maps patches float32 [1, 1, Z, Y, X], taken one by one, to logits float32 [1, K, Z, Y, X]."""
Blending = Literal["gaussian", "constant"]
"""How a window's logits are weighted: most in its middle, or alike."""


@dataclass(frozen=True)
class Lattice:
    """One way to lay windows over an image."""

    scale: float = 1.0
    """Size of a window, as a share of the patch; below 1 the network sees the patient enlarged."""
    between: bool = False
    """Whether windows lie halfway between those of the plain lattice."""

    def size(self, patch: Shape) -> Shape:
        """Return the size of a window (Z, Y, X) in voxels of the image."""
        z, y, x = (max(1, round(n * self.scale)) for n in patch)
        return z, y, x


PLAIN = Lattice()


@dataclass(frozen=True)
class Window:
    """How to move and blend; axes (Z, Y, X)."""

    patch: Shape
    step: float
    """Distance between windows as a share of the patch, in (0, 1]."""
    blending: Blending
    flips: tuple[tuple[int, ...], ...]
    """Every set of axes along which the patch is flipped; () is the patch as it is."""
    lattices: tuple[Lattice, ...] = (PLAIN,)
    """How windows are laid; several, of which one is plain, blended as one."""

    @property
    def largest(self) -> Shape:
        """Size of the largest windows (Z, Y, X) in voxels of the image."""
        return max(self.lattices, key=lambda lattice: lattice.scale).size(self.patch)


def window_starts(size: int, patch: int, step: float) -> list[int]:
    """Return the first voxel of each window along one axis, evenly spread from edge to edge.

    nnU-Net's rule (`compute_steps_for_sliding_window`, 2.8.1): as few windows as cover the axis at
    no more than `step` patches apart.

    Raises:
        GeometryError: The patch is longer than the axis.
    """
    if patch > size:
        raise GeometryError(f"patch of {patch} voxels, axis of {size}; pad the volume first")
    count = math.ceil((size - patch) / (patch * step)) + 1
    stride = (size - patch) / (count - 1) if count > 1 else 0.0
    return [round(stride * index) for index in range(count)]


def lattice_starts(shape: Shape, window: Window, lattice: Lattice) -> list[list[int]]:
    """Return the first voxels of a lattice's windows in an image of `shape`, by axis.

    An axis shorter than a window gets one, about its middle: it begins before the image does. Where
    an axis has one window, none is halfway between; if no axis has more, there are no windows
    between at all.
    """
    size = lattice.size(window.patch)
    starts = [_starts(*axis, window.step) for axis in zip(shape, size, strict=True)]
    if not lattice.between:
        return starts
    several = any(len(axis) > 1 for axis in starts)
    return [_between(axis) if several else [] for axis in starts]


def _starts(size: int, wide: int, step: float) -> list[int]:
    return window_starts(size, wide, step) if size > wide else [-((wide - size) // 2)]


def _between(starts: list[int]) -> list[int]:
    return [(a + b) // 2 for a, b in itertools.pairwise(starts)] or starts


def window_count(shape: Shape, window: Window) -> int:
    """Return how many windows an image of `shape` has, in all lattices."""
    laid = (lattice_starts(shape, window, lattice) for lattice in window.lattices)
    return sum(math.prod(map(len, starts)) for starts in laid)


def profile(patch: int, blending: Blending) -> Array:
    """Return the weight of a window along one axis, float32 [patch], at most 1.

    "gaussian" is nnU-Net's: a point at the middle blurred with sigma = patch / 8, cut at 4 sigma.
    """
    if blending == "constant":
        return np.ones(patch, dtype=np.float32)
    sigma = patch / 8
    distance = np.abs(np.arange(patch) - patch // 2)
    weights = np.exp(-0.5 * (distance / sigma) ** 2)
    inside = distance <= int(4 * sigma + 0.5)
    return np.where(inside, weights, weights[inside].min()).astype(np.float32)


def window_slices(shape: Shape, window: Window) -> list[tuple[slice, slice, slice]]:
    """Return every window of a volume of `shape` (at least the patch), X fastest."""
    starts = [window_starts(n, p, window.step) for n, p in zip(shape, window.patch, strict=True)]
    z, y, x = window.patch
    return [
        (slice(a, a + z), slice(b, b + y), slice(c, c + x))
        for a, b, c in itertools.product(*starts)
    ]


def padded(image: Array, patch: Shape) -> tuple[Array, Box]:
    """Pad evenly to at least the patch, an odd voxel at the end; return the place of the image."""
    missing = [max(0, p - n) for n, p in zip(image.shape, patch, strict=True)]
    before = [m // 2 for m in missing]
    z, y, x = (slice(b, b + n) for b, n in zip(before, image.shape, strict=True))
    if not any(missing):
        return image, (z, y, x)
    return np.pad(image, [(b, m - b) for b, m in zip(before, missing, strict=True)]), (z, y, x)


def outer(profiles: list[Array]) -> Array:
    """Return the product of three profiles, float32 [Z, Y, X]."""
    z, y, x = profiles
    return z[:, np.newaxis, np.newaxis] * y[:, np.newaxis] * x
