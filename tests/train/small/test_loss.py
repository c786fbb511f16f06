"""The loss on a few voxels, worked out by hand."""

from math import log

import pytest
import torch

from train.small.loss import _at_one_scale as at_one_scale
from train.small.loss import halved, soft_loss
from train.small.sampling import CLASSES, Sample

EVEN = log(CLASSES)
"""Cross-entropy of a network that knows nothing."""

ALIKE = torch.tensor([0.0] + [1.0] * 14)
"""The organs' and the tumour's Dice count alike."""


def _at_one_scale(logits, target, weight):
    return at_one_scale(logits, target, weight, ALIKE)


def target(*labels):
    """Return certain targets [1, 15, 1, 1, N]."""
    shares = torch.nn.functional.one_hot(torch.tensor(labels), CLASSES).float()
    return shares.T[None, :, None, None]


def weights(*values):
    return torch.tensor(values, dtype=torch.float32)[None, None, None, None]


@pytest.mark.parametrize(
    ("labels", "known", "expected"),
    [
        # Dice of class 1: 2 (1/15) / (2/15 + 1)
        ((1, 0), (1, 1), EVEN + 1 - 2 / 17),
        # The second voxel is unknown: 2 (1/15) / (1/15 + 1)
        ((1, 0), (1, 0), EVEN + 1 - 2 / 16),
        # Of three voxels two classes: both 2 (1/15) / (3/15 + 1)
        ((1, 2, 0), (1, 1, 1), EVEN + 1 - 2 / 18),
        # Background has no Dice
        ((0, 0), (1, 1), EVEN),
        ((1, 1), (0, 0), 0.0),
    ],
)
def test_a_network_that_knows_nothing(labels, known, expected):
    logits = torch.zeros((1, CLASSES, 1, 1, len(labels)))
    loss = _at_one_scale(logits, target(*labels), weights(*known))
    assert float(loss) == pytest.approx(expected, abs=1e-5)


def test_a_soft_target_of_one_voxel():
    # Predicted .8 of class 1 and .2 of 0, wanted half of each. Dice counts from a whole voxel on.
    logits = torch.full((1, CLASSES, 1, 1, 1), -50.0)
    logits[0, :2, 0, 0, 0] = torch.tensor([0.2, 0.8]).log()
    shares = (target(0) + target(1)) / 2
    loss = _at_one_scale(logits, shares, weights(1))
    assert float(loss) == pytest.approx(-0.5 * log(0.2) - 0.5 * log(0.8), abs=1e-5)
    two = _at_one_scale(logits.tile(2), shares.tile(2), weights(1, 1))
    dice = 2 * 2 * 0.8 * 0.5 / (2 * 0.8 + 2 * 0.25)
    assert float(two) == pytest.approx(float(loss) + 1 - dice, abs=1e-5)


def test_an_unknown_voxel_teaches_nothing():
    logits = torch.randn((1, CLASSES, 1, 1, 3), generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    _at_one_scale(logits, target(1, 2, 0), weights(1, 0, 1)).backward()
    assert (logits.grad[..., 1] == 0).all()
    assert (logits.grad[..., 0] != 0).all()
    assert (logits.grad[..., 2] != 0).any()


def test_a_perfect_answer_costs_nothing():
    wanted = target(1, 2, 0, 14)
    assert float(_at_one_scale(60 * wanted, wanted, weights(1, 1, 1, 1))) < 1e-6


def test_a_better_answer_costs_less():
    wanted, known = target(1, 2, 0, 14), weights(1, 1, 1, 1)
    losses = [float(_at_one_scale(gain * wanted, wanted, known)) for gain in (0, 1, 3, 9)]
    assert losses == sorted(losses, reverse=True)


def sample(side):
    wanted = torch.zeros((1, CLASSES, side, side, side))
    wanted[:, 1] = 1
    known = torch.ones((1, 1, side, side, side))
    return Sample(torch.zeros_like(known), wanted, known)


def test_three_scales_are_averaged_by_their_weights():
    # All voxels of class 1; at every scale a network that knows nothing loses as much.
    outputs = [torch.zeros((1, CLASSES, n, n, n)) for n in (8, 4, 2)]
    one = EVEN + 1 - 2 / 16
    assert float(soft_loss(outputs, sample(8))) == pytest.approx(one, abs=1e-5)
    outputs[1][:, 1] = 60  # right at half the resolution
    assert float(soft_loss(outputs, sample(8))) == pytest.approx(one * 1.25 / 1.75, abs=1e-5)


def test_on_a_coarser_grid_a_voxel_counts_by_what_is_known_of_it():
    wanted = target(1, 1, 1, 0, 2, 2, 2, 2).reshape(1, CLASSES, 2, 2, 2)
    known = weights(1, 1, 1, 1, 0, 0, 0, 0).reshape(1, 1, 2, 2, 2)
    shares, weight = halved(wanted, known)
    assert float(weight) == 0.5
    assert shares.ravel().tolist() == pytest.approx([0.25, 0.75] + [0.0] * 13)


def test_the_tumours_dice_counts_by_its_weight():
    # Liver and tumour, a voxel each, predicted at chance: both Dice 2 (1/15) / (2/15 + 1) = 2/17.
    # The tumour is then predicted for sure: 2 / (1 + 1/15 + 1) of it.
    image = torch.zeros((1, 1, 1, 1, 2))
    sample = Sample(image, target(1, 14), weights(1, 1))
    logits = torch.zeros((1, CLASSES, 1, 1, 2))
    logits[0, 14, 0, 0, 1] = 50.0
    liver, tumour = 1 - 2 / 17 * (17 / 16), 1 - 2 / (2 + 1 / 15)
    for weight in (1.0, 3.0):
        expected = EVEN / 2 + (liver + weight * tumour) / (1 + weight)
        at_full = at_one_scale(
            logits, sample.target, sample.weight, torch.tensor([0.0] + [1.0] * 13 + [weight])
        )
        assert float(at_full) == pytest.approx(expected, abs=1e-5)
