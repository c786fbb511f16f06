"""`score --rules official` against the plain transcription of the rules that the tests hold."""

import json
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from timeit import repeat

from rich.progress import Progress
from rich.table import Table

from benchmarks.alternating import ROOT, Timing, alternate, python
from benchmarks.generated import GRID, write_pair
from evaluation.profiles.profile import FLARE23
from evaluation.scoring.folders import Scoring, read_map
from evaluation.scoring.official import score_labels
from evaluation.scoring.scores import load_scores
from imaging.errors import KitError
from imaging.fitted_tables import show_table
from imaging.label_maps import LabelMap
from imaging.machine import cpu_name
from imaging.organs import ORGANS
from imaging.records import write_json
from imaging.terminal import terminal

PLAIN = ROOT / "tests" / "evaluation" / "plain_flare23.py"
_IMPORTS = "import evaluation.cli, evaluation.scoring.screen"


@dataclass(frozen=True)
class ScoreBenchmark:
    """What one benchmark found."""

    cpu: str
    repeats: int
    shape: tuple[int, int, int]
    plain: Timing
    kit: Timing
    steps_s: dict[str, float]
    """Where the kit's median seconds go."""
    equal_values: int
    """DSC and NSD that agree to the last digit, of 28."""

    @property
    def times_faster(self) -> float:
        """Ratio of the medians."""
        return self.plain.median_s / self.kit.median_s

    @property
    def share_of_memory(self) -> float:
        """The kit's peak as a share of the transcription's."""
        return self.kit.median_mib / self.plain.median_mib


def benchmark_score(repeats: int, output: Path | None) -> None:
    """Measure, print the table, and write `output` as JSON where one is given.

    Raises:
        KitError: The transcription is not there, or a command fails.
    """
    if not PLAIN.is_file():
        raise KitError(f"{PLAIN} is missing; run the benchmark in a checkout of the repository")
    with tempfile.TemporaryDirectory() as folder:
        found = _measure(Path(folder), repeats)
    _show(found)
    if output is not None:
        ratios = {"times_faster": found.times_faster, "share_of_memory": found.share_of_memory}
        write_json({**asdict(found), **ratios}, output)


def _measure(folder: Path, repeats: int) -> ScoreBenchmark:
    with Progress(console=terminal(stderr=True), transient=True) as progress:
        task = progress.add_task("benchmark", total=4 * repeats)
        truth, pred = write_pair(folder)
        out = folder / "scores"
        commands = {
            "plain": python(PLAIN, truth, pred, FLARE23.low_dsc),
            "kit": python(
                *("-m", "evaluation", "score", "--no-report"),
                *("--truth", truth, "--pred", pred, "-o", out),
            ),
            "start": python("-c", "pass"),
            "imports": python("-c", _IMPORTS),
        }
        runs = alternate(commands, repeats, lambda: progress.advance(task))
    return ScoreBenchmark(
        cpu_name(),
        repeats,
        GRID.shape,
        runs["plain"],
        runs["kit"],
        _steps(runs, Scoring(truth, pred), repeats),
        _equal_values(commands["plain"], out),
    )


def _steps(runs: dict[str, Timing], scoring: Scoring, repeats: int) -> dict[str, float]:
    """Split the kit's median: what starts it, what it reads, what it computes, the rest."""
    folders, threads = (scoring.truth, scoring.pred), scoring.threads

    def read() -> list[LabelMap]:
        return [read_map(folder / "case.nii.gz", "official") for folder in folders]

    truth, pred = read()
    score = partial(score_labels, truth.labels, pred.labels, truth.header.pixdim, threads=threads)
    steps = {
        "start Python": runs["start"].median_s,
        "import": runs["imports"].median_s - runs["start"].median_s,
        "read both maps, one by one": median(repeat(read, repeat=repeats, number=1)),
        "score": median(repeat(score, repeat=repeats, number=1)),
    }
    return {**steps, "digests, tables, files": runs["kit"].median_s - sum(steps.values())}


def _equal_values(plain: list[str], out: Path) -> int:
    output = subprocess.run(plain, cwd=ROOT, capture_output=True, check=True).stdout
    (theirs,) = json.loads(output)["cases"].values()
    (case,) = load_scores(out / "scores.json").cases
    labels = [case.labels[organ] for organ in ORGANS]
    pairs = zip(labels, theirs, strict=True)
    return sum((ours.dsc == dsc) + (ours.nsd == nsd) for ours, (dsc, nsd) in pairs)


def _show(found: ScoreBenchmark) -> None:
    shape = "×".join(map(str, reversed(found.shape)))
    title = f"score, official rules: {shape}, 14 labels, {found.repeats} runs each, {found.cpu}"
    table = Table("whole process", "median s", "least", "most", "peak MiB", title=title)
    for name, runs in (("plain transcription", found.plain), ("evaluation score", found.kit)):
        cells = (runs.median_s, min(runs.seconds), max(runs.seconds))
        table.add_row(name, *(f"{s:.2f}" for s in cells), f"{runs.median_mib:.0f}")
    table.add_row("ratio", f"{found.times_faster:.1f}", "", "", f"{found.share_of_memory:.2f}")
    steps = Table("of which", "s", title=f"equal values: {found.equal_values} of 28")
    for step, seconds in found.steps_s.items():
        steps.add_row(step, f"{seconds:.2f}")
    console = terminal()
    show_table(table, console)
    show_table(steps, console)
