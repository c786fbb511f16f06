"""`train confidence`: label CTs, and say how sure the network is of what it labels."""

import itertools
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from inference.engines import EngineOptions, open_engine
from inference.errors import KitError
from inference.files import make_folder, replacing
from inference.manifest import Manifest, verify_files
from inference.pipeline import find_cases
from inference.predictor import Predictor, Settings
from train.calibration.confidence import FLIP_X, Confidence, Questions, Sureness, look

_MEANS = ("probability", "margin", "entropy", "agreement")


def confidence(
    manifest: Manifest, images: Path, output: Path, settings: Settings, questions: Questions
) -> dict[str, Confidence]:
    """Label every CT of a folder; write label maps, maps of percents and confidence.json.

    Args:
        manifest: The network.
        images: Folder with CTs, `<case>_0000.nii.gz`.
        output: Folder for what is written.
        settings: Engine, threads, precision, step.
        questions: Temperature, and whether flips are asked for.

    Raises:
        KitError: Nothing can be done at all; or a case cannot be, then after all others.
    """
    if questions.flipped and not set(FLIP_X) <= set(manifest.window.mirror_axes):
        raise KitError(
            f"network {manifest.name!r} was not trained with left and right mirrored, so what it "
            "says of flipped patches means nothing; leave --flips out"
        )
    verify_files(manifest)
    cases = find_cases(images)
    make_folder(output)
    console = Console(stderr=True)
    found, failed = {}, {}
    options = EngineOptions(settings.threads, settings.precision)
    with open_engine(settings.engine, manifest, options) as engine:
        predictor = Predictor(manifest, engine, settings)
        for case, ct in track(cases.items(), "cases", console=console, transient=True):
            try:
                found[case] = look(predictor, manifest.labels, ct, output, questions)
            except KitError as error:
                failed[case] = str(error)
        table = {
            "network": manifest.name,
            "manifest_sha256": manifest.sha256,
            "engine": engine.description,
            "temperature": questions.temperature,
            "failed": failed,
            "cases": {case: asdict(one) for case, one in found.items()},
        }
    with replacing(output / "confidence.json") as partial:
        partial.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    show(found, console)
    if failed:
        raise KitError("; ".join(f"{case} failed: {told}" for case, told in failed.items()))
    return found


def temperature_in(path: Path, manifest: Manifest) -> float:
    """Return the temperature that `train calibrate` wrote of a network.

    Raises:
        KitError: The file is none of its, or is of another network.
    """
    try:
        table: dict[str, Any] = json.loads(path.read_text("utf-8"))
        network, found = str(table["network"]), float(table["temperature"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KitError(f"{path}: not a calibration.json of `train calibrate` ({error})") from error
    if network != manifest.name:
        raise KitError(f"{path} is of network {network!r}, not of {manifest.name!r}; calibrate it")
    if not 0 < found < np.inf:
        raise KitError(f"{path}: temperature is {found}; a number above 0 is needed")
    return found


def show(found: Mapping[str, Confidence], console: Console) -> None:
    """Print a row a class: the means of all cases in which it was found."""
    classes, pieces = defaultdict[str, list[Sureness]](list), defaultdict[str, int](int)
    for case in found.values():
        for one in case.classes:
            classes[one.label].append(one)
        for piece in case.components:
            pieces[piece.label] += 1
    every = itertools.chain(*classes.values())
    unasked = {key for row in every for key in _MEANS if getattr(row, key) is None}
    asked = [key for key in _MEANS if key not in unasked]
    table = Table("class", "cases", "pieces", "ml", *asked, title="means over cases")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, rows in classes.items():
        ml, *means = (float(np.mean([getattr(r, key) for r in rows])) for key in ("ml", *asked))
        told = (f"{mean:.3f}" for mean in means)
        table.add_row(name, str(len(rows)), str(pieces[name]), f"{ml:,.1f}", *told)
    console.print(table)
