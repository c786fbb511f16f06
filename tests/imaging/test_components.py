"""Pieces are those of a second labelling, in every box and however tight it is."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from imaging.components import connected

STRUCTURES = {
    4: ndimage.generate_binary_structure(2, 1),
    8: ndimage.generate_binary_structure(2, 2),
    6: ndimage.generate_binary_structure(3, 1),
    18: ndimage.generate_binary_structure(3, 2),
    26: ndimage.generate_binary_structure(3, 3),
}
TIGHT = [(1, 1, 2), (1, 1, 3), (1, 1, 7), (1, 1, 9), (3, 1, 1), (1, 5, 1), (1, 3, 3), (2, 2, 2)]


def pieces_by_scipy(array, connectivity):
    """The voxels of every piece, as flat places."""
    found = set()
    for value in np.unique(array[array > 0]):
        numbers, count = ndimage.label(array == value, STRUCTURES[connectivity])
        found |= {tuple(np.flatnonzero(numbers == n)) for n in range(1, count + 1)}
    return found


def check(array, connectivity):
    found = connected(array, connectivity)
    assert found.numbers.shape == array.shape
    assert found.sizes.size == found.count + 1
    assert found.sizes[0] == 0
    places = {}
    for number in range(1, found.count + 1):
        mask = found.numbers == number
        places[tuple(np.flatnonzero(mask))] = number
        assert found.sizes[number] == mask.sum()
        (box,) = ndimage.find_objects(mask.astype(int))
        assert found.box(number) == box
    assert places.keys() == pieces_by_scipy(array, connectivity)


@pytest.mark.parametrize("shape", TIGHT)
def test_every_pattern_in_a_tight_box(shape):
    # without padding cc3d 4.1.1 ends in "maximum length exception" on 1 0 1
    for bits in itertools.product([False, True], repeat=math.prod(shape)):
        mask = np.array(bits).reshape(shape)
        found = connected(mask)
        numbers, count = ndimage.label(mask, STRUCTURES[26])
        assert found.count == count
        np.testing.assert_array_equal(found.numbers > 0, mask)
        assert sorted(found.sizes[1:]) == sorted(np.bincount(numbers[mask], minlength=1)[1:])


@given(
    hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=12),
        elements=st.sampled_from([0, 0, 1, 2, 255]),
    ),
    st.sampled_from([6, 18, 26]),
)
def test_pieces_of_many_labels_are_those_of_each(labels, connectivity):
    check(labels, connectivity)


@given(
    hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)),
    st.sampled_from([4, 8]),
)
def test_pieces_of_a_slice(mask, connectivity):
    check(mask, connectivity)


def test_an_array_of_nothing_has_no_piece():
    for array in (np.zeros((2, 3, 4), np.bool_), np.zeros((0, 3, 4), np.uint8)):
        assert connected(array).count == 0


def test_voxels_of_each_piece_in_a_mask():
    found = connected(np.uint8([[1, 1, 0, 2], [0, 0, 0, 2], [5, 0, 2, 2]]), 4)
    mask = np.array([[0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 1]], bool)
    inside = found.within(mask)
    by_place = [inside[found.numbers[place]] for place in ((0, 0), (0, 3), (2, 0))]
    assert by_place == [1, 3, 0]
    assert inside[0] == 0
    assert found.within(mask & False).tolist() == [0, 0, 0, 0]
