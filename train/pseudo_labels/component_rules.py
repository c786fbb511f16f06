"""Choose by held-out cases which pieces of a network's labels are too small to keep.

A piece is a 26-connected component of one class, and right or wrong as in
`train.pseudo_labels.selection`. nnU-Net chooses by cross-validation whether all but the largest are
removed (`determine_postprocessing`); a case may have many tumours, so here a volume decides.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.organs import ORGANS
from inference.manifest import ComponentRule
from train.pseudo_labels.selection import SCORES, Pieces

_VOLUME = SCORES.index("probable_ml")


@dataclass(frozen=True)
class Chosen:
    """The volume chosen for one class, and what it does to the held-out cases' pieces."""

    min_ml: float
    """0: every piece stays."""
    right: int
    wrong: int
    right_dropped: int
    wrong_dropped: int


def least_ml(volumes_ml: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the volume under which pieces are dropped: most are then rightly kept or dropped.

    The least of several such volumes, in thousandths of a millilitre, and 0 where dropping none is
    as good. The largest right piece always stays, so no class is ruled out altogether.

    Args:
        volumes_ml: float64 [pieces].
        right: bool [pieces].
    """
    if not right.any():
        return 0.0
    largest = volumes_ml[right].max()
    distinct, place = np.unique(volumes_ml, return_inverse=True)
    gained = np.cumsum(np.bincount(place, weights=np.where(right, -1.0, 1.0)))
    gained = gained[distinct < largest]
    if not gained.size or gained.max() <= 0:
        return 0.0
    past = (np.rint(distinct[gained.argmax()] * 1000) + 1) / 1000
    return float(min(past, largest))


def choose_rules(pieces: Pieces) -> dict[str, Chosen]:
    """Return the choice for every class that was found in a held-out case, by name.

    Args:
        pieces: Of labels that stand for themselves: what is probably right is their whole volume.
    """
    found = {}
    for name, label in ORGANS.items():
        volumes = np.array([scores[_VOLUME] for scores in pieces.scores[label]])
        right = np.array(pieces.right[label], np.bool_)
        if volumes.size:
            limit = least_ml(volumes, right)
            gone = volumes < limit
            counts = (right, ~right, right & gone, ~right & gone)
            found[name] = Chosen(limit, *(int(which.sum()) for which in counts))
    return found


def rules_of(chosen: dict[str, Chosen]) -> tuple[ComponentRule, ...]:
    """Return what the manifest says: nothing of classes whose pieces all stay."""
    return tuple(
        ComponentRule(name, min_ml=one.min_ml) for name, one in chosen.items() if one.min_ml
    )
