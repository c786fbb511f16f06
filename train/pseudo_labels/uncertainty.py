"""Thresholds on confidence under which a network is unsure, learnt on held-out cases.

Fusion by reliability has one bit beside the label that a source gives a voxel. For a network that
writes its confidence in percent, the bit is whether the percent is below the label's threshold. The
threshold is the one whose bit tells most about whether the label is right.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.organs import ORGANS
from imaging.overlap import joint_counts
from train.data.anatomy import IGNORE
from train.pseudo_labels.cuts import Counts
from train.pseudo_labels.fusion import Labels, same_shape
from train.pseudo_labels.reliability import WORDS

LABELS = WORDS // 2
PERCENTS = 101
_ROUNDING = 1e-9
"""Nats a voxel that are none."""


@dataclass(frozen=True)
class Uncertainty:
    """By label, from background to "ignore", the percent under which a network is unsure."""

    least: tuple[int, ...]

    def table(self) -> dict[str, int]:
        """Return the percents in a form for JSON, by class."""
        return dict(zip(["background", *ORGANS], self.least, strict=False))

    def of(self, labels: Labels, percents: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return where a network is unsure of what it says: bool [Z, Y, X].

        Raises:
            GeometryError: The maps differ in shape.
        """
        same_shape(labels, percents)
        return np.asarray(percents < np.array(self.least, np.uint8)[labels])


def unsure_of(
    uncertainties: Sequence[Uncertainty | None],
    maps: Sequence[Labels],
    percents: Sequence[NDArray[np.uint8]],
) -> list[NDArray[np.bool_] | None]:
    """Return where each source is unsure; None for one that does not tell.

    Args:
        uncertainties: Of each source.
        maps: Each source's labels.
        percents: How sure they are, of those that tell.
    """
    told = iter(percents)
    return [
        None if one is None else one.of(labels, next(told))
        for one, labels in zip(uncertainties, maps, strict=True)
    ]


class Confidences:
    """How sure a network was where it was right and where it was wrong, by the label it gave."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.wrong_right: Counts = np.zeros((2, LABELS, PERCENTS))

    def add(
        self, truth: Labels, labels: Labels, percents: NDArray[np.uint8], annotated: Collection[int]
    ) -> None:
        """Count one labelled case.

        An organ that nobody drew is background in the truth: a voxel that the network calls so is
        not counted, and one that it calls background is wrong only where something was annotated.

        Args:
            truth: uint8 [Z, Y, X]; `IGNORE` where nothing is known.
            labels: What the network says.
            percents: How sure it is, 0 to 100.
            annotated: Classes that the annotators looked for.

        Raises:
            GeometryError: The maps differ in shape.
        """
        same_shape(truth, labels, percents)
        looked_for = np.array(sorted(annotated), np.uint8)
        known = (truth != IGNORE) & ((labels == 0) | np.isin(labels, looked_for))
        predicted, true = labels[known], truth[known]
        right = np.where(predicted == 0, ~np.isin(true, looked_for), true == predicted)
        sure = np.minimum(percents[known], PERCENTS - 1)
        for row, which in zip(self.wrong_right, (~right, right), strict=True):
            row += joint_counts(predicted[which], sure[which])[:LABELS, :PERCENTS]

    def uncertainty(self) -> Uncertainty:
        """Choose each label's threshold: the bit under it has the most information of "right".

        The lowest of several; 0, so that nothing is unsure, where no threshold tells anything.
        """
        return Uncertainty(tuple(_most_telling(table) for table in self.wrong_right.swapaxes(0, 1)))


def _most_telling(wrong_right: Counts) -> int:
    """Return the percent whose bit has the most mutual information with right and wrong.

    Args:
        wrong_right: float64 [2, PERCENTS], voxels.
    """
    total = wrong_right.sum(axis=1)
    under = np.cumsum(wrong_right, axis=1)
    under -= wrong_right  # under[:, t]: with fewer percents than t
    gain = _nats(total) - _nats(under) - _nats(total[:, np.newaxis] - under)
    gain[gain <= _ROUNDING * total.sum()] = 0
    return int(gain.argmax())


def _nats(wrong_right: Counts) -> Counts:
    """Return the entropy of right and wrong times their number: float64 [...] of [2, ...]."""
    both = wrong_right.sum(axis=0)
    return np.asarray(_n_log_n(both) - _n_log_n(wrong_right).sum(axis=0))


def _n_log_n(counts: Counts) -> Counts:
    return np.asarray(counts * np.log(np.maximum(counts, 1)))
