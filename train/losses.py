"""nnU-Net's loss in the form that is deterministic on a GPU."""

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
