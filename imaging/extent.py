"""Whether a CT is as large as a patient: a voxel size in another unit may show in nothing else.

A body is reconstructed in a field of up to 500 mm (RSNA's physics modules, "Image reconstruction"),
an extended field reaches to the bore (G. P. Fonseca and others, "Evaluation of novel AI-based
extended field-of-view CT reconstructions"), which is less than a metre. The bounds are ours.
"""

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import Grid

_WIDEST_MM, _LONGEST_MM = 1000.0, 2500.0
_NARROWEST_MM, _WHOLE = 100.0, 100
"""With fewer voxels across, a CT may be a part that somebody cut out."""


def unlike_patient(grid: Grid, direction: NDArray[np.float64]) -> str | None:
    """Say what a CT's size is that no patient has; None where it may be one's.

    Args:
        grid: Where the voxels lie.
        direction: float64 [3, 3]; column i is the LPS direction of index axis i in (X, Y, Z).
    """
    sizes = np.array(grid.shape[::-1])
    extents_mm = sizes * grid.spacing_mm[::-1]
    along = int(np.abs(direction[2]).argmax())
    across = [axis for axis in range(3) if axis != along]
    width, depth = extents_mm[across]
    size = f"{width:.0f} × {depth:.0f} mm across and {extents_mm[along]:.0f} mm long"
    question = "is its voxel size in mm?"
    if max(width, depth) > _WIDEST_MM or extents_mm[along] > _LONGEST_MM:
        return f"the CT is {size}, larger than any patient; {question}"
    if max(width, depth) < _NARROWEST_MM and min(sizes[across]) >= _WHOLE:
        return f"the CT is {size}, smaller than any patient; {question}"
    return None
