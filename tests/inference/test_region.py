"""The region of interest of a CT: a box around the body, and never less than a patch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.region import MARGIN_MM, Cells, at_least, body_box, limbs, nonzero_box, region
from train.synthesis.phantom import phantom

SPACING_MM = (4.0, 4.0, 4.0)
PATCH = (1, 1, 1)


def air(shape=(30, 60, 80)):
    return np.full(shape, -1000, dtype=np.int16)


def spans(box):
    return [(part.start, part.stop) for part in box]


def body(hu, spacing_mm=SPACING_MM):
    return body_box(Cells.of(hu, spacing_mm))


def test_nonzero_box():
    hu = np.zeros((5, 6, 7), dtype=np.int16)
    hu[1, 2, 3] = hu[3, 2, 6] = -1000
    assert spans(nonzero_box(hu)) == [(1, 4), (2, 3), (3, 7)]


def test_the_body_has_a_margin_of_10_mm_less_the_outermost_voxel():
    hu = air()
    hu[5:25, 20:40, 30:60] = 40
    # 10 mm are 3 voxels of 4 mm; in the slice the first and the last column have air beside them
    assert spans(body(hu)) == [(2, 28), (18, 42), (28, 62)]


def test_arms_and_a_couch_are_no_part_of_it():
    hu = air()
    hu[5:25, 20:40, 30:60] = 40
    hu[:, 20:30, 5:15] = 40  # an arm
    hu[:, 40:42, :] = 200  # a couch that the body lies on, as wide as the CT
    # where body and couch meet two more rows count, and a column on either side
    assert spans(body(hu)) == [(2, 28), (18, 44), (27, 63)]


def person(legs=100, trunk=100, raised=0, touching=(), feet_first=True):
    """Slices of 4 mm from the feet on: legs, trunk, and raised arms beside a head."""
    hu = air((legs + trunk + raised, 60, 80))
    hu[:legs, 25:40, 20:35] = hu[:legs, 25:40, 45:60] = 40
    hu[legs : legs + trunk, 20:40, 15:65] = 40
    hu[legs + trunk :, 25:35, 35:45] = 40  # 100 cells in a slice; 70 of them in each arm
    hu[legs + trunk :, 25:35, 17:24] = hu[legs + trunk :, 25:35, 56:63] = 40
    for z in touching:
        hu[z, 25:40, 35:45] = 40
    return hu if feet_first else hu[::-1]


@pytest.mark.parametrize("feet_first", [True, False])
def test_legs_are_left_out_but_for_the_upper_5_cm(feet_first):
    hu = person(feet_first=feet_first)
    # 100 slices of legs less 13 (50 mm), and the margin of 3
    expected = (100 - 13 - 3, 200) if feet_first else (0, 116)
    assert spans(body(hu))[0] == expected


@pytest.mark.parametrize(
    ("touching", "start"),
    [
        (range(40, 55), 84),  # knees: 15 slices are 60 mm
        (range(40, 56), 24),  # longer than legs may touch: 40 slices of shanks less 13 and 3
        (range(90, 100), 74),  # thighs are trunk from where they meet
        (range(100), 0),
    ],
)
def test_legs_may_touch_a_little(touching, start):
    assert spans(body(person(touching=touching)))[0] == (start, 200)


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ("", 0),
        ("....", 0),
        ("||..", 2),
        ("||..|.", 5),  # they touch in two slices
        ("||...|", 2),  # in three: trunk
        ("..|.", 3),
        ("...|", 0),
    ],
)
def test_limbs_end_where_slices_are_whole_for_longer_than_limbs_touch(slices, expected):
    assert limbs(np.array([one == "|" for one in slices], np.bool_), touch=2) == expected


def test_a_head_between_raised_arms_is_left_out():
    # of 240 cells in a slice the head has 100, less than 0.6
    hu = person(legs=0, raised=50)
    assert spans(body(hu))[0] == (0, 100 + 13 + 3)


def test_arms_at_the_sides_do_not_make_limbs_of_a_trunk():
    hu = person(legs=0, trunk=60)
    hu[:, 22:38, 5:13] = hu[:, 22:38, 67:75] = 40  # 128 cells each, the trunk 1000
    hu[30, 22:38, :] = 40  # they belong to the body
    assert spans(body(hu))[0] == (0, 60)


def test_legs_alone_are_all_in_the_region():
    hu = person(legs=100, trunk=24)  # 96 mm are no trunk
    assert spans(body(hu))[0] == (0, 124)
    assert spans(body(person(legs=100, trunk=25)))[0] == (84, 125)


@pytest.mark.parametrize("fill", [-1000, -500])
def test_without_a_body_everything_is_the_region(fill):
    hu = np.full((30, 60, 80), fill, dtype=np.int16)
    hu[3, 3, 3] = 1000
    assert body(hu) is None
    assert spans(region("body", hu, SPACING_MM, PATCH).box) == [(0, 30), (0, 60), (0, 80)]


def test_a_field_of_view_inside_the_body_is_the_whole():
    hu = np.full((9, 70, 60), 40, dtype=np.int16)
    assert spans(region("body", hu, SPACING_MM, PATCH).box) == [(0, 9), (0, 70), (0, 60)]


def test_a_body_smaller_than_a_patch_is_seen_with_its_surroundings():
    hu = air()
    hu[5:25, 20:40, 30:60] = 40
    found = region("body", hu, SPACING_MM, (64, 32, 40)).box
    assert spans(found) == [(0, 30), (14, 46), (25, 65)]
    assert spans(region("none", hu, SPACING_MM, (64, 32, 40)).box) == [(0, 30), (0, 60), (0, 80)]


def test_tissue_outside_the_region_is_measured():
    hu = air()
    hu[5:25, 20:40, 30:60] = 40
    hu[:, 20:30, 5:15] = 40  # an arm
    hu[:, 50:51, :] = 200  # a couch of one cell is no tissue
    found = region("body", hu, SPACING_MM, PATCH)
    # cells of 0.064 ml whose neighbours in the slice are dense too
    arm_ml, body_ml = 30 * 8 * 8 * 0.064, 20 * 18 * 28 * 0.064
    assert found.tissue_ml == pytest.approx(arm_ml + body_ml)
    assert found.outside_ml == pytest.approx(arm_ml)
    assert region("body", hu, SPACING_MM, (30, 60, 80)).outside_ml == 0
    assert region("none", hu, SPACING_MM, PATCH).outside_ml == 0


def test_legs_are_tissue_outside_the_region():
    found = region("body", person(), SPACING_MM, PATCH)
    # 100 slices of legs, the last 16 of them in the region; two legs of 13 x 13 cells
    assert found.outside_ml == pytest.approx((100 - 16) * 2 * 13 * 13 * 0.064)


@given(
    st.lists(st.tuples(*[st.integers(0, 20)] * 4), min_size=3, max_size=3),
)
def test_a_grown_box_holds_the_old_one_and_no_more_than_is_needed(axes):
    parts, least, shape = [], [], []
    for start, width, wanted, behind in axes:
        parts.append(slice(start, start + width + 1))
        least.append(wanted)
        shape.append(start + width + 1 + behind)
    found = at_least(tuple(parts), tuple(least), tuple(shape))
    for part, grown, wanted, size in zip(parts, found, least, shape, strict=True):
        assert 0 <= grown.start <= part.start < part.stop <= grown.stop <= size
        assert grown.stop - grown.start == max(part.stop - part.start, min(wanted, size))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spacing_mm", [(5.0, 3.0, 3.0), (2.5, 2.0, 4.0)])
def test_no_organ_of_a_generated_patient_is_outside(seed, spacing_mm):
    shape = tuple(round(mm / wide) for mm, wide in zip((320, 420, 460), spacing_mm, strict=True))
    hu, labels = phantom(seed, shape, spacing_mm)
    box = body(hu, spacing_mm)
    margin = int(MARGIN_MM / max(spacing_mm))
    assert np.count_nonzero(labels[box]) == np.count_nonzero(labels) > 0
    assert box[1].stop - box[1].start < hu.shape[1] - margin
