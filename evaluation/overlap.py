"""Overlap of two label maps."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from inference.errors import GeometryError, KitError, VolumeError
from inference.files import replacing
from inference.organs import ORGANS


@dataclass(frozen=True)
class CaseOverlap:
    """DSC of one case by organ; organs that neither map has are left out."""

    case: str
    dsc: dict[str, float]
    error: str | None = None


def dice(truth: NDArray[np.bool_], pred: NDArray[np.bool_]) -> float:
    """Return the Sørensen-Dice coefficient 2|A and B| / (|A| + |B|); 1 where both are empty."""
    total = int(np.count_nonzero(truth)) + int(np.count_nonzero(pred))
    return 2.0 * int(np.count_nonzero(truth & pred)) / total if total else 1.0


def score_case(truth: Path, pred: Path) -> dict[str, float]:
    """Return the DSC of each organ that `truth` has.

    Raises:
        VolumeError: A file cannot be read.
        GeometryError: The maps do not lie on the same voxels.
    """
    maps = []
    for path in (truth, pred):
        try:
            maps.append(sitk.ReadImage(str(path)))
        except RuntimeError as error:
            raise VolumeError(f"{path}: not a readable label map") from error
    first, second = maps
    for fact in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        wanted, found = getattr(first, fact)(), getattr(second, fact)()
        if not np.allclose(wanted, found, atol=1e-3):
            raise GeometryError(f"{pred.name}: {fact[3:].lower()} is {found}, the truth's {wanted}")
    a, b = (sitk.GetArrayViewFromImage(image) for image in maps)
    present = set(np.unique(a).tolist()) - {0}
    return {
        organ: round(dice(a == label, b == label), 4)
        for organ, label in ORGANS.items()
        if label in present
    }


def score_folder(truth: Path, pred: Path) -> list[CaseOverlap]:
    """Score every truth `<case>.nii.gz` that has a prediction or should have one.

    Raises:
        KitError: There is no truth at all.
    """
    files = sorted(truth.glob("*.nii.gz"))
    if not files:
        raise KitError(f"{truth} holds no <case>.nii.gz; check --truth")
    rows = []
    for file in files:
        case = file.name.removesuffix(".nii.gz")
        try:
            if not (pred / file.name).is_file():
                raise VolumeError(f"{pred / file.name} is missing")
            rows.append(CaseOverlap(case, score_case(file, pred / file.name)))
        except KitError as error:
            rows.append(CaseOverlap(case, {}, str(error)))
    return rows


def write_scores(rows: list[CaseOverlap], folder: Path) -> None:
    """Write dsc.csv and dsc.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "dsc.csv") as partial, partial.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["case", *ORGANS])
        for row in rows:
            table.writerow([row.case, *(row.dsc.get(organ, "") for organ in ORGANS)])
    with replacing(folder / "dsc.json") as partial:
        content = [{"case": r.case, "dsc": r.dsc, "error": r.error} for r in rows]
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
