"""The label maps of a submission beside the CTs that they are of."""

from pathlib import Path

import numpy as np

from evaluation.efficiency.outputs import elsewhere, opened, printable
from evaluation.submission.rules import RuleResults, result_of
from imaging.errors import KitError, VolumeError, joined
from imaging.label_maps import read_label_map
from imaging.volumes import read_header
from imaging.words import number_of

MOST_LABEL = 14


def check_maps(cases: dict[str, Path], preds: Path) -> RuleResults:
    """Judge names, geometry, data type and labels of `preds`/<case>.nii.gz, for every case."""
    wrong: dict[str, list[str]] = {"names": [], "geometry": [], "dtype": [], "labels": []}
    for case, ct in cases.items():
        for rule, problem in _problems(ct, preds / f"{case}.nii.gz").items():
            wrong[rule].append(f"{case}: {problem}")
    missing = len(wrong["names"])
    seen = f"{len(cases) - missing} of {number_of(len(cases), 'map')}"
    results = {rule: result_of(joined(*problems), seen) for rule, problems in wrong.items()}
    if missing == len(cases):  # nothing was seen of the others
        return {"names": results["names"]}
    return results


def _problems(ct: Path, pred: Path) -> dict[str, str]:
    """Return what is wrong with one map, by rule."""
    if not pred.is_file():
        return {"names": "no map"}
    wrong = {}
    try:
        header = read_header(pred)
        kind = header.dtype
        if kind is None or not np.issubdtype(kind, np.integer):
            wrong["dtype"] = f"it holds {'no real numbers' if kind is None else kind.name}"
        elif header.scaling is not None:
            wrong["dtype"] = "it has a slope or an intercept; write labels as they are"
        labels = read_label_map(pred)
    except VolumeError as error:
        return {**wrong, "labels": str(error)}
    if problem := elsewhere(labels, ct):
        wrong["geometry"] = problem
    if (most := int(labels.labels.max())) > MOST_LABEL:
        wrong["labels"] = f"label {most}; the last is {MOST_LABEL}"
    return wrong


def unreadable(outputs: Path) -> tuple[str, ...]:
    """Return the files of a folder that a program left half-written: hidden ones, broken maps.

    A link, a pipe or a folder in a map's place is a broken map.
    """
    found = []
    for path in sorted(outputs.iterdir()):
        name = printable(path.name)
        if path.name.startswith("."):
            found.append(name)
        elif path.name.endswith(".nii.gz"):
            try:
                with opened(path):  # only regular files are opened
                    read_label_map(path)
            except KitError:
                found.append(name)
    return tuple(found)
