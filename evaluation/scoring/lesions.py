"""Tumours one by one: which were found, which were made up.

FLARE23 scores the tumour label as one mask. A scan with one large and three small lesions then
says nothing of the small ones, so reviewers ask for detection by lesion.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from evaluation.scoring.scores import CaseScores, Detection, Lesion
from evaluation.scoring.surfaces import Mask
from imaging.components import Components, connected

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
    return _largest_first(_lesions(connected(mask), other, voxel_ml))


def lesions_of_both(
    truth: Mask, pred: Mask, voxel_ml: float
) -> tuple[tuple[Lesion, ...], tuple[Lesion, ...]]:
    """Return the lesions of two maps, matched one to one besides.

    As PI-CAI's evaluation does (github.com/DIAGNijmegen/picai_eval, eval.py): two lesions can be
    matched if their intersection over union is at least a tenth; of all ways to match, that with
    the most pairs is taken, and of these the one with the largest sum of overlaps.
    """
    true, found = connected(truth), connected(pred)
    overlaps = _overlaps(true, found)
    rows, columns = linear_sum_assignment(overlaps + (overlaps > 0), maximize=True)
    good = overlaps[rows, columns] > 0
    both = (
        (_lesions(true, pred, voxel_ml), rows[good], overlaps.sum(axis=1) > 0),
        (_lesions(found, truth, voxel_ml), columns[good], overlaps.sum(axis=0) > 0),
    )
    one, two = (
        _largest_first(
            [
                replace(x, matched=n in matched, spare=bool(touched[n]) and n not in matched)
                for n, x in enumerate(lesions)
            ]
        )
        for lesions, matched, touched in both
    )
    return one, two


def _lesions(pieces: Components, other: Mask, voxel_ml: float) -> list[Lesion]:
    """Return the lesions in the order of their numbers."""
    return [
        Lesion(float(n * voxel_ml), bool(c >= LEAST_OVERLAP * n), float(c / n))
        for n, c in zip(pieces.sizes[1:], pieces.within(other)[1:], strict=True)
    ]


def _largest_first(lesions: Sequence[Lesion]) -> tuple[Lesion, ...]:
    return tuple(sorted(lesions, key=lambda lesion: -lesion.ml))


def _overlaps(true: Components, found: Components) -> NDArray[np.float64]:
    """Return the intersection over union of every two lesions, 0 where it is under a tenth."""
    both = (true.numbers > 0) & (found.numbers > 0)
    pairs = true.numbers[both].astype(np.int64) * (found.count + 1) + found.numbers[both]
    size = (true.count + 1) * (found.count + 1)
    joint = np.bincount(pairs, minlength=size).reshape(true.count + 1, found.count + 1)[1:, 1:]
    union = true.sizes[1:, None] + found.sizes[None, 1:] - joint
    shares = joint / np.maximum(union, 1)
    return np.where(shares >= LEAST_OVERLAP, shares, 0.0)


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
    matched = sum(lesion.matched for lesion in true)
    false = sum(not (lesion.matched or lesion.spare) for lesion in predicted)
    return Detection(size, len(true), found, len(predicted), confirmed, matched, false)
