"""Contrast phases move organs' means, contents fill hollow organs, and nothing else changes."""

import numpy as np
import pytest
import torch

from imaging.organs import ORGANS
from train.small.chance import Chance
from train.small.phases import PHASES, change_phase, fill, phase_means
from train.small.recipe import Contrast, Filling

LIVER, AORTA, STOMACH = (ORGANS[name] for name in ("liver", "aorta", "stomach"))
SHAPE = (12, 16, 36)
BLOCKS = {LIVER: slice(0, 12), AORTA: slice(12, 24), STOMACH: slice(24, 36)}
"""Along X; Y from 2 to 14, fat before and behind."""


@pytest.fixture
def abdomen():
    """Return HU and probabilities: three organs with texture, gas in one."""
    hu = torch.full(SHAPE, -100.0)
    probabilities = torch.zeros((15, *SHAPE))
    probabilities[0] = 1
    for label, part in BLOCKS.items():
        probabilities[label, :, 2:14, part] = 1
        probabilities[0, :, 2:14, part] = 0
        hu[:, 2:14, part] = {LIVER: 60.0, AORTA: 200.0, STOMACH: 40.0}[label]
    generator = torch.Generator().manual_seed(0)
    hu = hu + 5 * torch.randn(SHAPE, generator=generator)
    hu[4:8, 5:10, 28:32] = -1000
    return hu, probabilities


def own(**means):
    result = np.full(14, np.nan)
    for name, mean in means.items():
        result[ORGANS[name]] = mean
    return result


def inner(array, label):
    """Return an organ's voxels that have no neighbour in another."""
    part = BLOCKS[label]
    return array[1:-1, 3:13, part.start + 1 : part.stop - 1]


@pytest.mark.parametrize("seed", range(5))
def test_organs_arrive_at_the_mean_of_their_phase(abdomen, seed):
    hu, probabilities = abdomen
    wanted = phase_means(np.random.default_rng(seed), 12.0)
    rng = np.random.default_rng(seed)
    moved = change_phase(hu, probabilities, own(liver=60, aorta=200), Contrast(1.0, 12.0), rng)
    for label in (LIVER, AORTA):
        found = inner(moved, label)
        assert float(found.mean()) == pytest.approx(wanted[label], abs=0.5)
        change = found - inner(hu, label)
        assert float(change.std()) < 1e-3  # the texture stays


def test_gas_stays_gas_and_an_organ_of_unknown_mean_stays(abdomen):
    hu, probabilities = abdomen
    rng = np.random.default_rng(0)
    moved = change_phase(hu, probabilities, own(liver=60, stomach=40), Contrast(1.0, 12.0), rng)
    gas = hu < -500
    assert not torch.equal(inner(moved, STOMACH), inner(hu, STOMACH))
    assert torch.equal(moved[gas], hu[gas])
    torch.testing.assert_close(inner(moved, AORTA), inner(hu, AORTA), atol=1e-4, rtol=0)


def test_the_means_lie_between_the_phases_and_pairs_agree():
    means = np.array([phase_means(np.random.default_rng(seed), 0.0) for seed in range(200)])
    spleen = ORGANS["spleen"]
    column = [phase[spleen - 1] for phase in PHASES.values()]
    assert min(column) - 1e-9 <= means[:, spleen].min()
    assert means[:, spleen].min() + 20 < means[:, spleen].max() <= max(column) + 1e-9
    kidneys = means[:, ORGANS["left kidney"]] - means[:, ORGANS["right kidney"]]
    assert 3 < kidneys.std() < 7
    assert np.array_equal(
        means[:, ORGANS["left adrenal gland"]], means[:, ORGANS["right adrenal gland"]]
    )


def filled(hu, probabilities, filling, seed):
    chance = Chance(np.random.default_rng(seed), torch.Generator().manual_seed(seed))
    return fill(hu, probabilities, filling, chance)


def test_a_stomach_is_filled_within_its_wall_and_gas_lies_in_front(abdomen):
    hu, probabilities = abdomen
    gassy = 0
    for seed in range(12):
        new = filled(hu, probabilities, Filling(1.0, 0.0, 0.0, 0.0), seed)
        changed = new != hu
        assert not changed[probabilities[STOMACH] == 0].any()
        assert inner(changed, STOMACH).float().mean() > 0.95
        column = inner(new, STOMACH).mean(dim=(0, 2)).numpy()  # along Y, to the back
        gas = column < -500
        gassy += gas.any()
        assert np.array_equal(gas, np.sort(gas)[::-1])
    assert 0 < gassy < 12


def test_bowel_loops_are_painted_where_no_organ_is(abdomen):
    hu, probabilities = abdomen
    organs = probabilities[0] == 0
    changed = 0
    for seed in range(6):
        new = filled(hu, probabilities, Filling(0.0, 0.0, 0.0, 1.0), seed)
        assert torch.equal(new[organs], hu[organs])
        changed += int((new != hu).sum())
    assert changed > 100


def test_nothing_is_filled_where_the_recipe_says_never(abdomen):
    hu, probabilities = abdomen
    before = hu.clone()
    assert torch.equal(filled(hu, probabilities, Filling(0.0, 0.0, 0.0, 0.0), 0), before)
