"""The same measures with the official scorer's quirks mended, and what reviewers ask for beside.

What differs from `evaluation.scoring.official`: a label that neither map has is not scored (there
it is 1, which lifts the mean of rare labels); the last labelled slice of aorta, vena cava and
esophagus counts; a low DSC does not make the NSD 0; nothing is rounded.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.profiles.profile import FLARE23, Profile
from evaluation.scoring.boxes import box_in_any, label_boxes
from evaluation.scoring.intervals import enough
from evaluation.scoring.lesions import lesions_of_both, size_names, size_of
from evaluation.scoring.official import NO_TOLERANCE
from evaluation.scoring.scores import METRICS, CaseScores, LabelScore, Lesion, Mean
from evaluation.scoring.surfaces import Mask, robust_hausdorff_mm, surface_dice, surface_distances
from imaging.geometry import Grid
from imaging.organs import TUMOUR
from imaging.overlap import dice

RESAMPLES = 2000
_SEED = 23
_PERCENTILES = (2.5, 97.5)


def score_labels(
    truth: NDArray[np.uint8], pred: NDArray[np.uint8], grid: Grid, profile: Profile = FLARE23
) -> dict[str, LabelScore]:
    """Score one case.

    Args:
        truth: uint8 [Z, Y, X] with the profile's labels.
        pred: uint8 [Z, Y, X] of the same shape.
        grid: Their voxels.
        profile: The challenge's labels and tolerances.
    """
    of_truth, of_pred = label_boxes(truth, profile.most), label_boxes(pred, profile.most)
    scores = {}
    for organ, label in profile.labels.items():
        box = box_in_any(label, of_truth, of_pred)
        if box is None:
            scores[organ] = LabelScore(truth_ml=0.0, pred_ml=0.0, note="in neither map")
            continue
        if organ in profile.axially_cropped and label in of_truth:
            box = (of_truth[label][0], *box[1:])  # the truth's slices alone
        masks = truth[box] == label, pred[box] == label
        scores[organ] = _score(*masks, grid, profile.tolerances_mm.get(organ))
    return scores


def _score(truth: Mask, pred: Mask, grid: Grid, tolerance_mm: float | None) -> LabelScore:
    truth_ml, pred_ml = (float(np.count_nonzero(m) * grid.voxel_ml) for m in (truth, pred))
    if not truth_ml or not pred_ml:
        note = "not predicted" if truth_ml else "only predicted"
        return LabelScore(0.0, 0.0, truth_ml=truth_ml, pred_ml=pred_ml, note=note)
    surfaces = surface_distances(truth, pred, grid.spacing_mm)
    return LabelScore(
        dsc=dice(truth, pred),
        nsd=None if tolerance_mm is None else surface_dice(surfaces, tolerance_mm),
        hd95_mm=robust_hausdorff_mm(surfaces),
        truth_ml=truth_ml,
        pred_ml=pred_ml,
        note=NO_TOLERANCE if tolerance_mm is None else None,
    )


def case_lesions(
    truth: NDArray[np.uint8], pred: NDArray[np.uint8], grid: Grid, profile: Profile = FLARE23
) -> tuple[tuple[Lesion, ...], tuple[Lesion, ...]]:
    """Return the true and the predicted lesions of one case."""
    if (label := profile.labels.get(TUMOUR)) is None:
        return (), ()
    box = box_in_any(label, *(label_boxes(labels, label) for labels in (truth, pred)))
    if box is None:
        return (), ()
    a, b = truth[box] == label, pred[box] == label
    return lesions_of_both(a, b, grid.voxel_ml)


def means(cases: Sequence[CaseScores], profile: Profile = FLARE23) -> dict[str, dict[str, Mean]]:
    """Return every mean with its bootstrap 95 % interval.

    Cases are sampled with replacement, all labels of a case together, so the interval of the mean
    over organs knows that a bad case is bad for many organs. Fewer than six cases have none.
    """
    scored = [case for case in cases if case.labels]
    return {metric: _means(scored, metric, tuple(profile.labels)) for metric in METRICS}


def _means(cases: Sequence[CaseScores], metric: str, names: tuple[str, ...]) -> dict[str, Mean]:
    rows = [[case.value(name, metric) for name in names] for case in cases]
    values = np.array(rows, np.float64).reshape(len(cases), len(names))  # None becomes NaN
    by_organ = dict(zip(names, _intervals(values), strict=True))
    organs = values[:, [organ != TUMOUR for organ in names]]
    tumour = by_organ.get(TUMOUR, Mean(None, 0))
    return {**by_organ, "organs": _over_organs(organs), TUMOUR: tumour}


def _intervals(values: NDArray[np.float64]) -> list[Mean]:
    """Return the mean of each column of [cases, columns], NaN left out, and its interval."""
    sampled = _column_means(values, _draws(len(values)))
    found = _column_means(values, np.ones((1, len(values)), np.int64))[0]
    counts = np.count_nonzero(~np.isnan(values), axis=0)
    return [_mean(*row) for row in zip(found, counts, sampled.T, strict=True)]


def _over_organs(values: NDArray[np.float64]) -> Mean:
    """Return the mean over the columns' means, and its interval."""
    count = np.count_nonzero(~np.isnan(values).all(axis=1))
    once, many = np.ones((1, len(values)), np.int64), _draws(len(values))
    found, sampled = (
        _column_means(_column_means(values, draws).T, np.ones((1, values.shape[1]), np.int64))[0]
        for draws in (once, many)
    )
    return _mean(float(found[0]), count, sampled)


def _draws(count: int) -> NDArray[np.int64]:
    """Return how often each case is in each resample: [RESAMPLES, count]."""
    if not count:
        return np.zeros((RESAMPLES, 0), np.int64)
    return np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), RESAMPLES)


def _column_means(values: NDArray[np.float64], draws: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the means [draws, columns] of the sampled rows; NaN where none has a value.

    Args:
        values: float64 [rows, columns], NaN where unknown.
        draws: int64 [draws, rows].
    """
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(draws @ np.where(known, values, 0.0) / (draws @ known), np.float64)


def _mean(value: float, count: np.integer[Any] | int, sampled: NDArray[np.float64]) -> Mean:
    if not count:
        return Mean(None, 0)
    if not enough(int(count)):
        return Mean(float(value), int(count))
    low, high = np.nanpercentile(sampled, _PERCENTILES)
    return Mean(float(value), int(count), float(low), float(high))


def strata(cases: Sequence[CaseScores], profile: Profile = FLARE23) -> dict[str, dict[str, Mean]]:
    """Return the tumour label's means by the size of a case's largest true lesion."""
    found = {}
    for place, name in enumerate(size_names()):
        of_size = [c for c in cases if c.true_lesions and size_of(c.true_lesions[0].ml) == place]
        found[name] = {metric: row[TUMOUR] for metric, row in means(of_size, profile).items()}
    return found
