"""Blank slices between slices that show the body: slices that were lost in conversion.

A converter that misses a DICOM slice writes air, zeros or another constant in its place
(dcm2niix#468, Slicer#4005). This would cut the body, and every organ there, in two. So the network
gets copies of the nearest other slices, however wide the gap. Its labels of blank slices are
discarded.
"""

import math
from itertools import pairwise

import numpy as np

from imaging.geometry import SpacingMm
from imaging.hounsfield import Hu

Runs = tuple[tuple[int, int], ...]
"""First and last + 1 slice of each gap."""
DENSE_HU = -300
"""Between lung and fat; tissue, bone and the couch are denser."""
_LEAST_CM2 = 10.0
"""A slice of a body has at least this much: a wrist has 20, the trunk in 30 CTs 155 and more."""
_COARSE_MM = 8.0


def blank_slices(hu: Hu, spacing_mm: SpacingMm) -> Runs:
    """Return the slices that show nothing and lie between others that show the body.

    A slice shows the body if enough of it is denser than lung, and not all of it one number.

    Args:
        hu: The CT, [Z, Y, X].
        spacing_mm: Its voxel size (Z, Y, X).
    """
    y, x = (max(1, math.floor(_COARSE_MM / mm)) for mm in spacing_mm[1:])
    cells = hu[:, ::y, ::x]
    cell_cm2 = y * spacing_mm[1] * x * spacing_mm[2] / 100
    area_cm2 = np.count_nonzero(cells > DENSE_HU, axis=(1, 2)) * cell_cm2
    shown = np.flatnonzero(
        (area_cm2 >= _LEAST_CM2) & (cells.min(axis=(1, 2)) < cells.max(axis=(1, 2)))
    )
    return tuple((a + 1, b) for a, b in pairwise(shown.tolist()) if b > a + 1)


def bridged(hu: Hu, blank: Runs) -> Hu:
    """Return `hu` with a copy of the nearest other slice in place of each blank one."""
    if not blank:
        return hu
    nearest = np.arange(len(hu))
    for start, stop in blank:
        middle = (start + stop) // 2
        nearest[start:middle], nearest[middle:stop] = start - 1, stop
    return hu[nearest]
