"""Grown lesions: the picture and the target change together, cysts in the picture alone."""

import numpy as np
import pytest
import torch

from imaging.organs import ORGANS
from train.small.chance import Chance
from train.small.lesions import grow
from train.small.recipe import Lesions

LIVER, TUMOUR = ORGANS["liver"], ORGANS["tumour"]
SHAPE = (24, 28, 32)
MM = (3.0, 3.0, 3.0)


@pytest.fixture
def liver():
    """Return HU and probabilities of a liver of 100 HU in bone: no tumour leaves it."""
    probabilities = torch.zeros((15, *SHAPE))
    probabilities[LIVER, 3:-3, 3:-3, 3:-3] = 1
    probabilities[0] = 1 - probabilities[LIVER]
    return torch.where(probabilities[LIVER] > 0, 100.0, 600.0), probabilities


def grown(hu, probabilities, lesions, seed):
    chance = Chance(np.random.default_rng(seed), torch.Generator().manual_seed(seed))
    return grow(hu, probabilities, MM, lesions, chance)


def test_tumours_change_picture_and_target_at_the_same_place(liver):
    hu, probabilities = liver
    before, tumours = (hu.clone(), probabilities.clone()), 0
    for seed in range(12):
        new, shares = grown(hu, probabilities, Lesions(1.0, 0.0, 0.0), seed)
        assert shares.min() >= 0
        assert shares.max() <= 1 + 1e-6
        torch.testing.assert_close(shares.sum(dim=0), torch.ones(SHAPE))
        tumour = shares[TUMOUR]
        if not tumour.any():
            continue  # it was to grow in an organ that is not here
        tumours += 1
        assert (new != hu)[tumour > 0.01].float().mean() > 0.99
        assert not tumour[new == hu].gt(0.01).any()
        assert torch.equal(new[probabilities[LIVER] == 0], hu[probabilities[LIVER] == 0])
        torch.testing.assert_close(shares[LIVER] + tumour, probabilities[LIVER])
        assert torch.equal(shares[0], probabilities[0])
        core = tumour > 0.9
        if core.sum() > 30:
            assert (new - hu)[core].abs().mean() > 5
    assert tumours >= 4
    assert torch.equal(hu, before[0])
    assert torch.equal(probabilities, before[1])


def test_a_tumour_of_another_organ_may_cross_its_border_but_not_into_bone():
    pancreas = ORGANS["pancreas"]
    probabilities = torch.zeros((15, *SHAPE))
    probabilities[pancreas, :, :, :14] = 1
    probabilities[0] = 1 - probabilities[pancreas]
    hu = torch.full(SHAPE, 40.0)
    hu[:, :14, 14:] = 600
    crossed = 0
    for seed in range(60):
        new, shares = grown(hu, probabilities, Lesions(1.0, 0.0, 0.0), seed)
        crossed += bool(shares[TUMOUR, :, 14:, 14:].any())
        assert not shares[TUMOUR, :, :14, 14:].any()
        assert (new[:, :14, 14:] == 600).all()
    assert crossed


def test_cysts_are_like_water_and_leave_the_target(liver):
    hu, probabilities = liver
    before, cysts = hu.clone(), 0
    for seed in range(20):
        new, shares = grown(hu, probabilities, Lesions(0.0, 1.0, 0.0), seed)
        assert torch.equal(shares, probabilities)
        assert torch.equal(new[probabilities[LIVER] == 0], hu[probabilities[LIVER] == 0])
        if not torch.equal(new, hu):
            cysts += 1
            assert -4 <= float(new.min()) <= 14
    assert cysts >= 3
    assert torch.equal(hu, before)


def test_nothing_grows_where_the_recipe_says_never(liver):
    hu, probabilities = liver
    new, shares = grown(hu, probabilities, Lesions(0.0, 0.0, 0.0), 0)
    assert torch.equal(new, hu)
    assert torch.equal(shares, probabilities)


def test_a_patch_without_any_organ_grows_none():
    probabilities = torch.zeros((15, 8, 8, 8))
    probabilities[0] = 1
    hu = torch.zeros((8, 8, 8))
    for seed in range(5):
        new, shares = grown(hu, probabilities, Lesions(1.0, 1.0, 0.0), seed)
        assert torch.equal(new, hu)
        assert torch.equal(shares, probabilities)
