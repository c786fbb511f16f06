"""The rules of FLARE23's published scorer, quirks included.

Lines are those of FLARE23/FLARE23_DSC_NSD_Eval.py in JunMa11/FLARE at commit 082b340. As stored it
does not run (an undefined timer, names that NumPy 2 dropped); what it would compute if it ran is
here, to the last of its four digits. tests/evaluation has a plain transcription to compare with.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.scoring.boxes import hull, label_boxes
from evaluation.scoring.scores import CaseScores, LabelScore, Mean
from evaluation.scoring.surfaces import Mask, surface_dice, surface_distances
from evaluation.scoring.tolerances import TOLERANCE_MM, TUMOUR
from imaging.geometry import Box, SpacingMm
from imaging.organs import ORGANS
from imaging.overlap import dice

AXIALLY_CROPPED = ("aorta", "inferior vena cava", "esophagus")
"""Scored on the slices that the truth labels (line 111)."""
LOW_DSC = 0.2
"""Below it the NSD counts 0 (line 117): 0.2 since 2024-03-18 (commit c35311e)."""
LOW_DSC_2023 = 0.1
"""The same during FLARE23 itself."""
DIGITS = 4
"""Of every value (lines 122, 123), of every mean over cases (135) and over organs (145, 146)."""
ONE_SLICE = "labelled on one slice only: the official script ends here with an error"


def as_int8(voxels: NDArray[Any]) -> NDArray[np.uint8]:
    """Make stored numbers whole as the script does (lines 87, 88), by a cast to int8.

    So 13.9 is 13, and 270 is 14; -1, a large number in what is returned, is no label either way.
    """
    if voxels.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # larger than any whole number
            voxels = np.trunc(voxels).astype(np.int32)
    return voxels.astype(np.int8, copy=False).view(np.uint8)


def score_labels(
    truth: NDArray[np.uint8],
    pred: NDArray[np.uint8],
    spacing_mm: SpacingMm,
    low_dsc: float = LOW_DSC,
    threads: int = 1,
) -> dict[str, LabelScore]:
    """Score one case (lines 100 to 123).

    Args:
        truth: uint8 [Z, Y, X] with FLARE's labels; other values count as background.
        pred: uint8 [Z, Y, X] of the same shape.
        spacing_mm: Voxel size (Z, Y, X) of the truth's header, whatever the prediction's says.
        low_dsc: Below this DSC the NSD is 0.
        threads: Labels that are worked on at once.
    """
    most = max(ORGANS.values())

    def score(organ: str) -> LabelScore:
        label = ORGANS[organ]
        places = true_boxes.get(label), pred_boxes.get(label)
        if places[0] is None or places[1] is None:
            return empty_score(places)
        box = hull(places[0], places[1])
        if organ in AXIALLY_CROPPED:
            box = (scored_slices(places[0]), *box[1:])
        return overlap_score(
            truth[box] == label, pred[box] == label, spacing_mm, TOLERANCE_MM[organ], low_dsc
        )

    with ThreadPoolExecutor(threads) as pool:
        true_boxes, pred_boxes = pool.map(label_boxes, (truth, pred), (most, most))
        return dict(zip(ORGANS, pool.map(score, ORGANS), strict=True))


def empty_score(places: tuple[Box | None, Box | None]) -> LabelScore:
    """Score a label that one map or both lack: 1 and 1 in both, else 0 and 0 (lines 101 to 109)."""
    if places == (None, None):
        return LabelScore(1.0, 1.0, note="in neither map")
    return LabelScore(0.0, 0.0, note="only predicted" if places[0] is None else "not predicted")


def scored_slices(truth: Box) -> slice:
    """Return the axial range that counts for `AXIALLY_CROPPED` (lines 33 to 37, 112 and 113).

    The script slices up to the last labelled slice, so that one is never scored.
    """
    return slice(truth[0].start, truth[0].stop - 1)


def overlap_score(
    truth: Mask, pred: Mask, spacing_mm: SpacingMm, tolerance_mm: float, low_dsc: float
) -> LabelScore:
    """Score a label that both maps have (lines 116 to 123)."""
    if not truth.size:
        return LabelScore(note=ONE_SLICE)
    dsc = dice(truth, pred)
    if dsc < low_dsc:
        return LabelScore(_rounded(dsc), 0.0, note=f"DSC under {low_dsc:g}: NSD counts 0")
    nsd = surface_dice(surface_distances(truth, pred, spacing_mm), tolerance_mm)
    return LabelScore(_rounded(dsc), _rounded(nsd))


def means(cases: Iterable[CaseScores]) -> dict[str, dict[str, Mean]]:
    """Return the mean over cases of each label, and of the thirteen organs' means (132 to 146).

    Values are rounded before the mean and the means again before the mean over organs. Cases
    without scores, where the script would have ended, are left out.
    """
    rows = [case.labels for case in cases if case.labels]
    return {metric: _means(rows, metric) for metric in ("dsc", "nsd")}


def _means(rows: list[dict[str, LabelScore]], metric: str) -> dict[str, Mean]:
    found: dict[str, Mean] = {}
    for organ in ORGANS:
        values = [v for row in rows if (v := getattr(row[organ], metric)) is not None]
        found[organ] = Mean(_rounded(float(np.mean(values))) if values else None, len(values))
    return {**found, "organs": _over_organs(found), "tumour": found[TUMOUR]}


def _over_organs(found: Mapping[str, Mean]) -> Mean:
    organs = [mean for organ, mean in found.items() if organ != TUMOUR]
    values = [mean.value for mean in organs if mean.value is not None]
    count = max((mean.count for mean in organs), default=0)
    return Mean(_rounded(float(np.mean(values))) if values else None, count)


def _rounded(value: float) -> float:
    """Round as NumPy's floats do, which is not always as Python's do."""
    return float(np.round(value, DIGITS))
