"""Soft cross-entropy and soft Dice on soft targets, at three scales."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from imaging.organs import ORGANS
from train.small.sampling import Sample

TUMOUR = ORGANS["tumour"]

SCALES = (1.0, 0.5, 0.25)
"""Weight of the outputs at full, half and quarter resolution."""
_PRESENT = 1.0
"""Voxels of a class from which its Dice counts."""


def soft_loss(outputs: Sequence[Tensor], sample: Sample, tumour_weight: float = 1.0) -> Tensor:
    """Return the loss of a sample, a scalar.

    Args:
        outputs: Logits float32 [1, 15, Z, Y, X], full resolution first, each half the one before.
        sample: Target and weight.
        tumour_weight: How much the tumour's Dice counts against an organ's.
    """
    target, weight = sample.target, sample.weight
    shares = torch.ones(target.shape[1], device=target.device)
    shares[0].fill_(0.0)  # filled on the device: a CUDA graph takes no numbers from elsewhere
    shares[TUMOUR].fill_(tumour_weight)
    total = torch.zeros((), device=target.device)
    for share, logits in zip(SCALES, outputs, strict=False):
        total = total + share * _at_one_scale(logits, target, weight, shares)
        target, weight = halved(target, weight)
    return total / sum(SCALES)


def _at_one_scale(logits: Tensor, target: Tensor, weight: Tensor, shares: Tensor) -> Tensor:
    """Return the mean cross-entropy over known voxels plus 1 - Dice over the classes present.

    The sums are over voxels as matrix products where they can be: each pass over 15 classes costs
    as much as a convolution.
    """
    logarithms = logits.contiguous().log_softmax(dim=1).flatten(2)[0]
    known = weight.reshape(-1)
    wanted = (target * weight).flatten(2)[0]
    entropy = -torch.dot(logarithms.flatten(), wanted.flatten()) / known.sum().clamp_min(1)
    probabilities = logarithms.exp()
    common = (probabilities * wanted).sum(dim=1)
    whole = probabilities @ known + (wanted * target.flatten(2)[0]).sum(dim=1)
    dice = 2 * common / whole.clamp_min(1e-5)
    present = (wanted.sum(dim=1) >= _PRESENT).float() * shares
    return entropy + ((1 - dice) * present).sum() / present.sum().clamp_min(1)


def halved(target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return target and weight on a grid twice as coarse; a voxel counts by how much is known."""
    known = functional.avg_pool3d(weight, 2)
    shares = functional.avg_pool3d(target * weight, 2) / known.clamp_min(1e-6)
    return shares, known
