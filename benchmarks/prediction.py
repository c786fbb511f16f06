"""Prediction against nnU-Net's own: whole processes, the same weights and CTs, in turn."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.progress import Progress
from rich.table import Column, Table

from benchmarks.alternating import Timing, python
from evaluation.agreement.label_maps import agree_case
from evaluation.efficiency.protocol import Protocol, Subject, evaluate
from evaluation.efficiency.results import EfficiencyRun
from evaluation.efficiency.sampling import MemorySample
from imaging.errors import KitError
from imaging.fitted_tables import show_table
from imaging.machine import cpu_name
from imaging.records import read_table, write_json
from imaging.terminal import terminal
from inference.manifest import load_manifest

STOCK = "nnU-Net"
_TUNED_STEP = 0.8


@dataclass(frozen=True)
class Way(Timing):
    """One way of prediction on one CT; memory is that of all its processes together."""

    stages_s: dict[str, float]
    """Of the kit: medians by stage; what they leave is starting Python and ending."""
    windows: int
    agreement: dict[str, float]
    """DSC with nnU-Net's own labels, by organ that either has."""

    @property
    def mean_agreement(self) -> float | None:
        """Mean of the agreement over organs; None where there is nothing to agree with."""
        return mean(self.agreement.values()) if self.agreement else None


@dataclass(frozen=True)
class Benchmark:
    """All ways on all CTs, with their circumstances."""

    cpu: str
    network: str
    repeats: int
    slices: dict[str, int]
    """By CT."""
    ways: dict[str, dict[str, Way]]
    """By CT and way."""
    memory: dict[str, dict[str, list[tuple[float, float]]]]
    """Seconds and MiB over the last run, by CT and way."""


@dataclass(frozen=True)
class _Run:
    """One run of one way on one CT."""

    efficiency: EfficiencyRun
    samples: tuple[MemorySample, ...]
    report: Mapping[str, Any]
    """What the kit says of its run; empty of nnU-Net's."""

    @property
    def case(self) -> Mapping[str, Any]:
        """What the kit says of the CT."""
        (case,) = self.report.get("cases") or [{}]
        return dict(case)

    @property
    def stages_s(self) -> dict[str, float]:
        """Seconds of each stage of the kit."""
        if not self.report:
            return {}
        stages = {name: s for name, s in self.case["seconds"].items() if name != "total"}
        return {"engine": self.report["start_s"]["engine"], **stages}

    @property
    def memory(self) -> list[tuple[float, float]]:
        """Seconds and MiB."""
        return [
            (round(s.seconds, 2), round(s.own_ram_mib, 1))
            for s in self.samples
            if s.own_ram_mib  # nothing of a process that has just ended
        ]


def benchmark_inference(
    cts: Sequence[Path],
    manifest: Path,
    model: Path | None,
    repeats: int,
    output: Path,
    *,
    int8: bool = False,
) -> None:
    """Measure, print the table, write `output`/inference.json and inference.png.

    Args:
        cts: CTs to predict, `<case>_0000.nii.gz`.
        manifest: The exported network.
        model: nnU-Net's folder of the same network; None leaves nnU-Net out.
        repeats: Runs of each way.
        output: Folder of the results and of the last predictions.
        int8: Also the kit with 8-bit weights, which the manifest must have.

    Raises:
        KitError: A run fails.
    """
    from benchmarks.prediction_figure import draw_benchmark

    ways = _commands(manifest, model, int8)
    seen: dict[str, dict[str, list[_Run]]] = {}
    with Progress(console=terminal(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=repeats * len(cts) * len(ways))
        for ct in cts:
            case = ct.name.removesuffix("_0000.nii.gz")
            seen[case] = {name: [] for name in ways}
            for _ in range(repeats):
                for name, command in ways.items():
                    progress.update(task, description=f"{case}: {name}")
                    seen[case][name].append(_run(case, ct, name, command, output))
                    progress.advance(task)
    found = Benchmark(
        cpu_name(),
        load_manifest(manifest).name,
        repeats,
        {case: runs["kit"][-1].case["input_shape"][0] for case, runs in seen.items()},
        {case: _ways(case, runs, output) for case, runs in seen.items()},
        {case: {n: r[-1].memory for n, r in runs.items()} for case, runs in seen.items()},
    )
    write_json(asdict(found), output / "inference.json")
    draw_benchmark(found, output / "inference.png")
    show_benchmark(found)


def _commands(manifest: Path, model: Path | None, int8: bool) -> dict[str, tuple[str, ...]]:
    """Return the command line of each way; {inputs}, {outputs} stand for its folders.

    `nnUNetv2_predict --disable_tta`; nnU-Net as fast as it goes by its own means; the kit as
    exactly as nnU-Net; the kit as its manifest says, and with `int8` in 8-bit integers too.
    """
    places = ("{inputs}", "{outputs}")
    kit = python("-m", "inference", "predict", *places, "--manifest", manifest.resolve())
    exact = ("--precision", "f32", "--step", "0.5", "--crop", "nonzero", "--no-clean")
    ways = {"kit, exact": (*kit, *exact), "kit": tuple(kit)}
    if int8:
        ways["kit, 8-bit"] = (*kit, "--precision", "int8")
    if model is None:
        return ways
    baseline = python("-m", "benchmarks.baseline", model.resolve(), *places)
    tuned = (*baseline, "--tuned", "--step", str(_TUNED_STEP))
    return {STOCK: tuple(baseline), "nnU-Net, tuned": tuned, **ways}


def _run(case: str, ct: Path, name: str, command: tuple[str, ...], output: Path) -> _Run:
    with tempfile.TemporaryDirectory() as folder:
        report_path = Path(folder) / "run.json"
        kit = name.startswith("kit")
        words = (*command, "--report", str(report_path)) if kit else command
        (measured,) = evaluate({case: ct}, Path(folder), Subject(words), Protocol())
        (run,) = measured.efficiency.runs
        if run.error is not None:
            raise KitError(f"{case}: {name}: {run.error}: {run.stderr_tail[-500:]}")
        kept = output / name
        kept.mkdir(parents=True, exist_ok=True)
        shutil.move(Path(folder) / "predictions" / f"{case}.nii.gz", kept / f"{case}.nii.gz")
        report = read_table(report_path, "report")[0] if kit else {}
    return _Run(run, measured.samples[1], report)


def _ways(case: str, runs: dict[str, list[_Run]], output: Path) -> dict[str, Way]:
    found = {}
    for name, each in runs.items():
        agreement = {}
        if STOCK in runs and name != STOCK:
            pair = (output / way / f"{case}.nii.gz" for way in (STOCK, name))
            agreement = {label.organ: label.dsc for label in agree_case(*pair).labels}
        stages = {s: median(run.stages_s[s] for run in each) for s in each[0].stages_s}
        found[name] = Way(
            tuple(run.efficiency.seconds for run in each),
            tuple(run.efficiency.loads["own_ram_mib"].peak for run in each),
            stages,
            each[-1].case.get("windows", 0),
            agreement,
        )
    return found


def show_benchmark(found: Benchmark) -> None:
    """Print one table a CT."""
    console = terminal()
    for case, ways in found.ways.items():
        title = f"{case}: {found.slices[case]} slices, {found.network}, {found.cpu}"
        columns = (Column("whole process", no_wrap=True), "s", "range", "MiB", "windows")
        caption = "medians; against nnU-Net: times faster, share of memory, DSC between the labels"
        table = Table(*columns, "times", "memory", "DSC", title=title, caption=caption)
        first = ways.get(STOCK)
        for name, way in ways.items():
            agreement = "" if way.mean_agreement is None else f"{way.mean_agreement:.4f}"
            table.add_row(
                name,
                f"{way.median_s:.2f}",
                f"{min(way.seconds):.1f}–{max(way.seconds):.1f}",
                f"{way.median_mib:,.0f}",
                str(way.windows or ""),
                f"{first.median_s / way.median_s:.1f}" if first else "",
                f"{way.median_mib / first.median_mib:.2f}" if first else "",
                agreement,
            )
        show_table(table, console)
        kit = ways["kit"]
        if kit.stages_s:
            rest = kit.median_s - sum(s for n, s in kit.stages_s.items() if n != "read")
            stages = ", ".join(f"{name} {s:.2f}" for name, s in kit.stages_s.items())
            console.print(f"kit, by stage: {stages}; everything else {rest:.2f} s", style="dim")
