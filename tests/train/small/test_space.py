"""Where a sample is cut: voxels whose place after scaling or turning was worked out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.small.small_training import DEFAULT, STILL
from train.small.recipe import load_small_recipe
from train.small.space import _coordinates, sample_space


class Highest:
    """Chance that always takes the end of its range."""

    def uniform(self, low=0.0, high=1.0, size=None):
        return high if size is None else np.full(size, high)

    def normal(self, mean, deviation, size):
        return np.full(size, float(mean))


def recipe(patch, space, ratio=1.0):
    """Return the default recipe with other patches, the working voxels `ratio` times the stored."""
    default = load_small_recipe(DEFAULT)
    return replace(
        default,
        spacing_mm=(2.5 * ratio,) * 3,
        stored_mm=2.5,
        space=space,
        fit=replace(default.fit, patch=patch),
    )


def sampled(hu, centre, patch, space=STILL, ratio=1.0, rng=None):
    hu = torch.as_tensor(hu, dtype=torch.float32)
    labels = torch.stack([hu % 15, hu % 7, hu % 256])
    rng = rng or np.random.default_rng(0)
    return sample_space(hu, labels, np.array(centre), recipe(patch, space, ratio), rng)


def test_without_changes_a_sample_is_a_crop_voxel_for_voxel():
    hu = np.random.default_rng(0).integers(0, 1000, (12, 14, 16))
    placed = sampled(hu, (5.5, 6.5, 7.5), (4, 6, 8))
    crop = hu[4:8, 4:10, 4:12]
    np.testing.assert_allclose(placed.hu.numpy(), crop, atol=0.01)
    np.testing.assert_array_equal(placed.first.numpy(), crop % 15)
    np.testing.assert_array_equal(placed.second.numpy(), crop % 7)
    np.testing.assert_allclose(placed.share.numpy(), crop % 256 / 255)
    assert placed.inside.all()


def test_what_lies_outside_of_the_scan_is_marked():
    placed = sampled(np.ones((6, 6, 6)), (2.5, 2.5, 2.5), (10, 10, 10))
    expected = np.zeros((10, 10, 10), bool)
    expected[2:8, 2:8, 2:8] = True
    np.testing.assert_array_equal(placed.inside.numpy(), expected)


def bright(*offset):
    """Return a CT of 21 voxels an edge with one bright voxel, `offset` from the middle."""
    hu = np.zeros((21, 21, 21))
    hu[tuple(10 + n for n in offset)] = 1000
    return hu


def place_of_bright(placed):
    """Return the offset from the sample's middle."""
    hu = placed.hu.numpy()
    assert hu.max() == pytest.approx(1000, abs=0.1)
    place = np.unravel_index(hu.argmax(), hu.shape)
    return tuple(int(at) - n // 2 for at, n in zip(place, hu.shape, strict=True))


def test_a_patient_twice_as_large_is_twice_as_far_from_the_middle():
    space = replace(STILL, scale=(2.0, 2.0))
    placed = sampled(bright(2, 0, -3), (10, 10, 10), (15, 15, 15), space)
    assert place_of_bright(placed) == (4, 0, -6)


def test_coarser_working_voxels_bring_everything_nearer():
    placed = sampled(bright(2, -4, 6), (10, 10, 10), (9, 9, 9), ratio=2.0)
    assert place_of_bright(placed) == (1, -2, 3)


@pytest.mark.parametrize(
    ("space", "found"),
    [
        # A quarter turn about Z shows at (z, y, x) what lies at (z, -x, y).
        (replace(STILL, rotation_z=90.0), (1, 3, -2)),
        # About Y, (-x, y, z); then about X, (-y, z, x): together (-y, -x, z).
        (replace(STILL, rotation_xy=90.0), (3, -1, -2)),
    ],
    ids=["about Z", "about Y and X"],
)
def test_a_quarter_turn_moves_a_voxel_where_geometry_says(space, found):
    placed = sampled(bright(1, 2, 3), (10, 10, 10), (9, 9, 9), space, rng=Highest())
    assert place_of_bright(placed) == found


def test_rotation_keeps_lengths_and_handedness():
    space = replace(STILL, rotation_z=20.0, rotation_xy=10.0)
    rng = np.random.default_rng(1)
    where = _coordinates(np.zeros(3), recipe((3, 3, 3), space), rng, torch.device("cpu"))
    axes = np.stack([(where[2, 1, 1], where[1, 2, 1], where[1, 1, 2])[n] for n in range(3)])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-5)
    assert np.linalg.det(axes) == pytest.approx(1, abs=1e-5)


def test_bends_are_smooth_and_of_the_requested_size():
    patch, cpu = (32, 40, 48), torch.device("cpu")
    straight, bent = (
        _coordinates(np.zeros(3), recipe(patch, space), np.random.default_rng(2), cpu)
        for space in (STILL, replace(STILL, bend_mm=5.0))
    )
    moved_mm = 2.5 * (bent - straight).numpy()
    assert 1.0 < moved_mm.std() < 5.0
    assert np.abs(moved_mm).max() <= 15.001
    for axis in range(3):  # folds nowhere
        assert np.diff(bent.numpy()[..., axis], axis=axis).min() > 0


def test_a_scan_that_ends_early_shows_one_side():
    hu = np.ones((12, 12, 12))
    space = replace(STILL, cut=1.0)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        inside = sampled(hu, (5.5, 5.5, 5.5), (12, 12, 12), space, rng=rng).inside.numpy()
        assert 0.15 < inside.mean() < 0.85
        along = [axis for axis in range(3) if (inside == inside.take([0], axis)).all()]
        assert len(along) == 2  # only one axis decides
        (axis,) = {0, 1, 2} - set(along)
        assert np.abs(np.diff(inside.astype(int), axis=axis)).sum() == 144  # one border


def test_a_round_field_of_view_cuts_the_corners_of_every_slice():
    space = replace(STILL, circle=1.0)
    inside = sampled(np.ones((4, 40, 40)), (1.5, 19.5, 19.5), (4, 40, 40), space).inside.numpy()
    assert (inside == inside[:1]).all()
    assert inside[0, 20, 20]
    assert not inside[0, [0, 0, -1, -1], [0, -1, 0, -1]].any()
