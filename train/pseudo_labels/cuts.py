"""Where to cut scores: from which score on what is kept is right often enough."""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]


def best_cut(scores: NDArray[np.floating], right: Counts, total: Counts) -> float:
    """Return the score such that all at or above it have the largest DSC with what is right.

    Args:
        scores: One of each group.
        right: How many of the group are right.
        total: How many it has.

    Returns:
        Infinity where nothing is right.
    """
    if not right.sum():
        return float(np.inf)
    values, hits, called = _from_best(scores, right, total)
    return float(values[(2 * hits / (called + right.sum())).argmax()])


def _from_best(
    scores: NDArray[np.floating], right: Counts, total: Counts
) -> tuple[NDArray[np.floating], Counts, Counts]:
    """Return the scores, each once and from the best on; how many are right at or above; and all.

    Groups of one score stand and fall together.
    """
    order = np.argsort(-scores, kind="stable")
    values = scores[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    return values[ends], np.cumsum(right[order])[ends], np.cumsum(total[order])[ends]


def least_score(
    scores: NDArray[np.floating], right: Counts, total: Counts, precision: float
) -> float:
    """Return the smallest score such that of all at or above it `precision` are right.

    Args:
        scores: One of each group.
        right: How many of the group are right.
        total: How many it has.
        precision: Wanted share; 0 keeps all.

    Returns:
        0 where nothing was counted or all may be kept; infinity where no score will do.
    """
    if precision <= 0 or not total.sum():
        return 0.0
    values, hits, called = _from_best(scores, right, total)
    good = np.flatnonzero(hits / called >= precision)
    if not good.size:
        return float(np.inf)
    return 0.0 if good[-1] == len(values) - 1 else float(values[good[-1]])
