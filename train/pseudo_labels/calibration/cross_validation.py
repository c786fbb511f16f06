"""`train calibrate`: fit a network's temperature, and judge it by cross-validation."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.progress import track

from evaluation.scoring.annotated import AnnotatedLabels
from imaging.errors import KitError
from imaging.files import make_folder
from imaging.fitted_tables import numbers_table, show_table
from imaging.records import write_json
from imaging.terminal import terminal
from inference.manifest import Manifest
from inference.pipeline import find_cases
from inference.segmentation import open_predictor
from inference.settings import Settings
from train.data.release import LABEL_SUFFIX
from train.pseudo_labels.calibration.figure import draw_calibration, draw_kept
from train.pseudo_labels.calibration.sampling import sample_voxels
from train.pseudo_labels.calibration.temperature import (
    Reliability,
    Samples,
    fit_temperature,
    reliability,
)
from train.pseudo_labels.calibration.thresholds import Selection, cross_validated, selection_table

SEED = 2310011597


@dataclass(frozen=True)
class CaseCalibration:
    """One case, with the temperature of the others."""

    voxels: int
    temperature: float
    before: Reliability
    after: Reliability


@dataclass(frozen=True)
class Calibration:
    """What was found for a network."""

    network: str
    engine: dict[str, str | int]
    temperature: float
    """Fitted on all cases: the one to use."""
    before: Reliability
    after: Reliability
    """Every case with the temperature that was fitted on the others."""
    cases: dict[str, CaseCalibration]


def calibrate_network(
    manifest: Manifest,
    images: Path,
    truth: Path,
    output: Path,
    settings: Settings,
    annotated: AnnotatedLabels | None = None,
) -> tuple[Calibration, Selection]:
    """Fit and judge a temperature on labelled CTs, and what thresholds on confidence keep.

    Writes calibration.json, calibration.png, selection.json and selection.png.

    Args:
        manifest: The network.
        images: Folder with CTs, `<case>_0000.nii.gz`; those without a truth are passed over.
        truth: Folder with their labels, `<case>.nii.gz`.
        output: Folder for what is written.
        settings: Engine, threads, precision, step.
        annotated: What was annotated in the truths; None: in each what it shows.

    Raises:
        KitError: Fewer than two labelled CTs, or a file or the network cannot be used.
    """
    cases = _labelled(images, truth)
    make_folder(output)
    sampled = {}
    with open_predictor(manifest, settings) as predictor:
        engine = predictor.engine.description
        rows = track(cases.items(), "cases", console=terminal(stderr=True), transient=True)
        for number, (case, paths) in enumerate(rows):
            sampled[case] = sample_voxels(predictor, *paths, SEED + number, annotated)
    samples = {case: one for case, (one, _) in sampled.items()}
    found = calibration_of(manifest.name, engine, samples)
    temperatures = {case: one.temperature for case, one in found.cases.items()}
    selection = cross_validated(sampled, temperatures)
    _write(found, selection, output)
    return found, selection


def _labelled(images: Path, truth: Path) -> dict[str, tuple[Path, Path]]:
    """Return CT and labels of the cases that have both."""
    cases = {
        case: (ct, truth / f"{case}{LABEL_SUFFIX}")
        for case, ct in find_cases(images).items()
        if (truth / f"{case}{LABEL_SUFFIX}").is_file()
    }
    if len(cases) < 2:
        raise KitError(f"{len(cases)} CTs of {images} have labels in {truth}; two are needed")
    return cases


def _write(found: Calibration, selection: Selection, output: Path) -> None:
    draw_calibration(
        found.network, found.temperature, found.before, found.after, output / "calibration.png"
    )
    draw_kept(found.network, selection, output / "selection.png")
    write_json(asdict(found), output / "calibration.json")
    table = {"network": found.network, "engine": found.engine, **selection_table(selection)}
    write_json(table, output / "selection.json")


def calibration_of(
    network: str, engine: dict[str, str | int], samples: dict[str, Samples]
) -> Calibration:
    """Fit a temperature for each case on all others, and one on all."""
    everything = list(samples.values())
    temperatures = [
        fit_temperature([other for other in everything if other is not held_out])
        for held_out in everything
    ]
    plain = [1.0] * len(everything)
    return Calibration(
        network,
        engine,
        fit_temperature(everything),
        reliability(everything, plain),
        reliability(everything, temperatures),
        {
            case: CaseCalibration(
                len(one.truth), fitted, reliability([one], [1.0]), reliability([one], [fitted])
            )
            for (case, one), fitted in zip(samples.items(), temperatures, strict=True)
        },
    )


def show_calibration(found: Calibration) -> None:
    """Print a row a case, and all of them together."""
    title = f"{found.network}: temperature {found.temperature:.2f}"
    headings = ("voxels", "temperature of the others", "ECE", "after", "NLL", "after")
    table = numbers_table("case", *headings, title=title)
    rows: Sequence[tuple[str, int, str, Reliability, Reliability]] = [
        *((case, c.voxels, f"{c.temperature:.2f}", c.before, c.after)
          for case, c in found.cases.items()),
        ("all", sum(c.voxels for c in found.cases.values()), "", found.before, found.after),
    ]  # fmt: skip
    for case, voxels, temperature, before, after in rows:
        figures = (before.ece, after.ece, before.nll, after.nll)
        table.add_row(case, f"{voxels:,}", temperature, *(f"{value:.4f}" for value in figures))
    show_table(table, terminal())
