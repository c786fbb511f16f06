"""Trim the margin of a region of interest where that saves windows.

A body of 237 mm with its margin of air may need a second window for its last 5 mm; without some of
the margin one window covers it. Only the margin gives way, and no more of it than saves a window.
"""

from imaging.geometry import Box, SpacingMm
from inference.sliding_window import Window, window_starts
from inference.view import View


def fewest_windows(view: View, working_mm: SpacingMm, window: Window) -> Box:
    """Return the part of a CT's region of interest that the fewest windows cover.

    Args:
        view: The CT and its region.
        working_mm: Voxel size of the working grid (Z, Y, X).
        window: How windows are moved.
    """
    region, voxel_mm = view.region, view.spacing_mm
    ratios = (mm / wide for mm, wide in zip(voxel_mm, working_mm, strict=True))
    axes = zip(region.box, region.bare or region.box, ratios, window.patch, strict=True)
    z, y, x = (_trimmed(*axis, window.step) for axis in axes)
    return z, y, x


def _trimmed(part: slice, bare: slice, ratio: float, patch: int, step: float) -> slice:
    """Trim one axis to no less than `bare`; `ratio`: a voxel, in those of the working grid."""
    below, above = max(0, bare.start - part.start), max(0, part.stop - bare.stop)
    whole = part.stop - part.start
    least = max(1, whole - below - above)
    fewest = _count(least, ratio, patch, step)
    if fewest == _count(whole, ratio, patch, step):
        return part
    length = next(n for n in range(whole, least - 1, -1) if _count(n, ratio, patch, step) == fewest)
    cut = whole - length
    low = min(below, max(cut // 2, cut - above))
    return slice(part.start + low, part.stop - (cut - low))


def _count(voxels: int, ratio: float, patch: int, step: float) -> int:
    """Return how many windows cover so many voxels of the CT."""
    return len(window_starts(max(patch, round(voxels * ratio)), patch, step))
