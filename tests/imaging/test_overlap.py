"""Counts and Dice, worked out by hand and label by label."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from imaging.overlap import dice, dice_by_label, joint_counts, label_counts, labels_in

MAPS = arrays.arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3))


@given(MAPS, st.integers(0, 2**32 - 1))
def test_one_pass_counts_what_a_pass_a_label_counts(first, seed):
    second = np.random.default_rng(seed).permutation(first.ravel()).reshape(first.shape)
    counts = joint_counts(first, second)
    assert counts.sum() == first.size
    for label in np.unique(first):
        assert counts[label, label] == np.count_nonzero((first == label) & (second == label))
        assert counts[label].sum() == np.count_nonzero(first == label)
        assert counts[:, label].sum() == np.count_nonzero(second == label)


def test_a_volume_longer_than_a_chunk_is_counted_to_its_end():
    # 2**18 voxels are counted at a time; here are 3 * 2**17 and 5
    first = np.zeros(3 * 2**17 + 5, np.uint8)
    second = first.copy()
    first[-5:], second[-3:] = 2, 2
    counts = joint_counts(first, second)
    assert (counts[2, 2], counts[2, 0], counts[0, 2]) == (3, 2, 0)
    assert counts[0, 0] == 3 * 2**17


@given(MAPS)
def test_labels_are_counted_in_any_view(labels):
    for view in (labels, labels[::-1, :, ::2], labels.transpose(2, 0, 1), labels.ravel()[1:]):
        np.testing.assert_array_equal(label_counts(view), np.bincount(view.ravel(), minlength=256))
        assert set(labels_in(view)) == set(view.ravel().tolist()) - {0}


def test_labels_of_a_few_voxels():
    # an odd number of voxels: the last is no pair's
    labels = np.uint8([[0, 3, 3], [14, 0, 255], [3, 14, 3]])
    counts = label_counts(labels)
    assert (counts[0], counts[3], counts[14], counts[255]) == (2, 4, 2, 1)
    assert counts.sum() == 9
    assert labels_in(labels) == (3, 14, 255)
    assert labels_in(np.zeros((2, 2), np.uint8)) == ()
    assert label_counts(np.zeros(0, np.uint8)).sum() == 0


def test_labels_of_more_than_a_chunk():
    labels = np.zeros(2**20 + 3, np.uint8)  # 2**18 pairs are counted at a time
    labels[-2:] = 7
    labels[2**19 - 1 : 2**19 + 1] = 9
    assert label_counts(labels)[[0, 7, 9]].tolist() == [2**20 - 1, 2, 2]


FIRST = np.uint8([1, 1, 1, 2, 2, 0, 0, 15])
SECOND = np.uint8([1, 1, 2, 2, 0, 0, 3, 2])


def test_dice_by_label():
    # 1: 3 and 2 voxels, 2 in common; 2: 2 and 3, 1 in common; 3: 0 and 1; 15: 1 and 0
    found = dice_by_label(joint_counts(FIRST, SECOND))
    assert found.shape == (256,)
    assert found[:4].tolist() == [2 * 1 / (2 + 2), 2 * 2 / (3 + 2), 2 * 1 / (2 + 3), 0.0]
    assert found[15] == 0.0
    assert np.isnan(found[[4, 14, 16, 255]]).all()


def test_dice_where_neither_ignores():
    # without the voxel that is 15 in the first map, label 2 has 2 and 2 voxels
    found = dice_by_label(joint_counts(FIRST, SECOND)[:15, :15])
    assert found.shape == (15,)
    assert found[2] == 0.5


def test_dice_of_masks():
    assert dice(np.array([True, True, True, False]), np.array([True, False, False, True])) == 0.4
    assert dice(np.array([True, False]), np.array([False, False])) == 0.0


@given(MAPS, st.integers(0, 2**32 - 1))
def test_dice_of_a_label_is_that_of_its_masks(first, seed):
    second = np.random.default_rng(seed).permutation(first.ravel()).reshape(first.shape)
    found = dice_by_label(joint_counts(first, second))
    for label in np.unique(first):
        assert found[label] == pytest.approx(dice(first == label, second == label), abs=0)
