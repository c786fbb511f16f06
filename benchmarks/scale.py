"""What grows faster than the number of cases: every stage of a run on 100, 1,000 and 4,000 cases.

The cases are tiny, their names, folders, partial labels and counts FLARE23's. Networks are never
trained: in the place of stages `train` and `export` lies a network that costs nothing, so that all
else is seen. Every stage runs as `train run` runs it, in a process of its own.
"""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import click
from rich.table import Table

from benchmarks.alternating import ROOT, Spent, python, timed
from benchmarks.free_network import write_free_network
from imaging.errors import KitError
from imaging.files import make_folder
from imaging.fitted_tables import show_table
from imaging.machine import cpu_name
from imaging.records import write_json
from imaging.terminal import terminal
from train.rounds.graph import Stage, expand
from train.rounds.recipe import RoundsRecipe, load_rounds
from train.rounds.records import RECORD, Work, digests_path, load_record, run_stage
from train.synthesis.phantom_release import HIDDEN, CtAndLabels, PhantomCase, phantoms_of

RECIPE = ROOT / "train" / "recipes" / "scale.toml"
FREE = ("train", "export")
"""Stages that a network which costs nothing takes the place of."""
NEAR = "near"
"""The recipe's external source."""
_KILLED = ("data", "teacher/label/part000", "student/fuse")
"""Stages that are killed when they have begun to write, and run again."""
_KINDS = ("complete", "partial", "unlabelled", "validation")
_DRAWN = 25
"""Abdomens that are drawn, with tumours and without."""
_WAIT_S = 0.01


@dataclass(frozen=True)
class Laid:
    """Where one size is measured."""

    recipe: Path
    release: Path
    run: Path


@dataclass(frozen=True)
class StageCost:
    """What all stages of one kind took, or one command."""

    seconds: float
    cpu_s: float
    peak_mib: float
    """Of the largest of their processes."""
    files: int
    """That they wrote."""
    parts: int
    """Processes."""


@dataclass(frozen=True)
class Measured:
    """All stages with so many cases."""

    cases: int
    stages: dict[str, StageCost]
    killed_equal: bool
    """Whether stages that were killed and run again wrote the same bytes."""


def benchmark_scale(counts: Sequence[int], folder: Path, output: Path) -> None:
    """Measure a run at several sizes; print and save seconds, memory and files by stage.

    Args:
        counts: Cases, in rising order.
        folder: For the releases and runs; what is measured stays there. Must be new or empty.
        output: JSON file.

    Raises:
        KitError: `folder` holds something, a stage fails, or the recipe has fewer cases.
    """
    make_folder(folder)
    if any(folder.iterdir()):
        raise KitError(f"{folder} is not empty; give a new folder, or delete it")
    found = []
    for count in counts:
        place = lay_release(count, folder / str(count))
        found.append(Measured(count, _measured(place), _killed_equal(place)))
        _save(found, output)
    _show(found)


def lay_release(count: int, folder: Path) -> Laid:
    """Write a recipe with FLARE23's shares of `count` cases, and its release, into `folder`."""
    place = Laid(folder / "scale.toml", folder / "release", folder / "run")
    make_folder(folder)
    text = RECIPE.read_text(encoding="utf-8")
    for kind, cases in shares(count).items():
        text = re.sub(rf"(?m)^{kind} = \d+$", f"{kind} = {cases}", text)
    place.recipe.write_text(text, encoding="utf-8")
    # In a process of its own: the memory of this one is counted with the stages that it starts.
    process = get_context("spawn").Process(target=_draw, args=(place,))
    process.start()
    process.join()
    if process.exitcode:
        raise KitError(f"the release {place.release} could not be written; see above")
    return place


def _draw(place: Laid) -> None:
    """Write the release; of the abdomens `_DRAWN` are different."""
    from train.synthesis.phantom_release import from_shapes, load_phantoms, write_release

    phantoms, seed = load_phantoms(place.recipe)
    draw, drawn = from_shapes(phantoms), dict[tuple[bool, int], CtAndLabels]()

    def repeated(case: PhantomCase, seed: int) -> CtAndLabels:
        key = (case.tumour, seed % _DRAWN)
        if key not in drawn:
            drawn[key] = draw(case, seed)
        return drawn[key]

    write_release(phantoms, seed, repeated, place.release)


def shares(count: int) -> dict[str, int]:
    """Return how many cases of each kind there are among `count`, as among the recipe's.

    Raises:
        KitError: The recipe has fewer.
    """
    phantoms = phantoms_of(RECIPE)
    if phantoms is None:
        raise KitError(f"{RECIPE} has no [phantoms]; take the kit's own file")
    whole = {kind: int(getattr(phantoms, kind)) for kind in _KINDS}
    total = sum(whole.values())
    if not 0 < count <= total:
        raise KitError(f"{count} cases; choose from 1 to {total}, those with names of FLARE23's")
    found = {kind: max(1, round(count * of / total)) for kind, of in whole.items()}
    rest = count - sum(found.values())
    return found | {"partial": found["partial"] + rest}


def _measured(place: Laid) -> dict[str, StageCost]:
    """Run everything once, and return what it took, in the order in which it ran."""
    recipe = load_rounds(place.recipe)
    spent: dict[str, list[tuple[Spent, int]]] = {}

    def note(kind: str, took: Spent, files: int = 0) -> None:
        spent.setdefault(kind, []).append((took, files))
        click.echo(f"{place.run.parent.name}: {kind}: {took.seconds:.1f} s", err=True)

    plan = python("-m", "train", "estimate", place.recipe, "--release", place.release)
    note("plan", timed(plan))
    for stage in expand(recipe, scored=True):
        if stage.kind in FREE:
            lay_free_stage(recipe, stage, place.run)
            continue
        kind = f"{stage.kind} ({stage.round})" if stage.round else stage.kind
        took = timed(_stage_command(place, stage))
        note(kind, took, _files(place.run / stage.key))
    # Snakemake has seen none of these stages: their files are in the order that it asks for.
    note("run, nothing to do", timed(_command(place, "run")))
    page = place.run.parent / "audit"
    audit = [*_command(place, "audit"), "--round", "student", "-o", str(page)]
    took = timed(audit)
    note("audit", took, _files(page))
    return {kind: _summed(runs) for kind, runs in spent.items()}


def lay_free_stage(recipe: RoundsRecipe, stage: Stage, run: Path) -> None:
    """Put a network that costs nothing where stage `train` or `export` would put its own."""
    z, y, x = recipe.training.patch

    def make(folder: Path) -> None:
        write_free_network(folder, (z, y, x), recipe.spacing_mm)

    order = [other.key for other in expand(recipe, scored=True)]
    run_stage(Work(stage.key, run, {"place": order.index(stage.key)}, {}), make)


def _command(place: Laid, *words: str) -> list[str]:
    """Return a command about a run, with the options that say which."""
    command = python("-m", "train", *words, place.recipe, "--run", place.run)
    command += ["--release", str(place.release), "--truth", str(place.release / HIDDEN)]
    return [*command, "--source", f"{NEAR}={place.release / HIDDEN}"]


def _stage_command(place: Laid, stage: Stage) -> list[str]:
    command = _command(place, "stage", stage.kind)
    command += ["--round", stage.round] if stage.round else []
    return [*command, *([] if stage.part is None else ["--part", str(stage.part)])]


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def _summed(runs: Sequence[tuple[Spent, int]]) -> StageCost:
    return StageCost(
        round(sum(spent.seconds for spent, _ in runs), 2),
        round(sum(spent.cpu_s for spent, _ in runs), 2),
        round(max(spent.peak_mib for spent, _ in runs), 1),
        sum(files for _, files in runs),
        len(runs),
    )


def _killed_equal(place: Laid) -> bool:
    """Kill stages in the middle and run them again; return whether all outputs are as before."""
    stages = {stage.key: stage for stage in expand(load_rounds(place.recipe), scored=True)}
    equal = True
    for key in _KILLED:
        before = load_record(place.run / key / RECORD)["outputs"]
        digests_path(place.run, key).unlink()
        shutil.rmtree(place.run / key)
        _kill(_stage_command(place, stages[key]), place.run / f"{key}.partial")
        if (place.run / key).exists():
            raise KitError(f"stage {key} was done before it could be killed; give more cases")
        timed(_stage_command(place, stages[key]))
        equal &= load_record(place.run / key / RECORD)["outputs"] == before
    return equal


def _kill(command: Sequence[str], partial: Path) -> None:
    """Start a stage, and kill it when it has begun to work."""
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet) as process:
        while process.poll() is None and not partial.exists():
            time.sleep(_WAIT_S)
        process.send_signal(signal.SIGKILL)


def growth(found: Sequence[Measured]) -> Iterator[tuple[str, float, float]]:
    """Yield every stage's growth between the two largest sizes: 1 is as the number of cases.

    First of CPU seconds; then of those beyond what one case more cost between the two sizes before,
    which leaves out what starting costs; NaN with two sizes, or where nothing was spent before.
    """
    *_, before, last = found
    for kind, cost in last.stages.items():
        ratio = last.cases / before.cases
        whole = cost.cpu_s / max(before.stages[kind].cpu_s, 1e-9) / ratio
        steps = [
            (two.stages[kind].cpu_s - one.stages[kind].cpu_s) / (two.cases - one.cases)
            for one, two in pairwise(found[-3:])
        ]
        each = steps[1] / steps[0] if len(steps) == 2 and steps[0] > 0 else float("nan")
        yield kind, whole, each


def _save(found: Sequence[Measured], output: Path) -> None:
    """Write what is measured so far: the largest size takes longest."""
    rows = {} if len(found) < 2 else {kind: round(whole, 3) for kind, whole, _ in growth(found)}
    sizes = [asdict(one) for one in found]
    write_json({"cpu": cpu_name(), "sizes": sizes, "growth": rows}, output)


def _show(found: Sequence[Measured]) -> None:
    """Print a table a size, and how the stages grow."""
    for one in found:
        equal = "equal" if one.killed_equal else "NOT EQUAL"
        title = f"{one.cases} cases; killed and run again: {equal}"
        table = Table("stage", title=title)
        for name in ("parts", "seconds", "CPU s", "peak MiB", "files"):
            table.add_column(name, justify="right")
        for kind, cost in one.stages.items():
            numbers = (f"{cost.seconds:.1f}", f"{cost.cpu_s:.1f}", f"{cost.peak_mib:.0f}")
            table.add_row(kind, str(cost.parts), *numbers, str(cost.files))
        show_table(table, terminal())
    if len(found) > 1:
        table = Table("stage", title="CPU seconds, against the number of cases (1: as fast)")
        table.add_column("growth", justify="right")
        table.add_column("of one case more", justify="right")
        for kind, whole, each in growth(found):
            table.add_row(kind, f"{whole:.2f}", f"{each:.2f}")
        show_table(table, terminal())
