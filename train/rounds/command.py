"""Run a whole recipe with Snakemake."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imaging.digest import sha256
from imaging.errors import KitError
from imaging.files import make_folder
from imaging.records import write_json
from imaging.terminal import terminal, warn
from imaging.words import number_of
from train.data.release import release_files
from train.progress import last_lines
from train.rounds.cards import first_cards
from train.rounds.display import Display
from train.rounds.graph import Stage, expand
from train.rounds.records import digests_path, locked
from train.rounds.run import Run
from train.rounds.schedule import ON_CARD
from train.rounds.screen import show_decision
from train.rounds.watch import FAILED, RUNNING, log_path

ROOT = Path(__file__).parents[2]
SNAKEFILE = ROOT / "train" / "Snakefile"
_WITH_PARENT = (
    "import os; from train.network.parent_process import end_with_parent; "
    "end_with_parent(os.getppid()); "
    "from {} import main; main()"
)
_CARD_PRECISIONS = ("auto", "f32")
"""Those of the torch engine."""
_LOOK_S = 1.0
"""Between two looks at the stages."""
_END_S = 5.0
"""That Snakemake has to end its stages, or cancel them in a queue, after an interrupt."""
_TAIL_LINES = 10


@dataclass(frozen=True)
class Launch:
    """How a run is scheduled."""

    cores: int
    gpus: int = 1
    """With --device cuda: GPUs of this machine."""
    executor: str | None = None
    """A Snakemake executor, "slurm" for one; None: this machine."""
    jobs: int = 1
    """Jobs in a cluster's queue at once."""
    retries: int = 0
    """How often a stage that failed is tried again."""
    paranoid: bool = False
    """Whether every file is read for its digest, and the release once more."""


def run_recipe(run: Run, recipe: Path, launch: Launch) -> None:
    """Run every stage of a recipe that is not done, or no longer up to date.

    What it is doing is shown on stderr; what Snakemake and the stages say is in RUN/logs.

    Args:
        run: What to run.
        recipe: The file that its recipe was read from.
        launch: Where, and how much at once.

    Raises:
        KitError: Another process works on this run, a folder is missing, or a stage failed.
    """
    _check_folders(run)
    cards = _cards(run, launch)
    make_folder(run.folder / "logs")
    config = {
        "recipe": str(recipe.resolve()),
        "run": str(run.folder.resolve()),
        "release": str(run.release.resolve()),
        "truth": None if run.truth is None else str(run.truth.resolve()),
        "external": {name: str(folder.resolve()) for name, folder in run.external.items()},
        "device": run.device,
        "paranoid": launch.paranoid,
        "cards": cards,
    }
    with locked(run.folder / "lock"):
        write_json(config, run.folder / "config.json")
        display = Display(run, _slots(run, launch), terminal(stderr=True))
        # Snakemake repeats in one call whatever comes after a stage that it repeats. So `data` has
        # a call of its own: files that are newer but the same are checked again, and that is all.
        options, again = _options(run, launch), ["--forcerun", "data"] if launch.paranoid else []
        data = str(digests_path(run.folder.resolve(), "data"))
        _snakemake(run, display, [*options, *again, "--", data])
        if not run.recipe.stop.active:
            _snakemake(run, display, [*options, "--", "all"])
            return
        for count in range(1, len(run.recipe.rounds) + 1):
            _snakemake(run, display, [*options, "--", *_digests_of(run, count)])
            if not show_decision(run, count):
                return


def _digests_of(run: Run, count: int) -> list[str]:
    """Return the files by which Snakemake knows all stages of the first `count` rounds."""
    names = {step.name for step in run.recipe.rounds[:count]}
    stages = expand(run.recipe, scored=run.truth is not None)
    place = run.folder.resolve()
    return [str(digests_path(place, stage.key)) for stage in stages if stage.round in names]


def _slots(run: Run, launch: Launch) -> int:
    """Return how many parts of a labelling run at once."""
    if launch.executor:
        return launch.jobs
    return launch.gpus if run.device == "cuda" else _cpu_stages(run, launch)


def _cpu_stages(run: Run, launch: Launch) -> int:
    """Return how many stages without a card run at once: in what those with a card leave."""
    gpus = launch.gpus if run.device == "cuda" else 0
    return max(1, launch.cores // run.recipe.training.threads - gpus)


def _cards(run: Run, launch: Launch) -> tuple[str, ...]:
    """Return the names of the cards of a run on this machine; a cluster gives each stage its own.

    Raises:
        KitError: There are too few, or the recipe labels in a precision that is not for a card.
    """
    together, on_cards = run.recipe.training.gpus, run.device == "cuda"
    if together > (launch.gpus if on_cards else 1) and not (on_cards and launch.executor):
        raise KitError(
            f"recipe {run.recipe.name!r} trains each network on {together} GPUs together; give "
            f"--device cuda --gpus {together} or more, or set gpus = 1 in its [training]"
        )
    if not on_cards:
        return ()
    if run.recipe.precision not in _CARD_PRECISIONS:
        raise KitError(
            f"recipe {run.recipe.name!r} labels in {run.recipe.precision}; with --device cuda the "
            f"torch engine labels: set precision to {' or '.join(_CARD_PRECISIONS)}"
        )
    if launch.executor:
        return ()
    threads = run.recipe.training.threads
    if launch.cores < (wanted := launch.gpus * threads):
        stages = f"{number_of(launch.gpus, 'stage')} of {number_of(threads, 'thread')}"
        cores = number_of(launch.cores, "core")
        warn(
            f"{stages}, one a card, will share {cores}; give --cores {wanted} if there are as many"
        )
    return first_cards(launch.gpus)


def _snakemake(run: Run, display: Display, options: list[str]) -> None:
    """Run Snakemake into its log, and show what the stages do meanwhile."""
    command = [sys.executable, "-c", _WITH_PARENT.format("snakemake.cli"), *options]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = run.folder / "logs" / "snakemake.log"
    with log.open("ab") as stream, display.shown() as update:
        process = subprocess.Popen(command, env=variables, stdout=stream, stderr=stream)
        try:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_S)
                update()
        except BaseException:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
            process.kill()
            process.wait()
            raise
    if process.returncode:
        raise _failure(run, display, log)


def _failure(run: Run, display: Display, log: Path) -> KitError:
    """Show the last lines of the log of what failed; return the error that names it."""
    rows = display.watch.look()
    broken = [row.stage for row in rows if row.state == FAILED]
    # One that the system killed could not say so.
    broken = broken or [row.stage for row in rows if row.state == RUNNING]
    logs = [display.watch.log(stage) for stage in broken] or [log]
    for line in last_lines(logs[0], _TAIL_LINES):
        warn(line)
    what = ", ".join(stage.key for stage in broken) or "Snakemake"
    where = ", ".join(map(str, logs))
    return KitError(
        f"{run.recipe.name!r} is not done: {what} failed; see {where}; what is done stays"
    )


def _check_folders(run: Run) -> None:
    release_files(run.release)
    wanted = set(run.recipe.external)
    if missing := sorted(wanted - run.external.keys()):
        raise KitError(f"recipe {run.recipe.name!r} needs --source {missing[0]}=FOLDER")
    if unknown := sorted(run.external.keys() - wanted):
        raise KitError(f"recipe {run.recipe.name!r} takes no source {unknown[0]!r}")
    for name, folder in run.external.items():
        if not folder.is_dir():
            raise KitError(f"source {name!r}: {folder} is no folder")


def _options(run: Run, launch: Launch) -> list[str]:
    """Return Snakemake's options; `locked` takes the place of its lock, which outlives a kill.

    On this machine stages with a card are counted by cards alone, so that no other stage can take
    the cores that one of them waits for.
    """
    folder = run.folder
    options = ["--snakefile", str(SNAKEFILE), "--directory", str(folder / "snakemake"), "--nolock"]
    options += ["--configfile", str(folder.resolve() / "config.json")]
    options += ["--rerun-incomplete", "--rerun-triggers", "mtime", "params", "input"]
    options += ["--keep-going", "--retries", str(launch.retries)]
    if launch.executor is None:
        gpus, others = launch.gpus if run.device == "cuda" else 0, _cpu_stages(run, launch)
        cores = (gpus + others) * run.recipe.training.threads
        counts = ["--resources", f"gpu={gpus}", f"cpu_stage={others}"]
        return [*options, "--cores", str(cores), *counts]
    return [*options, "--executor", launch.executor, "--jobs", str(launch.jobs)]


def stage_command(stage: Stage, config: Mapping[str, Any]) -> str:
    """Return the shell command of one stage, which ends when Snakemake is killed.

    What it says goes to its log; `exec` leaves no shell between Snakemake and the stage.
    """
    words = [sys.executable, "-c", _WITH_PARENT.format("train.cli"), "stage", stage.kind]
    words += [config["recipe"], "--run", config["run"], "--release", config["release"]]
    words += ["--device", config["device"]]
    for option, value in (
        ("--cards", ",".join(config["cards"]) if stage.kind in ON_CARD else ""),
        ("--round", stage.round),
        ("--part", "" if stage.part is None else str(stage.part)),
        ("--truth", config["truth"]),
    ):
        words += [option, value] if value else []
    words += ["--paranoid"] if config["paranoid"] else []
    for name, folder in sorted(config["external"].items()):
        words += ["--source", f"{name}={folder}"]
    log = shlex.quote(str(log_path(Path(config["run"]), stage.key)))
    return f"cd {shlex.quote(str(ROOT))} && exec {shlex.join(words)} >>{log} 2>&1"


def files_stamp(stage: Stage, config: Mapping[str, Any]) -> str:
    """Return a digest of names, sizes and times of the files from outside that a stage reads.

    When it changes, the stage is stale; stages after it only if its outcome is another one then.
    """
    files: list[Path] = []
    if stage.kind == "data":
        files += release_files(Path(config["release"]))
    elif stage.kind == "score":
        files += sorted(Path(config["truth"]).glob("*.nii.gz"))
    for name in stage.external:
        files += sorted(Path(config["external"][name]).glob("*.nii.gz"))
    stats = [(path.name, path.stat()) for path in files]
    rows = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    return sha256("\n".join(rows).encode()) if rows else ""
