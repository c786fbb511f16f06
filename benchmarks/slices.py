"""Seconds of a prediction by the number of slices, from a short scan to a body from head to toe.

`python -m benchmarks slices CT -o FOLDER` lays a real CT on grids of 512×512 and more and more
slices, and labels each in whole processes, in turn: by the kit with the body's box, by the kit with
the organs' box, and, where a model folder is given, by nnU-Net up to some number of slices.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from rich.progress import Progress
from rich.table import Table

from benchmarks.alternating import Timing, alternate, python
from benchmarks.prediction_figure import logarithmic
from benchmarks.scans import lay
from evaluation.efficiency.figure import BLACK
from evaluation.figures import save_png
from imaging.files import make_folder
from imaging.fitted_tables import show_table
from imaging.geometry import Grid
from imaging.machine import cpu_name
from imaging.records import write_json
from imaging.terminal import terminal
from inference.manifest import load_manifest

SCANS = ((40, 5.0), (80, 5.0), (172, 2.5), (296, 2.5), (600, 1.5), (1394, 0.7), (2651, 0.7))
"""Slices, and their thickness in mm: 20 cm of a body to 1.86 m."""
PIXEL_MM, SIDE = 0.82, 512
BODY, ORGANS, BASELINE = "kit, the body's box", "kit, the organs' box", "nnU-Net"
_STYLES = {BODY: ("-", "o"), ORGANS: (":", "^"), BASELINE: ("--", "s")}


@dataclass(frozen=True)
class Labelling:
    """One way to label one scan, whole processes."""

    slices: int
    way: str
    median_s: float
    least_s: float
    most_s: float
    peak_mib: float
    """Median of the runs, of the process alone."""


def benchmark_slices(
    ct: Path,
    manifest: Path,
    model: Path | None,
    repeats: int,
    most_baseline: int,
    output: Path,
) -> None:
    """Measure, print the table, write `output`/slices.json and slices.png.

    Args:
        ct: The real CT.
        manifest: The exported network.
        model: nnU-Net's folder of the same network; None leaves nnU-Net out.
        repeats: Runs of each way on each scan.
        most_baseline: Slices up to which nnU-Net is run; on longer scans it takes too much memory.
        output: Folder of the results.

    Raises:
        KitError: A run fails.
    """
    make_folder(output)
    found: list[Labelling] = []
    with (
        Progress(console=terminal(stderr=True), transient=True) as progress,
        tempfile.TemporaryDirectory() as folder,
    ):
        task = progress.add_task("", total=len(SCANS))
        for slices, thickness_mm in SCANS:
            progress.update(task, description=f"{slices} slices")
            inputs = Path(folder) / str(slices)
            grid = Grid((slices, SIDE, SIDE), (thickness_mm, PIXEL_MM, PIXEL_MM))
            inputs.mkdir()
            lay(ct, grid, inputs / "scan_0000.nii.gz")
            baseline = model if slices <= most_baseline else None
            ways = commands(inputs, Path(folder) / "labels", manifest, baseline)
            timings = alternate(ways, repeats)
            found += [_labelling(slices, way, timing) for way, timing in timings.items()]
            (inputs / "scan_0000.nii.gz").unlink()
            progress.advance(task)
    title = f"{load_manifest(manifest).name}, {cpu_name()}, medians of {repeats}"
    table = {"cpu": cpu_name(), "network": load_manifest(manifest).name, "repeats": repeats}
    write_json(
        {**table, "labellings": [asdict(run) for run in found]}, output / "slices.json", indent=2
    )
    draw_slices(found, title, output / "slices.png")
    _show(found, title)


def commands(
    inputs: Path, outputs: Path, manifest: Path, model: Path | None
) -> dict[str, Sequence[str]]:
    """Return the command of each way; nnU-Net's only where there is a model folder."""
    options = ("--challenge", "--manifest", manifest.resolve())
    kit = python("-m", "inference", "predict", inputs, outputs, *options)
    ways: dict[str, Sequence[str]] = {BODY: kit, ORGANS: [*kit, "--crop", "organs"]}
    if model is not None:
        ways[BASELINE] = python("-m", "benchmarks.baseline", model.resolve(), inputs, outputs)
    return ways


def _labelling(slices: int, way: str, timing: Timing) -> Labelling:
    seconds = [round(s, 3) for s in timing.seconds]
    return Labelling(
        slices, way, median(seconds), min(seconds), max(seconds), round(timing.median_mib, 1)
    )


def draw_slices(found: Sequence[Labelling], title: str, path: Path) -> None:
    """Draw seconds against slices, both logarithmic, a line for each way, as a PNG file."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axis = figure.add_subplot()
    for way, runs in _by_way(found).items():
        line, marker = _STYLES[way]
        x, y = [run.slices for run in runs], [run.median_s for run in runs]
        axis.plot(x, y, color=BLACK, linestyle=line, marker=marker, label=way)
    axis.set(xlabel="slices of 512×512", ylabel="seconds")
    axis.set_title(title, loc="left", fontsize=10)
    logarithmic(axis)
    axis.set_xticks(sorted({run.slices for run in found}))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.legend(fontsize=9, framealpha=1, edgecolor="white")
    axis.spines[["top", "right"]].set_visible(False)
    save_png(figure, path, dpi=110)


def _by_way(found: Sequence[Labelling]) -> Mapping[str, list[Labelling]]:
    ways = [way for way in _STYLES if any(run.way == way for run in found)]
    return {way: [run for run in found if run.way == way] for way in ways}


def _show(found: Sequence[Labelling], title: str) -> None:
    table = Table("slices", *_by_way(found), title=title, caption="s (least to most), MiB")
    for slices, _ in SCANS:
        row = {run.way: run for run in found if run.slices == slices}
        table.add_row(
            str(slices),
            *(
                f"{run.median_s:.2f} ({run.least_s:.2f}-{run.most_s:.2f}), {run.peak_mib:,.0f}"
                if (run := row.get(way))
                else ""
                for way in _by_way(found)
            ),
        )
    show_table(table, terminal())
