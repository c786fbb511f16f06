"""Effects of scanners, each alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.small.small_training import QUIET
from train.small.chance import Chance
from train.small.scanner import remapped, scanned
from train.small.shapes import blurred

SHAPE = (12, 14, 16)
SEEDS = range(4)


def noise(shape=SHAPE):
    return 100 * torch.randn(shape, generator=torch.Generator().manual_seed(9))


def through(function, image, effect, seed):
    scanner = replace(QUIET, **{effect: 1.0}) if effect else QUIET
    chance = Chance(np.random.default_rng(seed), torch.Generator().manual_seed(seed))
    return function(image, scanner, chance)


def test_a_scanner_without_effects_changes_nothing():
    assert torch.equal(through(scanned, noise(), None, 0), noise())
    assert torch.equal(through(remapped, noise(), None, 0), noise())


@pytest.mark.parametrize("seed", SEEDS)
def test_eight_bits_leave_256_values(seed):
    hu = 400 * noise((20, 20, 20)) / 100
    kept = through(scanned, hu, "eight_bits", seed)
    assert 150 < len(torch.unique(kept)) <= 256
    low, high = float(kept.min()), float(kept.max())
    assert -220 <= low <= -100
    assert 230 <= high <= 420.01
    inside = (hu > low) & (hu < high)
    assert float((kept - hu)[inside].abs().max()) <= (high - low) / 255 / 2 + 1e-3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("effect", ["thick_slices", "blur", "sharpen"])
def test_filters_keep_what_is_even(effect, seed):
    even = torch.full(SHAPE, 70.0)
    torch.testing.assert_close(through(scanned, even, effect, seed), even, atol=1e-3, rtol=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_thick_slices_are_averaged_along_z_alone(seed):
    slices = noise((12, 1, 1)).expand(SHAPE)
    thick = through(scanned, slices.contiguous(), "thick_slices", seed)
    torch.testing.assert_close(thick, thick[:, :1, :1].expand(SHAPE), atol=1e-3, rtol=0)
    assert thick.std() < 0.95 * slices.std()
    rows = noise((1, 14, 16)).expand(SHAPE).contiguous()
    torch.testing.assert_close(
        through(scanned, rows, "thick_slices", seed), rows, atol=1e-3, rtol=0
    )


def test_blur_and_sharpening_work_against_each_other():
    assert through(scanned, noise(), "blur", 0).std() < 0.8 * noise().std()
    assert through(scanned, noise(), "sharpen", 0).std() > 1.1 * noise().std()


@pytest.mark.parametrize(
    ("effect", "least", "most"),
    [("white_noise", 2, 30), ("grainy_noise", 2, 16), ("bias", 4, 16)],
)
def test_noise_has_the_stated_deviation(effect, least, most):
    for seed in SEEDS:
        added = through(scanned, torch.zeros((24, 24, 24)), effect, seed)
        assert least * 0.95 < added.std() < most * 1.05


@pytest.mark.parametrize("seed", SEEDS)
def test_gain_is_one_line_for_all_voxels(seed):
    changed = through(scanned, noise(), "gain", seed)
    slope, level = np.polyfit(noise().ravel().numpy(), changed.ravel().numpy(), 1)
    assert 0.9 <= slope <= 1.1
    assert -12 <= level <= 12
    torch.testing.assert_close(changed, noise() * slope + level, atol=1e-2, rtol=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_remapping_keeps_order_and_ends(seed):
    image = noise()
    bent = through(remapped, image, "remap", seed)
    order = image.flatten().argsort()
    assert (bent.flatten()[order].diff() >= -1e-4).all()
    assert not torch.allclose(bent, image, atol=1.0)
    for end in ("min", "max"):
        assert float(getattr(bent, end)()) == pytest.approx(float(getattr(image, end)()), abs=0.01)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_network_keeps_the_mean_and_depends_on_its_seed(seed):
    image = noise()
    strange = through(remapped, image, "random_network", seed)
    assert float(strange.mean()) == pytest.approx(float(image.mean()), abs=0.1)
    assert torch.equal(strange, through(remapped, image, "random_network", seed))
    assert not torch.equal(strange, through(remapped, image, "random_network", seed + 1))


def test_a_blurred_point_is_a_gaussian():
    point = torch.zeros((15, 15, 15))
    point[7, 7, 7] = 1
    soft = blurred(point, 1.0)
    assert float(soft.sum()) == pytest.approx(1, abs=1e-5)
    assert float(soft[7, 7, 8] / soft[7, 7, 7]) == pytest.approx(np.exp(-0.5), abs=1e-5)
    assert float(soft[6, 7, 7] / soft[7, 7, 7]) == pytest.approx(np.exp(-0.5), abs=1e-5)


def test_grains_have_unit_deviation_and_neighbours_are_alike():
    chance = Chance(np.random.default_rng(0), torch.Generator().manual_seed(0))
    grains = chance.grain((30, 30, 30), 4.0)
    assert float(grains.std()) == pytest.approx(1, abs=1e-5)
    assert float((grains[:, :, 1:] - grains[:, :, :-1]).std()) < 0.6
