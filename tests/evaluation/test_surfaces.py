import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from evaluation.scoring.boxes import hull, label_boxes
from evaluation.scoring.surfaces import (
    neighbour_codes,
    robust_hausdorff_mm,
    surface_dice,
    surface_distances,
)
from tests.evaluation.maps import box

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7))


def mask(*places):
    found = np.zeros((8, 8, 8), bool)
    for place in places:
        found[place] = True
    return found


def test_two_voxels_two_millimetres_apart():
    # Each voxel has 8 corners, a tip each: area 8 * sqrt(3)/8. Of the truth's corners the four
    # nearer ones are 1 mm from the other voxel's nearest corners, the four farther ones 2 mm.
    found = surface_distances(mask((2, 2, 2)), mask((4, 2, 2)), (1.0, 1.0, 1.0))
    np.testing.assert_array_equal(found.truth_mm, [1, 1, 1, 1, 2, 2, 2, 2])
    np.testing.assert_array_equal(found.pred_mm, found.truth_mm)
    np.testing.assert_allclose(found.truth_mm2, math.sqrt(3) / 8, rtol=1e-15)
    assert surface_dice(found, 0.9) == 0
    assert surface_dice(found, 1.0) == 0.5
    assert surface_dice(found, 2.0) == 1


def test_spacing_stretches_distances_and_areas():
    # z 2 mm, y 1 mm, x 1 mm: the same corners are 2 and 4 mm apart; a tip's normal is
    # (1/8)(y*x, z*x, z*y) = (1, 2, 2)/8, of length 3/8.
    found = surface_distances(mask((2, 2, 2)), mask((4, 2, 2)), (2.0, 1.0, 1.0))
    np.testing.assert_array_equal(found.truth_mm, [2, 2, 2, 2, 4, 4, 4, 4])
    np.testing.assert_allclose(found.truth_mm2, 3 / 8, rtol=1e-15)


def test_robust_hausdorff_is_the_larger_of_the_two_percentiles():
    # Truth: corners at 1 mm (half of the area) and 2 mm: 50 % is within 1 mm, 95 % within 2 mm.
    found = surface_distances(mask((2, 2, 2)), mask((4, 2, 2)), (1.0, 1.0, 1.0))
    assert robust_hausdorff_mm(found, 50.0) == 1
    assert robust_hausdorff_mm(found, 95.0) == 2
    # A second predicted voxel 3 mm off along x is far from the truth, not the truth from it.
    found = surface_distances(mask((2, 2, 2)), mask((2, 2, 2), (2, 2, 6)), (1.0, 1.0, 1.0))
    assert robust_hausdorff_mm(found, 95.0) == 4
    assert found.truth_mm.max() == 0


def test_codes_of_one_voxel():
    # The voxel is after the corner at (0,0,0): bit 0; before it on all axes at (1,1,1): bit 7.
    codes = neighbour_codes(np.ones((1, 1, 1), bool))
    z, y, x = codes[1, 0, 0], codes[0, 1, 0], codes[0, 0, 1]
    assert (codes[0, 0, 0], z, y, x, codes[1, 1, 1]) == (1, 2, 4, 16, 128)


@settings(deadline=None)
@given(MASKS)
def test_codes_are_those_of_a_correlation(inside):
    kernel = np.array([[[128, 64], [32, 16]], [[8, 4], [2, 1]]])  # [X, Y, Z], as in the package
    padded = np.pad(inside.T.astype(np.int64), ((0, 1),) * 3)
    expected = ndimage.correlate(padded, kernel, mode="constant", cval=0)
    np.testing.assert_array_equal(neighbour_codes(inside).T, expected)


@settings(deadline=None)
@given(MASKS, st.data())
def test_distances_are_those_of_a_distance_transform(truth, data):
    pred = data.draw(hnp.arrays(bool, truth.shape))
    truth.flat[0] = pred.flat[-1] = True
    spacing_mm = data.draw(st.tuples(*[st.sampled_from([0.7, 1.0, 2.5])] * 3))
    found = surface_distances(truth, pred, spacing_mm)
    edges = [(code != 0) & (code != 255) for code in map(neighbour_codes, (truth, pred))]
    to_pred = ndimage.distance_transform_edt(~edges[1], sampling=spacing_mm)[edges[0]]
    np.testing.assert_allclose(found.truth_mm, np.sort(to_pred), rtol=1e-12)


class TestBoxes:
    def test_nothing(self):
        assert label_boxes(np.zeros((3, 4, 5), np.uint8), 14) == {}

    def test_each_label_has_its_box(self):
        labels = box((9, 9, 9), (1, 4), (2, 3), (0, 9), 3) + box((9, 9, 9), (6, 9), (8, 9), (4, 6))
        assert label_boxes(labels, 14) == {
            1: (slice(6, 9), slice(8, 9), slice(4, 6)),
            3: (slice(1, 4), slice(2, 3), slice(0, 9)),
        }

    def test_labels_above_the_last_are_left_out(self):
        assert label_boxes(box((3, 3, 3), (0, 1), (0, 1), (0, 1), 15), 14) == {}

    def test_hull(self):
        first, second = (
            (slice(1, 2), slice(3, 9), slice(0, 4)),
            (slice(5, 6), slice(2, 4), slice(1, 2)),
        )
        assert hull(first, second) == (slice(1, 6), slice(2, 9), slice(0, 4))

    @settings(deadline=None)
    @given(hnp.arrays(np.uint8, (4, 5, 6), elements=st.sampled_from([0, 0, 0, 1, 2, 14])))
    def test_a_box_is_as_small_as_can_be(self, labels):
        found = label_boxes(labels, 14)
        assert set(found) == set(np.unique(labels).tolist()) - {0}
        for label, place in found.items():
            assert np.count_nonzero(labels[place] == label) == np.count_nonzero(labels == label)
            for axis in range(3):
                filled = (labels[place] == label).any(tuple({0, 1, 2} - {axis}))
                assert filled[0] and filled[-1]


def test_a_surface_at_the_border_of_the_array_counts():
    whole = surface_distances(np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool), (1.0, 1.0, 1.0))
    assert len(whole.truth_mm) == 3**3 - 1  # every corner but the one in the middle
    assert surface_dice(whole, 0.0) == pytest.approx(1)
