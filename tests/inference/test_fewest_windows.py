"""The margin of the region of interest gives way where that saves windows; the body never does."""

import numpy as np
import pytest

from imaging.geometry import Orientation
from inference.fewest_windows import fewest_windows
from inference.region import Region, region
from inference.sliding_window import Window
from inference.view import View

NO_TURN = Orientation((0, 1, 2), (False, False, False))


def trimmed(box, bare, *, patch=10, step=1.0, size=40, voxel_mm=1.0, working_mm=1.0):
    """The ends of one axis: as a box of three equal axes, of which the first is returned."""
    part, inner = slice(*box), slice(*bare)
    view = View(
        NO_TURN,
        np.zeros((size,) * 3, np.int16),
        (voxel_mm,) * 3,
        (),
        Region((part,) * 3, bare=(inner,) * 3),
    )
    window = Window((patch,) * 3, step, "gaussian", ((),))
    found = fewest_windows(view, (working_mm,) * 3, window)
    assert len({(axis.start, axis.stop) for axis in found}) == 1
    return found[0].start, found[0].stop


@pytest.mark.parametrize(
    ("box", "bare", "expected"),
    [
        ((10, 22), (13, 19), (11, 21)),  # 12 voxels, 10 in a window: one from either side
        ((10, 21), (13, 18), (10, 20)),  # the odd one at the end
        ((10, 25), (13, 22), (12, 22)),  # 15: three from the end, where there are no more
        ((10, 22), (10, 20), (10, 20)),  # no margin at the start
        ((10, 22), (12, 22), (12, 22)),  # none at the end
        ((10, 24), (12, 23), (10, 24)),  # 11 voxels of body: two windows, with or without
        ((10, 20), (13, 17), (10, 20)),  # one window as it is
        ((10, 33), (12, 31), (11, 31)),  # 23 in three windows, 20 in two
    ],
)
def test_no_more_than_saves_a_window(box, bare, expected):
    assert trimmed(box, bare) == expected


def test_windows_that_overlap():
    # windows of 10 every 5: 17 voxels take 1 + ceil(7 / 5) = 3, 15 take 2
    assert trimmed((10, 27), (12, 25), step=0.5) == (11, 26)


def test_voxels_of_another_size_than_the_working_grids():
    # 24 voxels of 0.5 mm are 12 of 1 mm; 20 are 10, and 21 are 10 as nnU-Net rounds
    assert trimmed((10, 34), (15, 29), voxel_mm=0.5) == (11, 32)


def test_a_region_without_a_margin_stays():
    view = View(
        NO_TURN, np.zeros((12, 12, 12), np.int16), (1.0,) * 3, (), Region((slice(0, 12),) * 3)
    )
    window = Window((10, 10, 10), 1.0, "gaussian", ((),))
    assert fewest_windows(view, (1.0,) * 3, window) == (slice(0, 12),) * 3


def test_the_bare_box_of_a_body_has_no_margin_where_there_is_air():
    hu = np.full((30, 60, 80), -1000, dtype=np.int16)
    hu[0:25, 20:40, 30:60] = 40  # from the first slice on
    found = region("body", hu, (4.0, 4.0, 4.0), (1, 1, 1))
    assert found.box == (slice(0, 28), slice(18, 42), slice(28, 62))
    # 10 mm are 3 voxels; a slice's outermost columns do not count as body
    assert found.bare == (slice(0, 25), slice(21, 39), slice(31, 59))
    assert region("none", hu, (4.0, 4.0, 4.0), (1, 1, 1)).bare is None
