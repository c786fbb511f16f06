"""Move a network's patch over a volume and blend the logits; independent of the engine."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.errors import GeometryError
from imaging.geometry import Shape, as_shape

Array = NDArray[np.float32]
Infer = Callable[[Iterable[Array]], Iterator[Array]]
"""Maps patches float32 [1, 1, Z, Y, X], taken one by one, to logits float32 [1, K, Z, Y, X]."""


@dataclass(frozen=True)
class Window:
    """How to move and blend; axes (Z, Y, X)."""

    patch: Shape
    step: float
    """Distance between windows as a share of the patch, in (0, 1]."""
    blending: str
    """"gaussian" or "constant"."""
    flips: tuple[tuple[int, ...], ...]
    """Every set of axes along which the patch is flipped; () is the patch as it is."""


def flips_of(tta: str, mirror_axes: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the flips of a test-time augmentation: "none", "flip-x" or "full".

    "full" is nnU-Net's: every combination of the axes that training mirrored.

    Raises:
        GeometryError: `tta` is unknown, or training did not mirror what it flips.
    """
    if tta == "none":
        return ((),)
    if tta == "flip-x" and 2 in mirror_axes:
        return ((), (2,))
    if tta == "full" and mirror_axes:
        counts = range(len(mirror_axes) + 1)
        return tuple(c for n in counts for c in itertools.combinations(mirror_axes, n))
    if tta in ("flip-x", "full"):
        axes = " and ".join("ZYX"[axis] for axis in mirror_axes)
        trained = f"with {axes} mirrored, nothing else" if axes else "without mirroring"
        raise GeometryError(f"tta {tta!r}: this network was trained {trained}; use none")
    raise GeometryError(f"unknown test-time augmentation {tta!r}; choose none, flip-x or full")


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


def profile(patch: int, blending: str) -> Array:
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


@dataclass(frozen=True)
class Level:
    """Windows that begin in the same slice, and the slices that are complete after them."""

    places: list[tuple[slice, slice, slice]]
    done: int
    """Slices, from the level's first on, that no later window touches."""
    sums: Array
    """float32 [done, Y, X]: the windows' weights, added up."""
    shown: tuple[slice, ...]
    """The part of the `done` slices that is the image and no padding."""


def levels(shape: Shape, inner: tuple[slice, ...], window: Window) -> Iterator[Level]:
    """Yield the levels of windows from the first slice to the last.

    Args:
        shape: Of the padded image.
        inner: The place of the image in it.
        window: How to move and blend.
    """
    sums, (z, *plane) = _coverage(shape, window), inner
    groups = itertools.groupby(window_slices(shape, window), lambda place: place[0].start)
    places = {start: list(level) for start, level in groups}
    for start, end in itertools.pairwise([*places, shape[0]]):
        done = end - start
        shown = slice(max(0, z.start - start), min(z.stop - start, done))
        yield Level(places[start], done, outer([sums[0][start:end], *sums[1:]]), (shown, *plane))


def logit_slabs(
    image: Array, infer: Infer, window: Window, advance: Callable[[], None] = lambda: None
) -> Iterator[Array]:
    """Run the network on every window; yield blended logits from the first slice to the last.

    Slices are yielded as soon as no window is left to touch them, so one buffer as deep as the
    patch is all that is held, however long the image is.

    Args:
        image: float32 [Z, Y, X], normalized. Padded with 0 where it is smaller than the patch.
        infer: The network. It may take a patch ahead; its logits need only be valid until the next
            are requested.
        window: How to move and blend.
        advance: Called after each window.

    Yields:
        float32 [K, some slices, Y, X], good until the next is requested.
    """
    whole, inner = padded(image, window.patch)
    weight = window_weight(window)
    places = window_slices(as_shape(whole), window)
    answers = infer(_flipped(whole[place], axes) for place in places for axes in window.flips)
    total = weighted = np.empty(0, dtype=np.float32)
    for level in levels(as_shape(whole), inner, window):
        for place in level.places:
            logits = _averaged(answers, window.flips)
            if not total.size:
                total = np.zeros((len(logits), window.patch[0], *whole.shape[1:]), np.float32)
                weighted = np.empty(logits.shape[1:], dtype=np.float32)
            for label, of in enumerate(logits):  # one by one: the product stays in the cache
                np.multiply(of, weight, out=weighted)
                total[label, :, *place[1:]] += weighted
            advance()
        done = level.done
        total[:, :done] /= level.sums
        yield total[:, *level.shown]
        for label in range(len(total)):
            total[label, :-done] = total[label, done:]
        total[:, -done:] = 0


def padded(image: Array, patch: Shape) -> tuple[Array, tuple[slice, ...]]:
    """Pad evenly to at least the patch, an odd voxel at the end; return the place of the image."""
    missing = [max(0, p - n) for n, p in zip(image.shape, patch, strict=True)]
    before = [m // 2 for m in missing]
    inner = tuple(slice(b, b + n) for b, n in zip(before, image.shape, strict=True))
    if not any(missing):
        return image, inner
    return np.pad(image, [(b, m - b) for b, m in zip(before, missing, strict=True)]), inner


def window_weight(window: Window) -> Array:
    """Return the weight of a window's voxels, float32 [Z, Y, X]."""
    return outer([profile(n, window.blending) for n in window.patch])


def _averaged(answers: Iterator[Array], flips: tuple[tuple[int, ...], ...]) -> Array:
    """Mean logits float32 [K, *patch] of one window's flips, valid until the next call."""
    first = _turned_back(next(answers), flips[0])
    if len(flips) == 1:
        return first
    total = first.copy()  # an engine may return every result in the same memory
    for axes in flips[1:]:
        total += _turned_back(next(answers), axes)
    return total / np.float32(len(flips))


def _flipped(patch: Array, axes: tuple[int, ...]) -> Array:
    return np.ascontiguousarray(np.flip(patch, axes))[np.newaxis, np.newaxis]


def _turned_back(logits: Array, axes: tuple[int, ...]) -> Array:
    return np.flip(logits[0], tuple(axis + 1 for axis in axes))


def outer(profiles: list[Array]) -> Array:
    """Return the product of three profiles, float32 [Z, Y, X]."""
    z, y, x = profiles
    return z[:, np.newaxis, np.newaxis] * y[:, np.newaxis] * x


def _coverage(shape: Shape, window: Window) -> list[Array]:
    """Sum the weights by axis; windows are a grid, so a voxel's sum is the product of its axes'."""
    sums = []
    for size, patch in zip(shape, window.patch, strict=True):
        weights, axis = profile(patch, window.blending), np.zeros(size, dtype=np.float32)
        for start in window_starts(size, patch, window.step):
            axis[start : start + patch] += weights
        sums.append(axis)
    return sums


def window_count(shape: Shape, window: Window) -> int:
    """Return how many windows `logit_slabs` runs for an image of `shape`."""
    sizes = [max(n, p) for n, p in zip(shape, window.patch, strict=True)]
    return math.prod(
        len(window_starts(n, p, window.step)) for n, p in zip(sizes, window.patch, strict=True)
    )
