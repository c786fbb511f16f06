"""Tumours one by one: which were found, which were made up.

FLARE23 scores the tumour label as one mask. A scan with one large and three small lesions then
says nothing of the small ones, so reviewers ask for detection by lesion.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.scoring.scores import CaseScores, Detection, Lesion
from evaluation.scoring.surfaces import Mask
from imaging.components import connected

LEAST_OVERLAP = 0.1
"""A lesion counts as found if the other map covers at least this share of it."""
EDGES_MM = (10.0, 20.0)
"""Diameters of balls that bound the sizes; 10 mm is RECIST's least measurable lesion."""


def lesions_of(mask: Mask, other: Mask, voxel_ml: float) -> tuple[Lesion, ...]:
    """Return the 26-connected components of `mask`, largest first, and whether `other` finds them.

    Args:
        mask: bool [Z, Y, X].
        other: bool of the same shape.
        voxel_ml: Volume of a voxel.
    """
    pieces = connected(mask)
    found = [
        Lesion(float(n * voxel_ml), bool(c >= LEAST_OVERLAP * n), float(c / n))
        for n, c in zip(pieces.sizes[1:], pieces.within(other)[1:], strict=True)
    ]
    return tuple(sorted(found, key=lambda lesion: -lesion.ml))


def size_of(ml: float) -> int:
    """Return the place of a volume among the sizes, 0 for the smallest."""
    return int(np.searchsorted(_edges_ml(), ml, side="right"))


def size_names() -> tuple[str, ...]:
    """Return the names of the sizes, smallest first."""
    low, high = (f"{mm:g}" for mm in EDGES_MM)
    return f"under {low} mm", f"{low} to {high} mm", f"{high} mm and more"


def _edges_ml() -> NDArray[np.float64]:
    return np.array([math.pi / 6 * mm**3 / 1000 for mm in EDGES_MM])


def detection(cases: Sequence[CaseScores]) -> tuple[Detection, ...]:
    """Count the lesions of all cases: first all of them, then by size."""
    true = [lesion for case in cases for lesion in case.true_lesions]
    predicted = [lesion for case in cases for lesion in case.pred_lesions]
    rows = [_counted("all", true, predicted)]
    for place, name in enumerate(size_names()):
        of_size = [[x for x in group if size_of(x.ml) == place] for group in (true, predicted)]
        rows.append(_counted(name, *of_size))
    return tuple(rows)


def _counted(size: str, true: list[Lesion], predicted: list[Lesion]) -> Detection:
    found, confirmed = (sum(lesion.found for lesion in group) for group in (true, predicted))
    return Detection(size, len(true), found, len(predicted), confirmed)
