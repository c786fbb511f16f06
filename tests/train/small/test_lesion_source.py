"""The lesion network is applied tile by tile, on its own grid and axes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.small.lesion_network import MARGIN
from train.small.lesion_source import _probabilities, _starts, find_lesions


def middle(image):
    x, y, z = (slice(m, -m) for m in MARGIN)
    return image[:, :, x, y, z]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.integers(1, 400), st.integers(1, 100))
def test_tiles_cover_every_voxel_and_the_last_ends_at_the_end(size, inner):
    starts = _starts(size, inner)
    covered = {voxel for start in starts for voxel in range(start, start + inner)}
    assert covered >= set(range(size))
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] + inner == max(size, inner)


@pytest.mark.parametrize("shape", [(97, 20, 45), (92, 84, 42), (5, 90, 3)])
def test_tiles_are_put_where_they_were_taken_from(shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = 1 / (1 + np.exp(-image))
    np.testing.assert_allclose(_probabilities(image, middle), expected, atol=1e-6)


MM = 3.0
BOX = (slice(9, 13), slice(4, 9), slice(14, 20))
"""A dark part of the liver: towards the head, the front and the patient's left."""


@pytest.fixture
def liver():
    mask = np.zeros((16, 20, 24), bool)
    mask[2:14, 2:18, 2:22] = True
    hu = np.where(mask, 100, -100).astype(np.float32)
    hu[BOX] = 0
    return hu, mask


def shrunk(by):
    return tuple(slice(part.start + by, part.stop - by) for part in BOX)


def test_what_the_network_finds_comes_back_to_its_place(liver):
    def dark(image):
        # A liver at its median is shown as 2.5 × 0.110, a part 100 HU lower as 2.5 × -0.050.
        return (0.075 - middle(image)) * 100 * (middle(image) > -0.4)

    found = find_lesions(*liver, MM, dark)
    assert found[shrunk(1)].all()
    found[shrunk(-1)] = False
    assert not found.any()


def test_the_network_sees_right_anterior_superior(liver):
    tiles = []

    def seen(image):
        tiles.append(image[0, 0].numpy())
        return 0 * middle(image) - 9

    assert not find_lesions(*liver, MM, seen).any()
    (tile,) = tiles
    centres = {
        what: np.argwhere(np.abs(tile - value) < 0.01).mean(axis=0)
        for what, value in (("liver", 0.275), ("dark", -0.125))
    }
    x, y, z = centres["dark"] - centres["liver"]
    assert x < -5  # left, X grows to the right
    assert y > 5
    assert z > 1


def test_a_ct_without_a_liver_is_not_queried():
    empty = np.zeros((5, 6, 7), bool)
    assert not find_lesions(empty.astype(np.float32), empty, MM, None).any()


def test_a_liver_smaller_than_a_voxel_of_the_network_is_not_queried():
    liver = np.zeros((30, 30, 30), bool)
    liver[15, 15, 15] = True
    assert not find_lesions(liver.astype(np.float32), liver, 1.0, None).any()
