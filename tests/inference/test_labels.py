"""Labels on the CT's grid are those of full interpolation and argmax, without its memory."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imaging.geometry import Grid
from imaging.resampling import resample_linear
from inference.labels import NativeLabels
from inference.sliding_window import window_starts

UNDECIDED = 1e-4
"""Logits of the order 1 that differ by less may be ordered either way by float32 rounding."""


def labels_at(logits, goal, ends=(), threads=1):
    """Labels of logits that come in slabs; `ends` are slices where one ends, also twice."""
    labels = np.zeros(goal, dtype=np.uint8)
    native = NativeLabels(logits.shape[1:], labels, threads)
    for slab in np.split(logits, ends, axis=1):
        native.add(slab)
    return labels


def logits_of(seed, classes, shape, background):
    """Noise, its background raised so that foreground is scattered, rare or absent."""
    logits = np.random.default_rng(seed).normal(size=(classes, *shape)).astype(np.float32)
    logits[0] += background
    return logits


def fully(logits, goal):
    return np.stack([resample_linear(one, goal) for one in logits])


@st.composite
def grids(draw):
    """Shapes of the working grid and of the CT's, and ends of slabs.

    One axis, mostly Z, has 1 to 200 of the CT's voxels, each as long as .2 to 12 of the working
    grid's: slices of 1 to 12 mm on 1 to 5 mm.
    """
    axis = draw(st.sampled_from([0, 0, 0, 1, 2]))
    goal = [draw(st.integers(1, 200 if a == axis else 12)) for a in range(3)]
    shape = [draw(st.integers(1, 7)) for _ in range(3)]
    shape[axis] = max(1, round(goal[axis] * draw(st.floats(0.2, 12.0))))
    if draw(st.booleans()):  # as the patches of a network end: half a patch apart
        ends = range(draw(st.integers(1, 96)), shape[0], draw(st.integers(8, 96)))
    else:
        ends = draw(st.lists(st.integers(0, shape[0]), max_size=12).map(sorted))
    return tuple(shape), tuple(goal), tuple(ends)


CASES = {
    "seed": st.integers(0, 99),
    "classes": st.integers(2, 5),
    "grid": grids(),
    "background": st.sampled_from([0.0, 2.0, 3.5, 9.0]),
}


@given(**CASES)
@example(seed=0, classes=3, grid=((9, 9, 9), (2, 2, 2), (3, 5, 7)), background=3.0)
@example(seed=1, classes=2, grid=((40, 1, 1), (3, 12, 12), range(1, 40)), background=2.0)
# 7.5 mm on 3 mm, patches of 64: slice 32 is in no cell, and was passed over before it came
@example(seed=2, classes=3, grid=((80, 5, 5), (32, 7, 7), (32,)), background=0.0)
@example(seed=3, classes=3, grid=((48, 4, 4), (12, 6, 6), (24, 32)), background=0.0)
@example(seed=4, classes=3, grid=((52, 4, 4), (5, 6, 6), (25, 25, 28)), background=0.0)
def test_labels_are_those_of_full_interpolation(seed, classes, grid, background):
    shape, goal, ends = grid
    logits = logits_of(seed, classes, shape, background)
    fine = fully(logits, goal)
    first, second = np.sort(fine, axis=0)[[-1, -2]]
    decided = first - second > UNDECIDED
    expected = fine.argmax(axis=0)
    found = labels_at(logits, goal, ends)
    np.testing.assert_array_equal(found, labels_at(logits, goal, threads=3))
    assert (found.shape, found.dtype) == (goal, np.uint8)
    np.testing.assert_array_equal(found[decided], expected[decided])


@pytest.mark.parametrize("examples", [300, pytest.param(6000, marks=pytest.mark.long)])
def test_so_they_are_on_many_grids(examples):
    same = given(**CASES)(test_labels_are_those_of_full_interpolation.hypothesis.inner_test)
    settings(max_examples=examples)(same)()


@pytest.mark.parametrize(
    "slice_mm", [1.0, 1.25, 2.0, 2.5, 3.0, 4.0, 5.0, 6.5, 7.5, 8.0, 10.0, 12.0]
)
@pytest.mark.parametrize("working_mm", [1.5, 2.0, 2.5, 3.0])
def test_slices_of_1_to_12_mm_on_every_working_grid(slice_mm, working_mm):
    # a CT of 390 mm; a network's patches of 64 slices, half of it apart
    goal = (round(390 / slice_mm), 5, 5)
    shape = Grid(goal, (slice_mm, 2.0, 2.0)).resampled((working_mm, 3.0, 3.0)).shape
    ends = window_starts(shape[0], 64, 0.5)[1:]
    logits = logits_of(5, 3, shape, 0.5)
    fine = fully(logits, goal)
    first, second = np.sort(fine, axis=0)[[-1, -2]]
    decided = first - second > UNDECIDED
    assert decided.mean() > 0.99
    found = labels_at(logits, goal, ends)
    np.testing.assert_array_equal(found[decided], fine.argmax(axis=0)[decided])


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
