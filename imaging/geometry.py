"""The grid of a volume, and the orientation of its axes in the patient."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from imaging.errors import GeometryError

T = TypeVar("T", bound=np.generic)
Shape = tuple[int, int, int]
SpacingMm = tuple[float, float, float]
Box = tuple[slice, slice, slice]
"""A part of a volume, (Z, Y, X)."""


def as_shape(array: NDArray[np.generic]) -> Shape:
    """Return the shape of a three-dimensional array as three integers."""
    z, y, x = array.shape
    return z, y, x


@dataclass(frozen=True)
class Grid:
    """Shape and voxel size of a volume, axes in (Z, Y, X) order."""

    shape: Shape
    spacing_mm: SpacingMm

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        z, y, x = self.spacing_mm
        return z * y * x / 1000.0

    def resampled(self, spacing_mm: SpacingMm) -> "Grid":
        """Return the grid that covers the same box at `spacing_mm`, as nnU-Net rounds it.

        Raises:
            GeometryError: A spacing is not positive.
        """
        if min(spacing_mm) <= 0:
            raise GeometryError(f"spacing must be positive in mm, got {spacing_mm}")
        z, y, x = (
            max(1, round(old / new * n))
            for n, old, new in zip(self.shape, self.spacing_mm, spacing_mm, strict=True)
        )
        return Grid((z, y, x), spacing_mm)


_PATIENT_AXES = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}


def is_orientation(code: str) -> bool:
    """Tell whether `code` is three letters, one of each of LR, PA and SI."""
    return len(code) == 3 and sorted(_PATIENT_AXES.get(c, -1) for c in code) == [0, 1, 2]


@dataclass(frozen=True)
class Orientation:
    """How to turn an array's axes to a named orientation.

    A code such as "RAS" says where the X, Y and Z index grows to: the patient's Right, Anterior,
    Superior (the convention of nibabel and of SimpleITK's DICOMOrient; no rotation is "LPS").
    """

    order: tuple[int, int, int]
    """Stored axis that becomes axis 0, 1, 2 of the turned array."""
    flipped: tuple[bool, bool, bool]
    """Whether that axis is reversed."""

    @classmethod
    def to(cls, code: str | None, direction: NDArray[np.float64]) -> "Orientation":
        """Find the turn from a stored volume to `code`; None leaves it as stored.

        Args:
            code: Three letters of RL, AP, IS in X, Y, Z order.
            direction: float64 [3, 3], column i the LPS direction of stored index axis i (X, Y, Z).

        Raises:
            GeometryError: `code` is no orientation.
        """
        if code is None:
            return cls((0, 1, 2), (False, False, False))
        if not is_orientation(code):
            raise GeometryError(f"{code!r} is no orientation; three letters such as RAS or LPS")
        stored = _closest_axes(direction)
        order, flipped = [], []
        for letter in reversed(code):
            axis = stored.index(_PATIENT_AXES[letter])
            grows = direction[_PATIENT_AXES[letter], axis] > 0
            order.append(2 - axis)
            flipped.append(bool(grows != (letter in "LPS")))
        return cls((order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2]))

    def apply(self, array: NDArray[T]) -> NDArray[T]:
        """Return a view of the stored `array` [Z, Y, X] with its axes turned.

        What is written into it is written as stored.
        """
        turned = array.transpose(self.order)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]

    def grid(self, stored: Grid) -> Grid:
        """Return the grid of the turned array."""
        z, y, x = self.order
        shape, spacing = stored.shape, stored.spacing_mm
        return Grid((shape[z], shape[y], shape[x]), (spacing[z], spacing[y], spacing[x]))


def axes_code(direction: NDArray[np.float64]) -> str:
    """Name where the index axes X, Y, Z grow to: three letters such as "LPS".

    Args:
        direction: float64 [3, 3], column i the LPS direction of index axis i, of length 1.
    """
    turned = nearest_rotation(direction)
    followed = enumerate(_closest_axes(turned))
    return "".join(("RAI", "LPS")[bool(turned[row, axis] > 0)][row] for axis, row in followed)


def _closest_axes(direction: NDArray[np.float64]) -> list[int]:
    """Return for each stored axis (X, Y, Z) the patient axis it follows most, each used once.

    In nibabel's order: the stored axis that follows a patient axis most closely chooses first.
    """
    weights = np.abs(direction)
    found = [-1, -1, -1]
    for stored in np.argsort(-weights.max(axis=0), kind="stable").tolist():
        found[stored] = int(weights[:, stored].argmax())
        weights[found[stored]] = -1
    return found


def nearest_rotation(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the orthonormal matrix closest to `matrix` [3, 3] (polar decomposition by SVD)."""
    u, _, v = np.linalg.svd(matrix)
    return np.asarray(u @ v, dtype=np.float64)


def foreground_box(labels: NDArray[np.uint8]) -> Box | None:
    """Return the bounding box of the voxels that are not 0; None if there are none.

    Reductions along whole axes run at memory speed, several times faster than comparing labels.
    """
    over_z = labels.max(axis=0, initial=0)
    ranges = []
    for profile in (labels.max(axis=(1, 2), initial=0), over_z.max(axis=1), over_z.max(axis=0)):
        filled = np.flatnonzero(profile)
        if not filled.size:
            return None
        ranges.append(slice(int(filled[0]), int(filled[-1]) + 1))
    z, y, x = ranges
    return z, y, x
