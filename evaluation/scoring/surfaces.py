"""Surfaces of two masks and the distances between them.

The definition is that of Google DeepMind's `surface-distance`, which FLARE's organisers copied: a
surface element lies on each corner between voxels whose 2×2×2 neighbourhood is neither all inside
nor all outside; its area comes from marching cubes; its distance is that to the nearest element of
the other surface. The areas are the package's own table. The distances come from a k-d tree of
the other surface's elements instead of a distance transform of the whole box: the same float64
numbers, bit for bit, and no work for voxels that lie on neither surface.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from surface_distance.lookup_tables import create_table_neighbour_code_to_surface_area

from imaging.geometry import SpacingMm

Mask = NDArray[np.bool_]
_INSIDE = 255


@dataclass(frozen=True)
class SurfaceDistances:
    """Every surface element of two masks, nearest first (of equal distances the smallest area)."""

    truth_mm: NDArray[np.float64]
    """float64 [n], mm: from each element of the truth to the prediction's surface."""
    truth_mm2: NDArray[np.float64]
    """float64 [n], mm²: their areas."""
    pred_mm: NDArray[np.float64]
    pred_mm2: NDArray[np.float64]


def surface_distances(truth: Mask, pred: Mask, spacing_mm: SpacingMm) -> SurfaceDistances:
    """Measure how far two surfaces are from each other.

    Args:
        truth: bool [Z, Y, X], not empty. What touches the array's border has a surface there.
        pred: bool [Z, Y, X], not empty.
        spacing_mm: Voxel size (Z, Y, X).
    """
    area_mm2 = _element_areas_mm2(spacing_mm)
    sides = [_elements(mask) for mask in (truth, pred)]
    shape = np.add(truth.shape, 1)
    found: list[NDArray[np.float64]] = []
    for (places, codes), (others, _) in (sides, sides[::-1]):
        distances_mm = _nearest_mm(places, others, shape, spacing_mm)
        found += _sorted(distances_mm, area_mm2[codes])
    return SurfaceDistances(*found)


@lru_cache(maxsize=8)
def _element_areas_mm2(spacing_mm: SpacingMm) -> NDArray[np.float64]:
    """Return the area of an element by its neighbour code."""
    table = create_table_neighbour_code_to_surface_area(spacing_mm[::-1])
    return np.asarray(table, np.float64)


def _elements(mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Return the flat places among the corners of a mask's surface elements, and their codes."""
    codes = neighbour_codes(mask).ravel()
    places = np.flatnonzero((codes != 0) & (codes != _INSIDE))
    return places, codes[places]


def neighbour_codes(mask: Mask) -> NDArray[np.uint8]:
    """Return which of the eight voxels around each corner are inside.

    Args:
        mask: bool [Z, Y, X].

    Returns:
        uint8 [Z + 1, Y + 1, X + 1]; bit 7 is the voxel before the corner on all axes, bit 0 the one
        after it; X is the slowest bit and Z the fastest, as in the package's table.
    """
    inside = np.pad(mask, 1).view(np.uint8)
    along_z = inside[:-1] << 1 | inside[1:]
    along_y = along_z[:, :-1] << 2 | along_z[:, 1:]
    return np.asarray(along_y[:, :, :-1] << 4 | along_y[:, :, 1:], np.uint8)


def _nearest_mm(
    places: NDArray[np.intp],
    others: NDArray[np.intp],
    shape: NDArray[np.int_],
    spacing_mm: SpacingMm,
) -> NDArray[np.float64]:
    """Return how far each of `places` is from the nearest of `others`."""
    distances_mm = np.zeros(len(places))
    apart = np.isin(places, others, assume_unique=True, invert=True)
    if apart.any():
        tree = KDTree(_points_mm(others, shape, spacing_mm), balanced_tree=False)
        distances_mm[apart] = tree.query(_points_mm(places[apart], shape, spacing_mm))[0]
    return distances_mm


def _points_mm(
    places: NDArray[np.intp], shape: NDArray[np.int_], spacing_mm: SpacingMm
) -> NDArray[np.float64]:
    """Return float64 [n, 3] in mm (X, Y, Z)."""
    indices = np.unravel_index(places, tuple(shape))
    return np.stack([i * mm for i, mm in zip(indices, spacing_mm, strict=True)][::-1], axis=1)


def _sorted(
    distances_mm: NDArray[np.float64], areas_mm2: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sort as the package does, so that sums of areas round as its sums do."""
    order = np.lexsort((areas_mm2, distances_mm))
    return distances_mm[order], areas_mm2[order]


def surface_dice(surfaces: SurfaceDistances, tolerance_mm: float) -> float:
    """Return the share of both surfaces that is within `tolerance_mm` of the other: the NSD."""
    near_mm2 = np.sum(surfaces.truth_mm2[surfaces.truth_mm <= tolerance_mm]) + np.sum(
        surfaces.pred_mm2[surfaces.pred_mm <= tolerance_mm]
    )
    return float(near_mm2 / (np.sum(surfaces.truth_mm2) + np.sum(surfaces.pred_mm2)))


def robust_hausdorff_mm(surfaces: SurfaceDistances, percent: float = 95.0) -> float:
    """Return the distance that `percent` of each surface's area keeps, the larger of the two."""
    return max(
        _percentile(surfaces.truth_mm, surfaces.truth_mm2, percent),
        _percentile(surfaces.pred_mm, surfaces.pred_mm2, percent),
    )


def _percentile(
    distances_mm: NDArray[np.float64], areas_mm2: NDArray[np.float64], percent: float
) -> float:
    shares = np.cumsum(areas_mm2) / np.sum(areas_mm2)
    place = int(np.searchsorted(shares, percent / 100.0))
    return float(distances_mm[min(place, len(distances_mm) - 1)])
