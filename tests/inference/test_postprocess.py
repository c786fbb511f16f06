"""Components that are not plausible become background; nothing else changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from inference import postprocess
from inference.manifest import ComponentRule

VALUES = {"liver": 1, "tumour": 2}
VOXEL_ML = 0.5
LARGEST = ComponentRule("liver", keep="largest")


@pytest.fixture
def labels():
    """Liver of 8, 2 and 1 voxels; tumour of 4 and 1 voxels."""
    labels = np.zeros((6, 7, 8), dtype=np.uint8)
    labels[0:2, 0:2, 0:2] = 1
    labels[4, 4, 4:6] = 1
    labels[0, 6, 7] = 1
    labels[5, 0:2, 0:2] = 2
    labels[3, 6, 0] = 2
    return labels


def clean(labels, *rest):
    cleaned = labels.copy()
    postprocess.clean(cleaned, *rest)
    return cleaned


def counts(labels):
    return np.bincount(labels.ravel(), minlength=3)[1:].tolist()


def test_the_largest_stays(labels):
    before = labels.copy()
    cleaned = clean(labels, (LARGEST,), VALUES, VOXEL_ML)
    assert counts(cleaned) == [8, 5]
    assert (cleaned[0:2, 0:2, 0:2] == 1).all()
    np.testing.assert_array_equal(labels, before)


@pytest.mark.parametrize(
    ("min_ml", "left"), [(0.0, 11), (0.5, 11), (0.6, 10), (1.0, 10), (1.1, 8), (4.0, 8), (4.1, 0)]
)
def test_what_is_smaller_than_min_ml_goes(labels, min_ml, left):
    rule = ComponentRule("liver", min_ml=min_ml)  # 8, 2, 1 voxels are 4, 1, 0.5 ml
    assert counts(clean(labels, (rule,), VALUES, VOXEL_ML)) == [left, 5]


def test_rules_apply_to_their_label_only(labels):
    rules = (LARGEST, ComponentRule("tumour", min_ml=2.0))
    assert counts(clean(labels, rules, VALUES, VOXEL_ML)) == [8, 4]


def test_corners_connect():
    labels = np.zeros((3, 3, 3), dtype=np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[2, 2, 2] = 1
    assert counts(clean(labels, (LARGEST,), VALUES, VOXEL_ML)) == [3, 0]


def test_a_liver_that_touches_a_tumour_is_its_own_component():
    labels = np.array([[[1, 1, 2, 1]]], dtype=np.uint8)
    assert clean(labels, (LARGEST,), VALUES, VOXEL_ML).tolist() == [[[1, 1, 2, 0]]]


def test_of_two_of_the_same_size_one_stays():
    labels = np.array([[[1, 0, 1]]], dtype=np.uint8)
    assert counts(clean(labels, (LARGEST,), VALUES, VOXEL_ML)) == [1, 0]


def test_scattered_voxels_in_one_slice_are_counted():
    # cc3d 4.1.1 alone gives up on this box
    labels = np.zeros((1, 9, 9), dtype=np.uint8)
    labels[0, ::2, ::2] = 1
    labels[0, 0, 1] = 1
    assert counts(clean(labels, (LARGEST,), VALUES, VOXEL_ML)) == [3, 0]


def test_what_the_rules_removed_is_reported(labels):
    rules = (LARGEST, ComponentRule("tumour", min_ml=2.0))
    # 2 + 1 voxels of liver, 1 of tumour, each 0.5 ml
    removed = postprocess.clean(labels.copy(), rules, VALUES, VOXEL_ML)
    assert removed == {"liver": 1.5, "tumour": 0.5}
    both = (LARGEST, ComponentRule("liver", min_ml=4.1))  # a voxel goes once
    assert postprocess.clean(labels.copy(), both, VALUES, VOXEL_ML) == {"liver": 5.5}
    assert postprocess.clean(np.zeros_like(labels), rules, VALUES, 1.0) == {"liver": 0, "tumour": 0}
    assert postprocess.clean(labels, (), VALUES, VOXEL_ML) == {}


@pytest.mark.parametrize(
    ("removed_ml", "organs"),
    [
        ({"liver": 24.9, "tumour": 0.9}, ()),  # of 100 less than a quarter; of 1 less than 1 ml
        ({"liver": 25.0, "tumour": 0.0}, ("liver (25.0 of 100.0 ml)",)),
        ({"liver": 75.1, "tumour": 1.0}, ("liver (75.1 of 150.2 ml)", "tumour (1.0 of 1.1 ml)")),
    ],
)
def test_much_that_was_taken_away_is_a_warning(removed_ml, organs):
    left_ml = {"liver": max(75.0, removed_ml["liver"]), "tumour": 0.1}
    found = postprocess.much_removed(removed_ml, left_ml)
    assert found == tuple(
        f"component rules took much away: {names}; --no-clean keeps it"
        for names in filter(None, [", ".join(organs)])
    )


@pytest.mark.parametrize("rules", [(), (LARGEST,), (ComponentRule("tumour", min_ml=1.0),)])
def test_an_empty_map_stays_empty(rules):
    empty = np.zeros((2, 3, 4), dtype=np.uint8)
    assert not clean(empty, rules, VALUES, VOXEL_ML).any()


MAPS = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6),
    elements=st.sampled_from([0, 0, 1, 2, 3]),
)


@given(MAPS, st.integers(1, 5))
def test_it_is_what_each_label_alone_would_be(labels, least):
    rule = ComponentRule("tumour", min_ml=least * VOXEL_ML)
    cleaned = clean(labels, (LARGEST, rule), VALUES, VOXEL_ML)
    for value in (1, 2):
        numbers, count = ndimage.label(labels == value, np.ones((3, 3, 3)))
        sizes = np.bincount(numbers[numbers > 0], minlength=count + 1)
        left = counts(cleaned == value)[0]
        assert left == (sizes.max() if value == 1 else sizes[sizes >= least].sum())
        assert not ((cleaned == value) & (labels != value)).any()
    np.testing.assert_array_equal(cleaned == 3, labels == 3)
