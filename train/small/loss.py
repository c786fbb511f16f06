"""Soft cross-entropy and soft Dice on soft targets, at three scales."""

from collections.abc import Sequence

import torch

from train.small.sampling import Sample, halved

SCALES = (1.0, 0.5, 0.25)
"""Weight of the outputs at full, half and quarter resolution."""
_PRESENT = 1.0
"""Voxels of a class from which its Dice counts."""

Tensor = torch.Tensor


def soft_loss(outputs: Sequence[Tensor], sample: Sample) -> Tensor:
    """Return the loss of a sample, a scalar.

    Args:
        outputs: Logits float32 [1, 15, Z, Y, X], full resolution first, each half the one before.
        sample: What was to be said.
    """
    target, weight = sample.target, sample.weight
    total = torch.zeros((), device=target.device)
    for share, logits in zip(SCALES, outputs, strict=False):
        total = total + share * _at_one_scale(logits, target, weight)
        target, weight = halved(target, weight)
    return total / sum(SCALES)


def _at_one_scale(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the mean cross-entropy over known voxels plus 1 - Dice over the organs present."""
    logarithms = logits.log_softmax(dim=1)
    known = weight.sum().clamp_min(1)
    entropy = -((target * logarithms).sum(dim=1, keepdim=True) * weight).sum() / known
    said = logarithms.exp()[:, 1:] * weight
    wanted = target[:, 1:] * weight
    common = (said * wanted).sum(dim=(0, 2, 3, 4))
    whole = said.sum(dim=(0, 2, 3, 4)) + (wanted * wanted).sum(dim=(0, 2, 3, 4))
    sizes = wanted.sum(dim=(0, 2, 3, 4))
    dice = 2 * common / whole.clamp_min(1e-5)
    present = (sizes >= _PRESENT).float()
    return entropy + ((1 - dice) * present).sum() / present.sum().clamp_min(1)
