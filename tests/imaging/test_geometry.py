"""Axes are turned and turned back; grids round as nnU-Net's do."""

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from imaging.errors import GeometryError
from imaging.geometry import Grid, Orientation, foreground_box, nearest_rotation

CODES = [
    "".join(letters)
    for pairs in itertools.permutations(("LR", "PA", "SI"))
    for letters in itertools.product(*pairs)
]
codes = st.sampled_from(CODES)


def direction_of(code):
    """Signed permutation: column i is where stored index axis i grows to, in LPS."""
    matrix = np.zeros((3, 3))
    for column, letter in enumerate(code):
        row = "LPS".find(letter)
        matrix[row if row >= 0 else "RAI".index(letter), column] = 1 if row >= 0 else -1
    return matrix


@st.composite
def rotations(draw):
    """A signed permutation tilted by up to 20 degrees about any axis."""
    axis = np.array([draw(st.floats(-1, 1)) for _ in range(3)])
    axis = axis / np.linalg.norm(axis) if np.linalg.norm(axis) > 0.1 else np.array([0.0, 0.0, 1.0])
    angle = np.radians(draw(st.floats(-20, 20)))
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    tilt = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return tilt @ direction_of(draw(codes))


def stored(shape=(2, 3, 4)):
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def test_there_are_48_orientations():
    assert len(set(CODES)) == 48


def test_ras_of_a_volume_without_rotation_flips_x_and_y():
    turn = Orientation.to("RAS", np.eye(3))
    assert turn == Orientation((0, 1, 2), (False, True, True))
    np.testing.assert_array_equal(turn.apply(stored()), stored()[:, ::-1, ::-1])


def test_sagittal_slices_become_axial():
    # stored X grows to Posterior, Y to Superior, Z to Left: LPS wants Z <- Y, Y <- X, X <- Z
    turn = Orientation.to("LPS", direction_of("PSL"))
    assert turn == Orientation((1, 2, 0), (False, False, False))
    assert turn.apply(stored()).shape == (3, 4, 2)
    assert turn.grid(Grid((2, 3, 4), (5.0, 0.7, 0.8))) == Grid((3, 4, 2), (0.7, 0.8, 5.0))


def test_none_leaves_it_as_stored():
    turn = Orientation.to(None, direction_of("PSL"))
    np.testing.assert_array_equal(turn.apply(stored()), stored())


@pytest.mark.parametrize("code", ["", "RA", "RASL", "RAR", "ras", "XYZ", "LRS"])
def test_what_is_no_orientation_is_refused(code):
    with pytest.raises(GeometryError, match="is no orientation; three letters such as RAS"):
        Orientation.to(code, np.eye(3))


@given(code=codes, direction=rotations(), shape=st.tuples(*[st.integers(1, 5)] * 3))
def test_what_is_written_into_the_view_is_written_as_stored(code, direction, shape):
    turn, again = Orientation.to(code, direction), np.zeros_like(stored(shape))
    turned = turn.apply(stored(shape))
    turn.apply(again)[:] = turned
    np.testing.assert_array_equal(again, stored(shape))
    assert turn.grid(Grid(shape, (1.0, 2.0, 3.0))).shape == turned.shape


@given(code=codes, direction=rotations())
def test_turning_is_what_dicomorient_does(code, direction):
    image = sitk.GetImageFromArray(stored())
    image.SetDirection(direction.ravel())
    image.SetSpacing((0.8, 0.7, 5.0))
    expected = sitk.DICOMOrient(image, code)
    turn = Orientation.to(code, direction)
    np.testing.assert_array_equal(turn.apply(stored()), sitk.GetArrayFromImage(expected))
    assert turn.grid(Grid((2, 3, 4), (5.0, 0.7, 0.8))).spacing_mm == expected.GetSpacing()[::-1]


def test_the_result_grows_to_where_the_code_says():
    for start, goal in itertools.product(CODES[::5], CODES[::7]):
        back = Orientation.to(start, direction_of(goal))
        once = Orientation.to(goal, direction_of(start)).apply(stored())
        np.testing.assert_array_equal(back.apply(once), stored())


def test_grid_rounds_as_nnunet_does():
    grid = Grid((78, 512, 512), (2.0, 0.727, 0.727))
    # 78 * 2 / 3 = 52; 512 * 0.727 / 1.5 = 248.1
    assert grid.resampled((3.0, 1.5, 1.5)) == Grid((52, 248, 248), (3.0, 1.5, 1.5))
    # 5 * 1 / 2 = 2.5 and 7 / 2 = 3.5: Python rounds halves to even, as nnU-Net does
    assert Grid((5, 7, 1), (1.0, 1.0, 1.0)).resampled((2.0, 2.0, 9.0)).shape == (2, 4, 1)


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0)])
def test_spacing_must_be_positive(spacing):
    with pytest.raises(GeometryError, match="must be positive in mm"):
        Grid((2, 2, 2), (1.0, 1.0, 1.0)).resampled(spacing)


def test_voxel_volume():
    assert Grid((1, 1, 1), (5.0, 0.5, 0.5)).voxel_ml == 0.00125  # 1.25 mm³


def test_nearest_rotation_of_a_scaled_one_is_itself():
    tilted = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, -1.0]])
    np.testing.assert_allclose(nearest_rotation(2.5 * tilted), tilted, atol=1e-12)


@given(rotations(), st.lists(st.floats(-0.1, 0.1), min_size=9, max_size=9))
def test_nearest_rotation_is_orthonormal(direction, noise):
    found = nearest_rotation(direction + np.reshape(noise, (3, 3)))
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)


def test_the_box_of_the_foreground_is_as_small_as_can_be():
    labels = np.zeros((5, 6, 7), dtype=np.uint8)
    assert foreground_box(labels) is None
    assert foreground_box(labels[:0]) is None
    labels[1, 2, 3] = labels[3, 2, 6] = 14
    assert foreground_box(labels) == (slice(1, 4), slice(2, 3), slice(3, 7))
