"""`train confidence`: label CTs, and write the network's confidence."""

import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from imaging.errors import KitError, in_one_line
from imaging.files import make_folder
from imaging.fitted_tables import numbers_table, show_table
from imaging.records import read_table, write_json
from imaging.terminal import terminal
from inference.manifest import Manifest
from inference.pipeline import find_cases
from inference.segmentation import open_predictor
from inference.settings import Settings
from train.data.release import LABEL_SUFFIX
from train.progress import CASE, seen
from train.pseudo_labels.calibration.confidence import (
    FLIP_X,
    Confidence,
    Questions,
    Sureness,
    label_with_confidence,
)

_MEANS = ("probability", "margin", "entropy", "agreement")


def write_confidence(
    manifest: Manifest, images: Path, output: Path, settings: Settings, questions: Questions
) -> None:
    """Label every CT of a folder; write label maps, maps of percents and confidence.json.

    Args:
        manifest: The network.
        images: Folder with CTs, `<case>_0000.nii.gz`.
        output: Folder for what is written.
        settings: Engine, threads, precision, step.
        questions: Temperature, and whether flips are requested.

    Raises:
        KitError: Nothing can be done at all; or a case cannot be, then after all others.
    """
    if questions.flipped and not set(FLIP_X) <= set(manifest.window.mirror_axes):
        raise KitError(
            f"network {manifest.name!r} was not trained with left and right mirrored, so what it "
            "says of flipped patches means nothing; leave --flips out"
        )
    done = label_all_with_confidence(manifest, find_cases(images), output, settings, questions)
    table = {
        "network": manifest.name,
        "manifest_sha256": manifest.sha256,
        "engine": done.engine,
        "temperature": questions.temperature,
        "failed": done.failed,
        "cases": {case: asdict(one) for case, one in done.found.items()},
    }
    write_json(table, output / "confidence.json")
    show_confidence(done.found)
    if done.failed:
        failures = done.failed.items()
        raise KitError("; ".join(f"{case} failed: {reason}" for case, reason in failures))


@dataclass
class LabelledCases:
    """What was found in the CTs of a folder."""

    engine: dict[str, str | int]
    found: dict[str, Confidence] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by case."""


def label_all_with_confidence(
    manifest: Manifest,
    cases: Mapping[str, Path],
    output: Path,
    settings: Settings,
    questions: Questions,
) -> LabelledCases:
    """Label CTs with a progress bar, and measure confidence; a failed one does not stop the others.

    Raises:
        KitError: Nothing can be done at all.
    """
    make_folder(output)
    with open_predictor(manifest, settings) as predictor:
        done = LabelledCases(predictor.engine.description)
        for case, ct in seen(cases.items(), CASE, len(cases)):
            try:
                target = output / f"{case}{LABEL_SUFFIX}"
                done.found[case] = label_with_confidence(predictor, ct, target, questions)
            except Exception as error:  # noqa: BLE001  # whatever it is, the other cases go on
                done.failed[case] = in_one_line(error, ct.name)
    return done


def temperature_in(path: Path, manifest: Manifest) -> float:
    """Return the temperature that `train calibrate` wrote of a network.

    Raises:
        KitError: The file is none of its, or is of another network.
    """
    try:
        table, _ = read_table(path, "calibration")
        network, found = str(table["network"]), float(table["temperature"])
    except (KitError, ValueError, KeyError, TypeError) as error:
        raise KitError(f"{path}: not a calibration.json of `train calibrate` ({error})") from error
    if network != manifest.name:
        raise KitError(f"{path} is of network {network!r}, not of {manifest.name!r}; calibrate it")
    if not 0 < found < np.inf:
        raise KitError(f"{path}: temperature is {found}; a number above 0 is needed")
    return found


def show_confidence(found: Mapping[str, Confidence]) -> None:
    """Print a row a class: the means of all cases in which it was found."""
    classes, pieces = defaultdict[str, list[Sureness]](list), defaultdict[str, int](int)
    for case in found.values():
        for one in case.classes:
            classes[one.label].append(one)
        for piece in case.components:
            pieces[piece.label] += 1
    every = itertools.chain(*classes.values())
    missing = {key for row in every for key in _MEANS if getattr(row, key) is None}
    queried = [key for key in _MEANS if key not in missing]
    headings = ("class", "cases", "pieces", "ml", *queried)
    table = numbers_table(*headings, title="means over cases")
    for name, rows in classes.items():
        ml, *means = (float(np.mean([getattr(r, key) for r in rows])) for key in ("ml", *queried))
        values = (f"{mean:.3f}" for mean in means)
        table.add_row(name, str(len(rows)), str(pieces[name]), f"{ml:,.1f}", *values)
    show_table(table, terminal(stderr=True))
