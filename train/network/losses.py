"""nnU-Net's loss, deterministic on a GPU, and a marginal loss for partial labels."""

from collections.abc import Collection, Sequence

import torch
from torch import nn

_NO_LABEL = -100


class DeterministicCrossEntropy(nn.Module):
    """Mean cross-entropy over the voxels that have a label.

    torch's own mean over a volume adds with atomics on a GPU, in an order of the moment, and
    refuses to run under `use_deterministic_algorithms`. One value a voxel and a sum do not.
    """

    def __init__(self, ignore: int | None = None) -> None:
        """Leave out voxels of the label `ignore`, where there is one."""
        super().__init__()
        self.ignore = _NO_LABEL if ignore is None else ignore

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of logits [N, C, Z, Y, X] and labels [N, Z, Y, X] or [N, 1, Z, Y, X]."""
        if target.ndim == logits.ndim:
            target = target[:, 0]
        labels = target.long()
        each = nn.functional.cross_entropy(
            logits, labels, ignore_index=self.ignore, reduction="none"
        )
        return each.sum() / (labels != self.ignore).sum()


class MarginalLoss(nn.Module):
    """nnU-Net's Dice and cross-entropy; a voxel labelled `ignore` has no annotated class.

    Such a voxel is undecided: where a case's annotators looked for the classes D and drew none of
    them, it is background or a class not in D.

    - Cross-entropy: -log of the sum of the probabilities of background and all classes not in D
      (the marginal loss of Shi et al. 2021, doi:10.1016/j.media.2021.101979). The mean is over the
      voxels that have a label and the undecided ones whose D is not empty.
    - Dice: it counts for the classes in D, as a voxel without them, and not for the others.

    Where D is empty it teaches nothing, as in nnU-Net's loss with an ignore label. All values are
    made voxel by voxel and then summed, as in `DeterministicCrossEntropy`.
    """

    def __init__(self, dice: nn.Module, ignore: int) -> None:
        """Take nnU-Net's Dice without background, `dice`, and the label of undecided voxels."""
        super().__init__()
        self.dice = dice
        self.ignore = ignore
        self._annotated: Sequence[Collection[int]] = ()

    def set_annotated(self, annotated: Sequence[Collection[int]]) -> None:
        """Set which labels, 1 to C - 1, were annotated in each sample of the next batch."""
        self._annotated = annotated

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of logits [N, C, Z, Y, X] and labels [N, 1, Z, Y, X]."""
        logits = logits.float()
        classes = range(logits.shape[1])
        rows = [[label in labels for label in classes] for labels in self._annotated]
        annotated = torch.tensor(rows, device=logits.device)[:, :, None, None, None]
        decided = target != self.ignore
        known = torch.where(decided, target, 0)
        dice: torch.Tensor = self.dice(logits, known, loss_mask=decided | annotated[:, 1:])
        each = nn.functional.cross_entropy(
            logits, target[:, 0].long(), ignore_index=self.ignore, reduction="none"
        )
        each = torch.where(decided[:, 0], each, _none_of(annotated, logits))
        counted = decided | annotated.any(dim=1, keepdim=True)
        return each.sum() / counted.sum().clamp_min(1) + dice


def _none_of(annotated: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Return -log P of the classes not `annotated` in every voxel, float32 [N, Z, Y, X].

    With the odds of the annotated ones, r = P(annotated) / P(not annotated), it is log(1 + r): no
    difference of near numbers where P is almost 1, and no log of 0 where it is almost 0.
    """
    least = torch.finfo(logits.dtype).min  # not -inf: a sum over no class at all has a gradient
    inside = logits.masked_fill(~annotated, least).logsumexp(dim=1)
    outside = logits.masked_fill(annotated, least).logsumexp(dim=1)
    return nn.functional.softplus(inside - outside)
