"""The one map between two grids: by hand, at the edges, and what must hold for every pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.axis import Linear, center, from_corner, holding, nearest, strided, widened

SIZES = st.integers(1, 300)


def test_centers_by_hand():
    # four new voxels over two old ones: each half as long
    assert [from_corner(i, 0.5) for i in range(4)] == [0.25, 0.75, 1.25, 1.75]
    assert center(np.arange(4.0), 0.5).tolist() == [-0.25, 0.25, 0.75, 1.25]
    # one new voxel over two old ones lies between them
    assert center(0, 2.0) == 0.5


def test_nearest_by_hand():
    assert nearest(2, 4).tolist() == [0, 0, 1, 1]
    assert nearest(6, 2).tolist() == [1, 4]
    assert nearest(3, 2).tolist() == [0, 2]
    assert nearest(1, 3).tolist() == [0, 0, 0]
    assert nearest(4, 2).tolist() == [1, 3]  # a center on a border belongs to the upper voxel


def test_linear_by_hand():
    axis = Linear(2, 4)
    assert axis.below.tolist() == [0, 0, 0, 0]
    assert axis.above.tolist() == [1, 1, 1, 1]
    assert axis.share.tolist() == [0, 0.25, 0.75, 1]  # the edges are extended
    assert axis.share.dtype == np.float32
    axis = Linear(6, 2)
    assert (axis.below.tolist(), axis.above.tolist()) == ([1, 4], [2, 5])
    assert axis.share.tolist() == [0, 0]
    axis = Linear(1, 2)
    assert (axis.below.tolist(), axis.above.tolist()) == ([0, 0], [0, 0])


def test_boxes_by_hand():
    axis = Linear(4, 8)  # centers at -.25 .25 .75 1.25 1.75 2.25 2.75 3.25
    assert axis.below.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert axis.support(slice(0, 3)) == slice(0, 2)
    assert axis.support(slice(3, 6)) == slice(1, 4)
    assert axis.within(1, 1) == slice(3, 5)
    assert axis.within(0, 2) == slice(0, 8)
    assert [axis.decided_by(known) for known in range(5)] == [0, 0, 3, 5, 8]
    assert [axis.first_needed(new) for new in (0, 3, 5, 8)] == [0, 1, 2, 4]


def test_blend_by_hand():
    axis = Linear(2, 4)
    block = np.float32([0, 4]).reshape(1, 2, 1)
    assert axis.blend(block, slice(0, 4), 1).ravel().tolist() == [0, 1, 3, 4]
    assert axis.blend(block, slice(2, 3), 1).ravel().tolist() == [3]


@given(SIZES)
def test_one_to_one_where_the_sizes_are_equal(size):
    axis = Linear(size, size)
    assert nearest(size, size).tolist() == list(range(size))
    whole = slice(0, size)
    block = np.random.default_rng(size).normal(size=(1, 1, size)).astype(np.float32)
    found = axis.blend(block[:, :, axis.support(whole)], whole, 2)
    np.testing.assert_array_equal(found[..., :-1], block[..., :-1])
    # the last voxel is all of `above`: low + (high - low), which float32 rounds
    np.testing.assert_allclose(found, block, atol=1e-6)


@given(SIZES, SIZES)
def test_maps_are_monotone_and_stay_inside(old, new):
    axis, near = Linear(old, new), nearest(old, new)
    for places in (axis.below, axis.above, near):
        assert places.shape == (new,)
        assert (np.diff(places) >= 0).all()
        assert 0 <= places[0] <= places[-1] < old
    assert ((axis.share >= 0) & (axis.share <= 1)).all()
    assert (np.diff(axis.below + axis.share.astype(np.float64)) >= -1e-6).all()
    # what is nearest is one of the two that a new voxel is made of
    assert ((near == axis.below) | (near == axis.above)).all()
    # mirrored: the same map, seen from the other end
    np.testing.assert_allclose(
        axis.below + axis.share, old - 1 - (axis.below + axis.share)[::-1], atol=1e-4
    )


@given(st.integers(1, 60), st.integers(1, 7))
def test_there_and_back(old, factor):
    # every old voxel is found again in the middle of the new ones that it was cut into
    fine = nearest(old, old * factor)
    assert fine.tolist() == np.repeat(np.arange(old), factor).tolist()
    back = nearest(old * factor, old)
    np.testing.assert_array_equal(fine[back], np.arange(old))


@given(SIZES, st.floats(-1000, 1000), st.floats(-100, 100))
def test_a_ramp_stays_a_ramp(new, first, step):
    old = 7
    ramp = np.float32(first + step * np.arange(old)).reshape(old, 1, 1)
    axis = Linear(old, new)
    whole = slice(0, new)
    found = axis.blend(ramp[axis.support(whole)], whole, 0).ravel()
    place = np.clip(center(np.arange(float(new)), old / new), 0, old - 1)
    np.testing.assert_allclose(found, first + step * place, rtol=1e-5, atol=1e-2)
    assert ramp.min() - 1e-2 <= found.min() <= found.max() <= ramp.max() + 1e-2


@given(SIZES, SIZES, st.data())
def test_a_part_needs_no_voxels_but_its_support(old, new, data):
    start = data.draw(st.integers(0, new - 1))
    part = slice(start, data.draw(st.integers(start + 1, new)))
    axis = Linear(old, new)
    block = np.random.default_rng(old).normal(size=(old, 1, 1)).astype(np.float32)
    whole = axis.blend(block[axis.support(slice(0, new))], slice(0, new), 0)
    np.testing.assert_array_equal(axis.blend(block[axis.support(part)], part, 0), whole[part])


@given(SIZES, SIZES, st.integers(0, 300))
def test_voxels_that_come_bit_by_bit(old, new, known):
    axis = Linear(old, new)
    known = min(known, old)
    ready = axis.decided_by(known)
    assert (axis.above[:ready] < known).all()
    assert (axis.above[ready:] >= known).all()
    kept = axis.first_needed(ready)
    assert kept <= known
    assert (axis.below[ready:] >= kept).all()


@given(SIZES, SIZES)
def test_cells_share_out_all_new_voxels(old, new):
    axis = Linear(old, new)
    parts = [axis.within(cell, cell) for cell in range(max(1, old - 1))]
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(new))


@given(SIZES, SIZES, st.data())
def test_a_place_lies_in_the_voxel_that_holds_it(old, new, data):
    voxel = data.draw(st.integers(0, new - 1))
    found = holding(voxel + 0.5, old, new)
    assert found * new <= (voxel + 0.5) * old <= (found + 1) * new
    assert holding(float(new), old, new) == old - 1


@pytest.mark.parametrize(
    ("part", "stride", "expected"),
    [((0, 10), 4, (0, 3)), ((1, 9), 4, (1, 3)), ((4, 5), 4, (1, 2)), ((5, 8), 4, (2, 2))],
)
def test_which_of_every_few_voxels_lie_in_a_part(part, stride, expected):
    assert strided(slice(*part), stride) == slice(*expected)


def test_every_few_voxels_back_on_their_axis():
    assert widened(slice(1, 3), 4, 2, 20) == slice(2, 14)
    assert widened(slice(0, 3), 4, 2, 11) == slice(0, 11)


@given(SIZES, st.integers(1, 9), st.data())
def test_a_part_is_within_its_widened_cells(size, stride, data):
    start = data.draw(st.integers(0, size - 1))
    part = slice(start, data.draw(st.integers(start + 1, size)))
    taken = range(0, size, stride)
    cells = strided(part, stride)
    assert [place for place in taken if part.start <= place < part.stop] == list(taken[cells])
    assert strided(widened(cells, stride, 0, size), stride) == cells or cells.start == cells.stop
