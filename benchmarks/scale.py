"""What grows faster than the number of cases: whole runs on 100, 1,000 and 4,000 cases.

The cases are tiny, their names, folders, partial labels and counts FLARE23's. Networks are never
trained: stages `train` and `export` make one that costs nothing, so that all else is seen.
"""

import os
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from benchmarks.alternating import ROOT, python
from benchmarks.run_cost import BETWEEN, RunCost, kill_when, run_costs
from benchmarks.scale_table import Killed, Measured, StageCost, save_sizes, show_sizes
from evaluation.efficiency.sampling import MIB
from imaging.digest import file_sha256
from imaging.errors import KitError
from imaging.files import make_folder
from train.data.release import IMAGE_SUFFIX, release_files
from train.rounds.graph import Stage, expand
from train.rounds.recipe import load_rounds
from train.rounds.records import RECORD, digests_path, load_record
from train.rounds.verify import compare_runs
from train.synthesis.phantom_release import (
    HIDDEN,
    CtAndLabels,
    PhantomCase,
    from_shapes,
    load_phantoms,
    phantoms_of,
    write_release,
)

RECIPE = ROOT / "train" / "recipes" / "scale.toml"
NEAR = "near"
"""The recipe's external source."""
_ROUND = "student"
"""The recipe's last, which is audited."""
_ENTRY = "from benchmarks.free_rounds import main; main()"
_STARTING = "starting stages"
"""Snakemake, and `train run` itself."""
_KINDS = ("complete", "partial", "unlabelled", "validation")
_DRAWN = 25
"""Abdomens that are drawn, with tumours and without."""


@dataclass(frozen=True)
class Laid:
    """Where one size is measured."""

    recipe: Path
    release: Path
    run: Path
    audit: Path


def benchmark_scale(
    counts: Sequence[int], folder: Path, output: Path, *, kills: int, ct_mib: int | None = None
) -> None:
    """Measure runs of several sizes; print and save what they took, stage by stage.

    Args:
        counts: Cases, in rising order.
        folder: For the releases and runs; what is measured stays there. Must be new or empty.
        output: JSON file.
        kills: How often a second run of each size is killed before it may end; 0: there is none.
        ct_mib: Size to which every CT's file is filled up; None: as it is.

    Raises:
        KitError: `folder` holds something, a run fails, or the recipe has fewer cases.
    """
    make_folder(folder)
    if any(folder.iterdir()):
        raise KitError(f"{folder} is not empty; give a new folder, or delete it")
    found = []
    for count in counts:
        place = lay_release(count, folder / str(count), ct_mib)
        size = sum(path.stat().st_size for path in release_files(place.release)) / MIB
        stages = _measured(place)
        killed = _killed_and_continued(place, kills) if kills else None
        found.append(Measured(count, round(size, 1), stages, killed))
        save_sizes(found, output)
    show_sizes(found)


def lay_release(count: int, folder: Path, ct_mib: int | None = None) -> Laid:
    """Write a recipe with FLARE23's shares of `count` cases, and its release, into `folder`."""
    place = Laid(
        folder / "scale.toml", folder / "release", folder / "run", folder / "audit" / _ROUND
    )
    make_folder(folder)
    text = RECIPE.read_text(encoding="utf-8")
    for kind, cases in shares(count).items():
        text = re.sub(rf"(?m)^{kind} = \d+$", f"{kind} = {cases}", text)
    place.recipe.write_text(text, encoding="utf-8")
    _draw(place)
    if ct_mib is not None:
        _fill_up(place.release, ct_mib * MIB)
    return place


def _draw(place: Laid) -> None:
    """Write the release; of the abdomens `_DRAWN` are different."""
    phantoms, seed = load_phantoms(place.recipe)
    draw, drawn = from_shapes(phantoms), dict[tuple[bool, int], CtAndLabels]()

    def repeated(case: PhantomCase, seed: int) -> CtAndLabels:
        key = (case.tumour, seed % _DRAWN)
        if key not in drawn:
            drawn[key] = draw(case, seed)
        return drawn[key]

    write_release(phantoms, seed, repeated, place.release)


def _fill_up(release: Path, size: int) -> None:
    """Give every CT's file a size, by zeros behind its end that take no room on the disk.

    Files with the same bytes become one with several names, so that they fit into memory.
    """
    same: dict[str, Path] = {}
    for path in sorted(release.glob(f"*/*{IMAGE_SUFFIX}")):
        first = same.setdefault(file_sha256(path), path)
        if first != path:
            path.unlink()
            path.hardlink_to(first)
    for path in same.values():
        os.truncate(path, size)


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
    """Run everything once, and return what it took, by kind of stage and by command."""
    plan = python("-m", "train", "estimate", place.recipe, "--release", place.release)
    found = {"plan": _of_command(place, "plan", plan)}
    run = _command(place, "run", "--cores", "1")
    costs = run_costs(run)
    stages = expand(load_rounds(place.recipe), scored=True)
    for kind in dict.fromkeys(map(_kind, stages)):
        of = [stage.key for stage in stages if _kind(stage) == kind]
        found[kind] = _summed([costs[key] for key in of], sum(map(_files, _in(place, of))))
        _say(place, kind, found[kind])
    others = _files(place.run) - sum(cost.files for cost in found.values())
    found[_STARTING] = _summed([costs[BETWEEN]], others)
    _say(place, _STARTING, found[_STARTING])
    found["run, nothing to do"] = _of_command(place, "nothing to do", run)
    found["run --paranoid"] = _of_command(place, "paranoid", [*run, "--paranoid"])
    found["audit"] = _of_command(place, "audit", _audit(place), place.audit)
    return found


def _command(place: Laid, *words: str) -> list[str]:
    """Return a command about a run, with the options that say which."""
    first, *others = words
    command = python("-c", _ENTRY, first, place.recipe, "--run", place.run)
    command += ["--release", str(place.release), "--truth", str(place.release / HIDDEN)]
    return [*command, "--source", f"{NEAR}={place.release / HIDDEN}", *others]


def _audit(place: Laid) -> list[str]:
    options = ("--round", _ROUND, "--jobs", "1", "-o", str(place.audit))
    return _command(place, "audit", *options)


def _kind(stage: Stage) -> str:
    return f"{stage.kind} ({stage.round})" if stage.round else stage.kind


def _in(place: Laid, keys: Sequence[str]) -> list[Path]:
    return [place.run / key for key in keys]


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def _of_command(
    place: Laid, name: str, command: Sequence[str], written: Path | None = None
) -> StageCost:
    """Run a command, and return what it took, whatever stages it ran."""
    costs = run_costs(command)
    found = replace(_summed([*costs.values()], 0 if written is None else _files(written)), parts=1)
    _say(place, name, found)
    return found


def _summed(costs: Sequence[RunCost], files: int) -> StageCost:
    return StageCost(
        round(sum(cost.seconds for cost in costs), 2),
        round(sum(cost.cpu_s for cost in costs), 2),
        round(max(cost.peak_mib for cost in costs), 1),
        round(sum(cost.read_mib for cost in costs), 1),
        files,
        len(costs),
    )


def _say(place: Laid, name: str, cost: StageCost) -> None:
    click.echo(f"{place.run.parent.name}: {name}: {cost.seconds:.1f} s", err=True)


def _killed_and_continued(place: Laid, kills: int) -> Killed:
    """Kill a second run in the middle of stages that are drawn, then let the same command end it.

    Raises:
        KitError: The run was done before.
    """
    twin = replace(place, run=place.run.with_name("killed"), audit=place.audit.with_name("killed"))
    stages = [stage.key for stage in expand(load_rounds(place.recipe), scored=True)]
    draws, killed = random.Random(len(release_files(place.release))), list[str]()
    command = _command(twin, "run", "--cores", "1")
    for _ in range(kills):
        rest = [key for key in stages if not digests_path(twin.run, key).is_file()]
        key = draws.choice(rest[: (len(rest) + 1) // 2])  # what is left is for the next kills
        after_s = draws.random() * load_record(place.run / key / RECORD)["seconds"]
        if not kill_when(command, _is_there(twin.run / f"{key}.partial", after_s)):
            raise KitError(f"the run was done before stage {key} could be killed; give more cases")
        cut = [path.relative_to(twin.run).as_posix() for path in twin.run.rglob("*.partial")]
        killed.append(", ".join(sorted(cut)).replace(".partial", "") or f"after {key}")
        click.echo(f"{place.run.parent.name}: killed in {killed[-1]}", err=True)
    for last in (command, _audit(twin)):
        run_costs(last)
    equal, difference = compare_runs(place.run, twin.run)
    what = None if difference is None else f"{difference.stage}: {difference.what}"
    first, second = (file_sha256(one.audit / "audit.json") for one in (place, twin))
    return Killed(tuple(killed), equal, what or (None if first == second else "audit.json"))


def _is_there(path: Path, after_s: float) -> Callable[[], bool]:
    """Return what tells whether a path has been there for so many seconds."""
    since_s: list[float] = []

    def is_time() -> bool:
        if not since_s and path.exists():
            since_s.append(time.monotonic())
        return bool(since_s) and time.monotonic() - since_s[0] >= after_s

    return is_time
