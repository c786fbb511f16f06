"""Labels on the CT's grid are those of full interpolation and argmax, without its memory."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inference.labels import SLAB_SLICES, NativeLabels
from inference.resampling import resample_linear

UNDECIDED = 1e-4
"""Logits of the order 1 that differ by less may be ordered either way by float32 rounding."""

shapes = st.tuples(*[st.integers(1, 7)] * 3)
taller = st.tuples(st.integers(1, 3 * SLAB_SLICES), st.integers(1, 12), st.integers(1, 12))


def labels_at(logits, goal, slabs=1, threads=1):
    labels = np.zeros(goal, dtype=np.uint8)
    native = NativeLabels(logits.shape[1:], labels, threads)
    for slab in np.array_split(logits, slabs, axis=1):
        native.add(slab)
    return labels


def logits_of(seed, classes, shape, background):
    """Noise, its background raised so that foreground is scattered, rare or absent."""
    logits = np.random.default_rng(seed).normal(size=(classes, *shape)).astype(np.float32)
    logits[0] += background
    return logits


def fully(logits, goal):
    return np.stack([resample_linear(one, goal) for one in logits])


@given(
    seed=st.integers(0, 99),
    classes=st.integers(2, 5),
    shape=shapes,
    goal=taller,
    background=st.sampled_from([0.0, 2.0, 3.5, 9.0]),
    slabs=st.integers(1, 9),
)
@example(seed=0, classes=3, shape=(9, 9, 9), goal=(2, 2, 2), background=3.0, slabs=4)
@example(seed=1, classes=2, shape=(40, 1, 1), goal=(3, 12, 12), background=2.0, slabs=40)
def test_labels_are_those_of_full_interpolation(seed, classes, shape, goal, background, slabs):
    logits = logits_of(seed, classes, shape, background)
    fine = fully(logits, goal)
    first, second = np.sort(fine, axis=0)[[-1, -2]]
    decided = first - second > UNDECIDED
    expected = fine.argmax(axis=0)
    found = labels_at(logits, goal, slabs)
    np.testing.assert_array_equal(found, labels_at(logits, goal, threads=3))
    assert (found.shape, found.dtype) == (goal, np.uint8)
    np.testing.assert_array_equal(found[decided], expected[decided])


@pytest.mark.parametrize("corner", [(0, 0, 0), (-1, -1, -1), (0, -1, 0), (-1, 0, -1)])
def test_foreground_in_a_corner_only(corner):
    logits = np.zeros((2, 5, 6, 7), dtype=np.float32)
    logits[0] = 1.0
    logits[1][corner] = 4.0
    goal = (37, 13, 11)
    found = labels_at(logits, goal)
    assert found[corner] == 1
    np.testing.assert_array_equal(found, fully(logits, goal).argmax(axis=0))


def test_a_cell_by_hand():
    # logits 0 and 4 on a line of two: at 1/4, 3/4 between them class 1 has 1 and 3; background 2
    logits = np.array([[[[2.0, 2.0]]], [[[0.0, 4.0]]]], dtype=np.float32)
    assert labels_at(logits, (1, 1, 4)).tolist() == [[[0, 0, 1, 1]]]


def test_downsampling_that_passes_over_all_foreground():
    # fine centers at 2.0 and 7.0 of ten: the voxels 4 and 5 are no corner of theirs
    logits = np.zeros((2, 10, 10, 10), dtype=np.float32)
    logits[0] = 1.0
    logits[1, 4:6, 4:6, 4:6] = 9.0
    assert not labels_at(logits, (2, 2, 2)).any()


def test_a_tie_is_the_lowest_class():
    tied = np.ones((4, 2, 3, 4), dtype=np.float32)
    assert not labels_at(tied, (2, 3, 4)).any()
    assert not labels_at(tied, (5, 7, 9)).any()
    tied[0] = 0.0
    assert (labels_at(tied, (2, 3, 4)) == 1).all()
    assert (labels_at(tied, (8, 6, 4)) == 1).all()  # halves and quarters: no rounding


def test_all_background_and_all_foreground():
    logits = np.zeros((3, 3, 4, 5), dtype=np.float32)
    logits[0] = 5.0
    assert not labels_at(logits, (40, 9, 9)).any()
    logits[2] = 6.0
    assert (labels_at(logits, (40, 9, 9)) == 2).all()


def test_the_same_grid_is_argmax():
    logits = logits_of(3, 15, (6, 7, 8), 0.0)
    np.testing.assert_array_equal(labels_at(logits, (6, 7, 8)), logits.argmax(axis=0))


def test_one_class_is_background():
    assert not labels_at(np.ones((1, 2, 2, 2), dtype=np.float32), (3, 3, 3)).any()


def test_logits_are_left_as_they_were():
    logits = logits_of(4, 3, (4, 4, 4), 0.0)
    before = logits.copy()
    labels_at(logits, (4, 4, 4))
    labels_at(logits, (9, 9, 9))
    np.testing.assert_array_equal(logits, before)
