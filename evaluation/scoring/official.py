"""The rules of the challenges' published scorers, quirks included; by default FLARE23's.

Lines are those of FLARE23/FLARE23_DSC_NSD_Eval.py in JunMa11/FLARE at commit 082b340. As stored it
does not run (an undefined timer, names that NumPy 2 dropped); what it would compute if it ran is
here, to the last of its four digits. tests/evaluation has a plain transcription to compare with.
The scripts of the other years differ in what a profile (`evaluation.profiles`) holds.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.profiles.profile import FLARE23, Profile
from evaluation.scoring.boxes import box_in_any, label_boxes
from evaluation.scoring.scores import CaseScores, LabelScore, Mean
from evaluation.scoring.surfaces import Mask, surface_dice, surface_distances
from imaging.geometry import SpacingMm
from imaging.organs import TUMOUR
from imaging.overlap import dice

LOW_DSC_2023 = 0.1
"""Below it the NSD counted 0 (line 117) during FLARE23 itself; 0.2 since 2024-03-18 (c35311e)."""
NO_TOLERANCE = "no NSD: its tolerance could not be confirmed"
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
    low_dsc: float | None = None,
    threads: int = 1,
    profile: Profile = FLARE23,
) -> dict[str, LabelScore]:
    """Score one case (lines 100 to 123).

    Args:
        truth: uint8 [Z, Y, X] with the profile's labels; other values count as background.
        pred: uint8 [Z, Y, X] of the same shape.
        spacing_mm: Voxel size (Z, Y, X) of the truth's header, whatever the prediction's says.
        low_dsc: Below this DSC the NSD is 0; None: what the profile says.
        threads: Labels that are worked on at once.
        profile: The challenge's labels and tolerances.
    """
    least = profile.low_dsc if low_dsc is None else low_dsc
    if profile.zero_for_other_labels and pred.max(initial=0) > profile.most:
        note = f"the prediction has labels above {profile.most}: counts 0"
        return {name: LabelScore(0.0, 0.0, note=note) for name in profile.labels}

    def score(organ: str) -> LabelScore:
        label = profile.labels[organ]
        box = box_in_any(label, true_boxes, pred_boxes)
        if box is None:  # lines 101 to 109, as the next two
            return LabelScore(1.0, 1.0, note="in neither map")
        if label not in pred_boxes:
            return LabelScore(0.0, 0.0, note="not predicted")
        if label not in true_boxes:
            return LabelScore(0.0, 0.0, note="only predicted")
        if organ in profile.axially_cropped:  # lines 33 to 37, 111 to 113
            labelled = true_boxes[label][0]
            scored = slice(labelled.start, labelled.stop - 1)  # never the last labelled slice
            box = (scored, *box[1:])
        tolerance_mm = profile.tolerances_mm.get(organ)
        masks = truth[box] == label, pred[box] == label
        found, digits = overlap_score(*masks, spacing_mm, tolerance_mm, least), profile.digits
        return replace(found, dsc=_rounded(found.dsc, digits), nsd=_rounded(found.nsd, digits))

    with ThreadPoolExecutor(threads) as pool:
        true_boxes, pred_boxes = pool.map(label_boxes, (truth, pred), (profile.most,) * 2)
        return dict(zip(profile.labels, pool.map(score, profile.labels), strict=True))


def overlap_score(
    truth: Mask, pred: Mask, spacing_mm: SpacingMm, tolerance_mm: float | None, low_dsc: float
) -> LabelScore:
    """Score a label that both maps have (lines 116 to 123); without a tolerance by the DSC alone.

    In the years without a least DSC a prediction outside of the scored slices has no surface; the
    NSD is 0 then, as it is there.
    """
    if not truth.size:
        return LabelScore(note=ONE_SLICE)
    dsc = dice(truth, pred)
    if tolerance_mm is None:
        return LabelScore(dsc, note=NO_TOLERANCE)
    if dsc < low_dsc:
        return LabelScore(dsc, 0.0, note=f"DSC under {low_dsc:g}: NSD counts 0")
    if not pred.any():
        return LabelScore(dsc, 0.0)
    nsd = surface_dice(surface_distances(truth, pred, spacing_mm), tolerance_mm)
    return LabelScore(dsc, nsd)


def means(cases: Iterable[CaseScores], profile: Profile = FLARE23) -> dict[str, dict[str, Mean]]:
    """Return the mean over cases of each label, and of the thirteen organs' means (132 to 146).

    Values are rounded before the mean and the means again before the mean over organs. Cases
    without scores, where the script would have ended, are left out.
    """
    rows = [case.labels for case in cases if case.labels]
    return {metric: _means(rows, metric, profile) for metric in ("dsc", "nsd")}


def _means(rows: list[dict[str, LabelScore]], metric: str, profile: Profile) -> dict[str, Mean]:
    found: dict[str, Mean] = {}
    for organ in profile.labels:
        values = [v for row in rows if (v := getattr(row[organ], metric)) is not None]
        found[organ] = Mean(_mean(values, profile.digits), len(values))
    tumour = found.get(TUMOUR, Mean(None, 0))
    return {**found, "organs": _over_organs(found, profile.digits), TUMOUR: tumour}


def _over_organs(found: Mapping[str, Mean], digits: int | None) -> Mean:
    organs = [mean for organ, mean in found.items() if organ != TUMOUR]
    values = [mean.value for mean in organs if mean.value is not None]
    return Mean(_mean(values, digits), max((mean.count for mean in organs), default=0))


def _mean(values: list[float], digits: int | None) -> float | None:
    return _rounded(float(np.mean(values)), digits) if values else None


def _rounded(value: float | None, digits: int | None) -> float | None:
    """Round as NumPy's floats do, which is not always as Python's do."""
    return value if value is None or digits is None else float(np.round(value, digits))
