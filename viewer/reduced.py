"""The copy of a case that a page holds: as fine as its bytes allow."""

import math
from dataclasses import dataclass

import numpy as np

from imaging.errors import KitError
from imaging.geometry import Grid, Shape, SpacingMm, as_shape
from imaging.hounsfield import Hu
from imaging.resampling import linear_slabs, resample_nearest
from inference.tools.show import busiest_slice
from viewer.case import ViewedCase
from viewer.packing import codes_of, packed_ct, packed_labels, text_bytes

_MOST_VOXELS = 12_000_000
"""What a phone's browser still draws."""
_STEP_MM = 0.05
_SLACK = 1.02
_COARSEST_MM = 50.0


@dataclass(frozen=True)
class Reduced:
    """A copy of the part that is shown."""

    shape: Shape
    spacing_mm: SpacingMm
    ct: bytes
    """As `packed_ct` returns it."""
    maps: tuple[bytes, ...]
    """As `packed_labels` returns them."""
    start: tuple[int, int, int]
    """The voxel (Z, Y, X) at which the page opens: in each plane that shows most organs."""

    @property
    def text_bytes(self) -> int:
        """Bytes that it takes in the page."""
        return text_bytes(self.ct) + sum(map(text_bytes, self.maps))


def reduced(case: ViewedCase, most_bytes: int) -> Reduced:
    """Return the finest copy that takes no more than `most_bytes` in the page.

    Voxels are made longer along those axes on which they are shortest; none is made shorter.

    Raises:
        KitError: Even at 50 mm it takes more.
    """
    part = Grid(as_shape(case.hu[case.box]), case.grid.spacing_mm)
    wanted_mm = _least_mm(part, _MOST_VOXELS)
    while wanted_mm <= _COARSEST_MM:
        found = _at(case, part, wanted_mm)
        if found.text_bytes <= most_bytes:
            return found
        few = int(math.prod(found.shape) * most_bytes / (found.text_bytes * _SLACK))
        wanted_mm = max(wanted_mm + _STEP_MM, _least_mm(part, few))
    raise KitError(
        f"{case.name}: no copy of the CT fits into {most_bytes:,} bytes; crop the CT, or allow more"
    )


def _least_mm(grid: Grid, most_voxels: int) -> float:
    """Return the shortest voxel with which `grid` has no more than `most_voxels`, or nearly so."""
    wanted_mm = min(grid.spacing_mm)
    while wanted_mm < _COARSEST_MM and math.prod(_coarser(grid, wanted_mm).shape) > most_voxels:
        wanted_mm = _STEP_MM * (math.floor(wanted_mm / _STEP_MM + 1e-6) + 1)
    return wanted_mm


def _coarser(grid: Grid, wanted_mm: float) -> Grid:
    z, y, x = (max(wanted_mm, mm) for mm in grid.spacing_mm)
    return grid.resampled((z, y, x))


def _at(case: ViewedCase, part: Grid, wanted_mm: float) -> Reduced:
    shape = _coarser(part, wanted_mm).shape
    codes = np.empty(shape, np.uint8)
    hu: Hu = np.ascontiguousarray(case.hu[case.box])
    if shape == part.shape:
        codes[:] = codes_of(hu)
    else:
        for place, slab in linear_slabs(hu, shape):
            codes[place] = codes_of(slab)
    maps = [
        resample_nearest(np.ascontiguousarray(found[case.box]), shape)
        for found in case.maps.values()
    ]
    z, y, x = (busiest_slice(maps[0], axis) for axis in range(3))
    packed = tuple(map(packed_labels, maps))
    return Reduced(shape, _spacing(part, shape), packed_ct(codes), packed, (z, y, x))


def _spacing(part: Grid, shape: Shape) -> SpacingMm:
    """Return the voxel size with which `shape` covers the part exactly."""
    z, y, x = (
        mm * old / new for mm, old, new in zip(part.spacing_mm, part.shape, shape, strict=True)
    )
    return z, y, x
