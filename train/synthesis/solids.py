"""Solids in a warped space: the phantom's parts. All places are (Z, Y, X) in millimetres."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import Box, Grid
from imaging.resampling import resample_linear

Point = tuple[float, float, float]
Mask = NDArray[np.bool_]

_KNOT_MM = 14.0
_WARP_REACH = 3.0
"""How many standard deviations the warp may move a point."""


@dataclass(frozen=True)
class SolidEllipsoid:
    """A ball stretched along the axes."""

    center: Point
    radii: Point

    def varied(self, rng: np.random.Generator) -> "SolidEllipsoid":
        """Return another patient's: moved by about 2 mm, each radius up to 8 % off."""
        z, y, x = self.center + rng.normal(0, 2, 3)
        a, b, c = self.radii * rng.uniform(0.92, 1.08, 3)
        return SolidEllipsoid((z, y, x), (a, b, c))

    def shrunk(self, by_mm: float) -> "SolidEllipsoid":
        """Return the solid that lies `by_mm` under this one's surface."""
        a, b, c = (max(radius - by_mm, 0.1) for radius in self.radii)
        return replace(self, radii=(a, b, c))

    def parts(self) -> Iterator[tuple[Point, Point, "Solid"]]:
        """Yield the lowest and highest corner around each piece, and the piece."""
        center, radii = np.array(self.center), np.array(self.radii)
        yield _point(center - radii), _point(center + radii), self

    def holds(self, places: NDArray[np.float32]) -> Mask:
        """Tell which of float32 [3, z, y, x] `places` lie inside."""
        offsets = places - _column(self.center)
        inside: Mask = np.square(offsets / _column(self.radii)).sum(axis=0) <= 1
        return inside


@dataclass(frozen=True)
class Tube:
    """A bent tube: knots along its middle line, and its radius at each."""

    knots: tuple[Point, ...]
    radii: tuple[float, ...]

    def varied(self, rng: np.random.Generator) -> "Tube":
        """Return another patient's: moved by about 2 mm, the radius up to 8 % off."""
        move, stretch = rng.normal(0, 2, 3), rng.uniform(0.92, 1.08)
        knots = tuple(_point(np.array(knot) + move) for knot in self.knots)
        return Tube(knots, tuple(radius * stretch for radius in self.radii))

    def shrunk(self, by_mm: float) -> "Tube":
        """Return the tube whose wall is `by_mm` further in."""
        return replace(self, radii=tuple(max(radius - by_mm, 0.1) for radius in self.radii))

    def parts(self) -> Iterator[tuple[Point, Point, "Solid"]]:
        """Yield the lowest and highest corner around each straight piece, and the piece."""
        for i in range(len(self.knots) - 1):
            ends, radii = self.knots[i : i + 2], self.radii[i : i + 2]
            low = np.min(ends, axis=0) - max(radii)
            high = np.max(ends, axis=0) + max(radii)
            yield _point(low), _point(high), Tube(ends, radii)

    def holds(self, places: NDArray[np.float32]) -> Mask:
        """Tell which of float32 [3, z, y, x] `places` lie in a straight piece (two knots)."""
        start, along = _column(self.knots[0]), _column(self.knots[1]) - _column(self.knots[0])
        share = ((places - start) * along).sum(axis=0) / np.square(along).sum()
        share = share.clip(0, 1)
        radius = self.radii[0] + share * (self.radii[1] - self.radii[0])
        inside: Mask = np.square(places - start - share * along).sum(axis=0) <= radius**2
        return inside


Solid = SolidEllipsoid | Tube


class WarpedSpace:
    """The millimetres of a grid's voxels, its middle at 0, gently warped: no two patients alike."""

    def __init__(self, grid: Grid, rng: np.random.Generator, warp_mm: float, scale: float) -> None:
        axes = [
            (np.arange(n, dtype=np.float32) - (n - 1) / 2) * mm
            for n, mm in zip(grid.shape, grid.spacing_mm, strict=True)
        ]
        self._axes = [axis / np.float32(scale) for axis in axes]
        self._reach_mm = warp_mm * _WARP_REACH
        straight = np.meshgrid(*self._axes, indexing="ij", sparse=True)
        self.places = np.stack(
            [warp_mm * smooth_noise(grid, rng, 3 * _KNOT_MM) + axis for axis in straight]
        ).astype(np.float32)
        """float32 [3, Z, Y, X]: where in the standard patient each voxel lies."""

    def mask(self, *solids: Solid) -> Mask:
        """Return where any of `solids` is, bool [Z, Y, X]."""
        mask = np.zeros(self.places.shape[1:], dtype=np.bool_)
        for low, high, part in chain.from_iterable(solid.parts() for solid in solids):
            box = self._box(low, high)
            mask[box] |= part.holds(self.places[(slice(None), *box)])
        return mask

    def _box(self, low: Point, high: Point) -> Box:
        z, y, x = (
            slice(
                int(np.searchsorted(axis, a - self._reach_mm, "left")),
                int(np.searchsorted(axis, b + self._reach_mm, "right")),
            )
            for axis, a, b in zip(self._axes, low, high, strict=True)
        )
        return z, y, x


def smooth_noise(grid: Grid, rng: np.random.Generator, width_mm: float) -> NDArray[np.float32]:
    """Return float32 [Z, Y, X] noise of about unit variance, at most 3, of `width_mm` wide lumps.

    The lumps are sampled on a fixed lattice in mm, so that a seed looks alike at every spacing.
    """
    step = width_mm / 3
    z, y, x = (
        int(np.ceil(n * mm / step)) + 1 for n, mm in zip(grid.shape, grid.spacing_mm, strict=True)
    )
    noise = rng.standard_normal((z, y, x)).astype(np.float32)
    for axis in range(3):
        noise = _averaged(_averaged(noise, axis), axis)
    noise /= noise.std() + np.float32(1e-6)
    return resample_linear(noise.clip(-_WARP_REACH, _WARP_REACH), grid.shape)


def _averaged(noise: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Average every lattice point with its two neighbours along `axis`, the edge repeated."""
    padding = [(1, 1) if i == axis else (0, 0) for i in range(3)]
    padded = np.pad(noise, padding, mode="edge")
    n = noise.shape[axis]
    shifted = [np.take(padded, range(k, k + n), axis=axis) for k in range(3)]
    return (shifted[0] + shifted[1] + shifted[2]) / np.float32(3)


def _column(values: Point) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32).reshape(3, 1, 1, 1)


def _point(values: NDArray[np.float64]) -> Point:
    z, y, x = (float(value) for value in values)
    return z, y, x
