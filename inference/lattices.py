"""Windows of one or several lattices, their logits, and one sum of all; independent of the engine.

A window of another size than the patch is resampled to the patch, and its logits back, before they
are added with the window's own weights. So all lattices share one stream of patches and one buffer
as deep as the largest window, however long the image is and however many there are.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from imaging.axis import Linear
from imaging.geometry import Box, Shape, as_shape
from imaging.resampling import resample_linear
from inference.sliding_window import (
    Array,
    Infer,
    Window,
    lattice_starts,
    outer,
    padded,
    profile,
)


@dataclass(frozen=True)
class LaidLattice:
    """A lattice's windows in an image."""

    size: Shape
    """Of a window, in voxels of the image."""
    starts: list[list[int]]
    """First voxel of the windows, by axis: counted from the image's, negative in padding."""
    window: Window

    @property
    def places(self) -> Iterator[tuple[int, int, int]]:
        """The first voxel (Z, Y, X) of each window."""
        z, y, x = self.starts
        return itertools.product(z, y, x)

    def box(self, start: tuple[int, int, int]) -> Box:
        """Return the voxels of the window that begins at `start`."""
        z, y, x = (slice(a, a + n) for a, n in zip(start, self.size, strict=True))
        return z, y, x

    @property
    def scaled(self) -> bool:
        """Whether windows are resampled to the patch."""
        return self.size != self.window.patch

    @cached_property
    def profiles(self) -> list[Array]:
        """The weights of a window, by axis: float32 [size]."""
        return [profile(n, self.window.blending) for n in self.size]

    @cached_property
    def _weight(self) -> Array:
        return outer(self.profiles)

    @cached_property
    def _back(self) -> list[Linear]:
        """From the patch's voxels to the window's, by axis."""
        return [Linear(*sizes) for sizes in zip(self.window.patch, self.size, strict=True)]

    def patch(self, part: Array) -> Array:
        """Return what the network is shown of a window: float32 [*patch]."""
        return resample_linear(part, self.window.patch)

    def weighted(self, logits: Array) -> Array:
        """Return one class's logits [*patch] on the window's voxels, times their weights."""
        if self.scaled:
            for number, axis in enumerate(self._back):
                logits = axis.blend(logits, slice(0, self.size[number]), number)
        return logits * self._weight

    def sums(self, box: Box) -> Array:
        """Return the sum of all windows' weights in a part of the image: float32 [Z, Y, X].

        Windows are a grid, so a voxel's sum is the product of its axes'.
        """
        axes = zip(box, self.starts, self.profiles, strict=True)
        return outer([_axis_sums(*axis) for axis in axes])


def _axis_sums(part: slice, starts: list[int], weights: Array) -> Array:
    voxels = np.arange(part.start, part.stop)
    found = np.zeros(len(voxels), np.float32)
    for start in starts:
        inside = (voxels >= start) & (voxels < start + len(weights))
        found[inside] += weights[voxels[inside] - start]
    return found


def laid_lattices(shape: Shape, window: Window) -> list[LaidLattice]:
    """Lay every lattice of `window` over an image of `shape`."""
    return [
        LaidLattice(lattice.size(window.patch), lattice_starts(shape, window, lattice), window)
        for lattice in window.lattices
    ]


def ordered_windows(laid: list[LaidLattice]) -> list[tuple[tuple[int, int, int], int]]:
    """Return all windows in the order in which they are computed: first voxel, lattice's number."""
    return sorted(
        (start, number) for number, lattice in enumerate(laid) for start in lattice.places
    )


def resizing_s(window: Window, logits: Array) -> float:
    """Return the seconds that a window of another size takes more than a plain one.

    0 where all windows have the patch's size.

    Args:
        window: How windows are laid.
        logits: float32 [K, *patch].
    """
    laid = laid_lattices(window.patch, window)
    found = 0.0
    for lattice in laid:
        if lattice.scaled:
            part = np.zeros(lattice.size, np.float32)
            for _ in range(2):  # the first is slower
                start_s = time.perf_counter()
                lattice.patch(part)
                for one in logits:
                    lattice.weighted(one)
                last_s = time.perf_counter() - start_s
            found = max(found, last_s)
    return found


def logit_slabs(
    image: Array,
    infer: Infer,
    window: Window,
    advance: Callable[[], None] = lambda: None,
    threads: int = 1,
) -> Iterator[Array]:
    """Run the network on every window; yield blended logits from the first slice to the last.

    A voxel's logits are the mean over all windows that it lies in, of all lattices, each with its
    weight there. Slices are yielded as soon as no window is left to touch them, so one buffer as
    deep as the largest window is all that is held, however long the image is.

    Args:
        image: float32 [Z, Y, X], normalized. Padded with 0 where it is smaller than a window.
        infer: The network. It may take a patch ahead; its logits need only be valid until the next
            are requested.
        window: How to move, show and blend.
        advance: Called after each window.
        threads: Classes that are added at a time, between two windows; NumPy releases Python's
            lock. The logits do not depend on it.

    Yields:
        float32 [K, some slices, Y, X], good until the next is requested.
    """
    whole, (z, y, x) = padded(image, window.largest)
    laid = laid_lattices(as_shape(image), window)
    windows = [
        ((a + z.start, b + y.start, c + x.start), number)
        for (a, b, c), number in ordered_windows(laid)
    ]
    answers = infer(
        _flipped(laid[number].patch(whole[laid[number].box(start)]), axes)
        for start, number in windows
        for axes in window.flips
    )
    with ThreadPoolExecutor(threads) as pool:
        blend = _Blend(laid, (z, y, x), (window.largest[0], *whole.shape[1:]), pool)
        for first, level in itertools.groupby(windows, lambda found: found[0][0]):
            yield from blend.until(first)
            blend.forget(first)
            for start, number in level:
                blend.add(_averaged(answers, window.flips), laid[number], start)
                advance()
        yield from blend.until(len(whole))


class _Blend:
    """The sum of weighted logits, as deep as the largest window, of an image that was padded."""

    def __init__(
        self, laid: list[LaidLattice], inner: Box, shape: Shape, pool: ThreadPoolExecutor
    ) -> None:
        """Begin.

        Args:
            laid: The lattices.
            inner: The place of the image in the padded one.
            shape: Of the buffer: as deep as the largest window, as wide as the padded image.
            pool: Works on several classes at a time.
        """
        self._pool = pool
        self._laid = laid
        self._inner = inner
        self._shape = shape
        self._total = np.empty(0, np.float32)
        self._first = 0
        """The slice of the padded image with which the buffer begins."""

    def add(self, logits: Array, lattice: LaidLattice, start: tuple[int, int, int]) -> None:
        """Add the logits [K, *patch] of the window at `start`, where the buffer begins too."""
        if not self._total.size:
            self._total = np.zeros((len(logits), *self._shape), np.float32)
        depth, (_, y, x) = lattice.size[0], lattice.box(start)

        def add(label: int) -> None:
            self._total[label, :depth, y, x] += lattice.weighted(logits[label])

        self._by_class(add)

    def _by_class(self, work: Callable[[int], None]) -> None:
        for _ in self._pool.map(work, range(len(self._total))):
            pass

    def until(self, stop: int) -> Iterator[Array]:
        """Yield the image's slices before `stop`, which no later window touches.

        The logits are good until the next are requested.
        """
        z, y, x = self._inner
        total = self._total
        shown = slice(max(z.start, self._first), min(z.stop, stop))
        if total.size and shown.start < shown.stop:
            slab = total[:, shown.start - self._first : shown.stop - self._first, y, x]
            plane = (slice(0, y.stop - y.start), slice(0, x.stop - x.start))
            place = (slice(shown.start - z.start, shown.stop - z.start), *plane)
            sums = np.sum([lattice.sums(place) for lattice in self._laid], axis=0)
            self._by_class(lambda label: np.divide(slab[label], sums, out=slab[label]))
            yield slab

    def forget(self, stop: int) -> None:
        """Make room for the windows that begin at `stop`: slices before it are not needed again."""
        done, total = stop - self._first, self._total

        def move(label: int) -> None:
            total[label, :-done] = total[label, done:]
            total[label, -done:] = 0

        self._by_class(move)
        self._first = stop


def _averaged(answers: Iterator[Array], flips: tuple[tuple[int, ...], ...]) -> Array:
    """Return one window's mean logits, float32 [K, *patch], good until the next call."""
    first = _turned_back(next(answers), flips[0])
    if len(flips) == 1:
        return first
    total = first.copy()  # an engine may return every result in the same memory
    for axes in flips[1:]:
        total += _turned_back(next(answers), axes)
    return total / np.float32(len(flips))


def _flipped(patch: Array, axes: tuple[int, ...]) -> Array:
    """Return a patch [Z, Y, X] flipped along `axes`, as the network takes it."""
    return np.ascontiguousarray(np.flip(patch, axes))[np.newaxis, np.newaxis]


def _turned_back(logits: Array, axes: tuple[int, ...]) -> Array:
    return np.flip(logits[0], tuple(axis + 1 for axis in axes))
