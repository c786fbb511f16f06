"""A generated body from head to toe: organs in the trunk, and a trunk that the body's box finds."""

import numpy as np
import pytest

from inference.region import region
from train.synthesis.whole_body import whole_body

SPACING_MM = (8.0, 8.0, 8.0)


@pytest.fixture(scope="module")
def bodies():
    return [whole_body(seed, SPACING_MM) for seed in range(3)]


def test_a_body_is_a_person_long(bodies):
    for hu, labels in bodies:
        # 860 mm of legs, 620 of trunk, 280 of head, and a plane of 384 x 544 mm
        assert hu.shape == labels.shape == (108 + 78 + 35, 48, 68)
        assert (hu.dtype, labels.dtype) == (np.int16, np.uint8)


def test_organs_lie_in_the_trunk(bodies):
    for _, labels in bodies:
        filled = np.flatnonzero(labels.any(axis=(1, 2)))
        assert 108 < filled[0] < filled[-1] < 108 + 78
        assert {*range(1, 14)} <= {*np.unique(labels).tolist()}


def test_there_are_two_legs_a_neck_and_a_skull(bodies):
    for hu, _ in bodies:
        leg, other = hu[50, :, :34], hu[50, :, 34:]
        assert leg.max() > 100 < other.max()  # bone in both
        assert hu[50, :, 33:35].max() < -900  # and air between them
        brain = hu[204:206, 23:25, 33:35]
        assert 0 < brain.mean() < 70
        assert hu[204].max() > 400


def test_the_same_seed_is_the_same_body_and_some_have_arms(bodies):
    again = whole_body(1, SPACING_MM)
    for one, other in zip(bodies[1], again, strict=True):
        np.testing.assert_array_equal(one, other)
    beside = [int(hu[130, :, :8].max()) > 400 for hu, _ in bodies]
    assert {True, False} == {*beside}


def test_the_bodys_box_holds_all_organs(bodies):
    for hu, labels in bodies:
        box = region("body", hu, SPACING_MM, (1, 1, 1)).box
        assert np.count_nonzero(labels) == np.count_nonzero(labels[box])
