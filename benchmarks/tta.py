"""What test-time augmentation gains and costs, on labelled CTs.

`python -m benchmarks tta`: every augmentation that the network can use, and a narrower step between
windows for comparison, in turn on each CT, in one process with one engine.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.progress import track
from rich.table import Table

from evaluation.scoring.fixed import score_labels
from evaluation.scoring.folders import read_map
from evaluation.scoring.scores import LabelScore
from imaging.errors import GeometryError
from imaging.fitted_tables import show_table
from imaging.formats import case_of
from imaging.label_maps import LabelMap
from imaging.machine import cpu_name
from imaging.records import write_json
from imaging.terminal import terminal
from imaging.volumes import Volume, read_volume
from imaging.words import number_of
from inference.augmentation import FLIPS, TTA
from inference.manifest import Manifest, load_manifest
from inference.predictor import Predictor
from inference.segmentation import open_predictor
from inference.settings import Settings

_NARROWER = 0.6
"""Of the manifest's step: 0.3 for 0.5."""
_CAPTION = "DSC and NSD in percent, with the points gained; DSC / s: points by CPU second more"


@dataclass
class Found:
    """What one way found and took on one CT."""

    windows: int
    scores: dict[str, LabelScore]
    """Of the labels that the truth has."""
    cpu_s: list[float]
    """All but reading and writing, all cores together, by run."""
    wall_s: list[float]

    def mean(self, metric: str) -> float:
        """Return the mean of "dsc" or "nsd" over labels."""
        return statistics.fmean(getattr(score, metric) for score in self.scores.values())


def benchmark_tta(
    cts: Sequence[Path], truth: Path, manifest: Path, repeats: int, output: Path
) -> None:
    """Measure, print the table, and write `output` as JSON.

    Args:
        cts: CTs, <case>_0000.nii.gz.
        truth: Folder of <case>.nii.gz.
        manifest: The network.
        repeats: Runs of each way on each CT.
        output: JSON file.

    Raises:
        KitError: A CT, a truth or the network cannot be used.
    """
    described = load_manifest(manifest)
    maps = [read_map(truth / f"{case_of(ct.name)}.nii.gz", "fixed") for ct in cts]
    found: dict[str, dict[str, Found]] = {}
    with open_predictor(described, Settings()) as predictor:
        ways = usable(described, predictor)
        for ct, mine in zip(track(cts, "CTs", console=terminal(stderr=True)), maps, strict=True):
            of_case = _measured(read_volume(ct), mine, ways, predictor, repeats)
            for way, result in of_case.items():
                found.setdefault(way, {})[case_of(ct.name)] = result
        engine = predictor.engine.description
    means = {way: mean_of(cases) for way, cases in found.items()}
    table = {way: {**means[way], "cases": _plain(cases)} for way, cases in found.items()}
    network = {"network": described.name, "onnx_sha256": described.files["onnx"].sha256}
    facts = {"cpu": cpu_name(), "engine": engine, **network, "repeats": repeats}
    write_json({**facts, "ways": table}, output, indent=2)
    show_table(table_of(described.name, len(cts), means), terminal())


def usable(manifest: Manifest, predictor: Predictor) -> dict[str, Settings]:
    """Return how the network is run: plainly, with every augmentation of it, in narrower steps."""
    step = manifest.window.step
    ways = {}
    for tta in TTA:
        try:
            predictor.window_of(tta, step)
        except GeometryError:
            if tta not in FLIPS:
                raise
            continue  # not mirrored in training
        ways[tta] = Settings(tta=tta, step=step)
    narrower = round(_NARROWER * step, 3)
    return {**ways, f"step {narrower:g}": Settings(tta="none", step=narrower)}


def _measured(
    volume: Volume,
    truth: LabelMap,
    ways: Mapping[str, Settings],
    predictor: Predictor,
    repeats: int,
) -> dict[str, Found]:
    """Label one CT in every way, in turn, after one run that is not measured."""
    predictors = {
        name: Predictor(predictor.manifest, predictor.engine, settings)
        for name, settings in ways.items()
    }
    found: dict[str, Found] = {}
    predictor.segment(volume)
    for _ in range(repeats):
        for name, mine in predictors.items():
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            segmented = mine.segment(volume)
            cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
            if name not in found:
                scores = score_labels(truth.labels, segmented.labels, truth.grid)
                seen = {organ: score for organ, score in scores.items() if score.truth_ml}
                found[name] = Found(segmented.report.windows, seen, [], [])
            found[name].cpu_s.append(round(cpu_s, 3))
            found[name].wall_s.append(round(wall_s, 3))
    return found


def mean_of(cases: Mapping[str, Found]) -> dict[str, float]:
    """Return the means over cases: DSC and NSD of a case's labels, median seconds, windows."""
    results = cases.values()
    return {
        "windows": statistics.fmean(case.windows for case in results),
        "dsc": statistics.fmean(case.mean("dsc") for case in results),
        "nsd": statistics.fmean(case.mean("nsd") for case in results),
        "cpu_s": statistics.fmean(statistics.median(case.cpu_s) for case in results),
        "wall_s": statistics.fmean(statistics.median(case.wall_s) for case in results),
    }


def _plain(cases: Mapping[str, Found]) -> dict[str, Any]:
    """Return what is written of each case: of every label DSC and NSD alone."""
    return {
        case: {
            "dsc": found.mean("dsc"),
            "nsd": found.mean("nsd"),
            **asdict(found),
            "scores": {label: (score.dsc, score.nsd) for label, score in found.scores.items()},
        }
        for case, found in cases.items()
    }


def table_of(network: str, count: int, means: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the table: the plain way first; DSC and NSD in percent, and points against it.

    Args:
        network: Its name.
        count: Number of CTs.
        means: As `mean_of` returns them, by way; the first is the plain one.
    """
    plain = next(iter(means.values()))
    table = Table("way", title=f"{network}: means over {number_of(count, 'CT')}", caption=_CAPTION)
    for heading in ("windows", "DSC", "NSD", "CPU s", "times", "DSC / s"):
        table.add_column(heading, justify="right")
    for way, mean in means.items():
        gains = {key: 100 * (mean[key] - plain[key]) for key in ("dsc", "nsd")}
        more_s = mean["cpu_s"] - plain["cpu_s"]
        table.add_row(
            way,
            f"{mean['windows']:.0f}",
            *(f"{100 * mean[key]:.2f} {gains[key]:+.2f}" for key in gains),
            f"{mean['cpu_s']:.2f}",
            f"{mean['cpu_s'] / plain['cpu_s']:.2f}",
            f"{gains['dsc'] / more_s:+.2f}" if more_s > 0 else "",
        )
    return table
