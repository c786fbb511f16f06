"""Run a whole recipe: Snakemake decides what is to be done, and where."""

import fcntl
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import KitError
from inference.files import make_folder
from train.rounds.plan import Stage
from train.rounds.recipe import RoundsRecipe

ROOT = Path(__file__).parents[2]
SNAKEFILE = ROOT / "train" / "Snakefile"


@dataclass(frozen=True)
class Launch:
    """How a run is scheduled."""

    cores: int
    executor: str | None = None
    """A Snakemake executor, "slurm" for one; None: this machine."""
    jobs: int = 1
    """Jobs in a cluster's queue at once."""
    retries: int = 0
    """How often a stage that failed is tried again."""
    mem_mb: int = 16000
    runtime_min: int = 2880
    """What a stage asks of a cluster."""


def stage_command(stage: Stage, config: Mapping[str, Any]) -> str:
    """Return the shell command that runs one stage with the run's settings."""
    words = [sys.executable, "-m", "train", "stage", stage.kind, config["recipe"]]
    words += ["--run", config["run"], "--release", config["release"], "--device", config["device"]]
    if stage.round:
        words += ["--round", stage.round]
    if stage.part is not None:
        words += ["--part", str(stage.part)]
    if config["truth"]:
        words += ["--truth", config["truth"]]
    for name, folder in sorted(config.get("external", {}).items()):
        words += ["--source", f"{name}={folder}"]
    return f"cd {shlex.quote(str(ROOT))} && " + shlex.join(str(word) for word in words)


def run_recipe(
    recipe: RoundsRecipe,
    path: Path,
    run: Path,
    release: Path,
    truth: Path | None,
    external: Mapping[str, Path],
    device: str,
    launch: Launch,
) -> None:
    """Run every stage of `recipe` that is not done, or no longer up to date.

    Raises:
        KitError: Another process works on this run, an external source is missing, or a stage
            failed.
    """
    _check_external(recipe, external)
    make_folder(run)
    config = {
        "recipe": str(path.resolve()),
        "run": str(run.resolve()),
        "release": str(release.resolve()),
        "truth": "" if truth is None else str(truth.resolve()),
        "external": {name: str(folder.resolve()) for name, folder in external.items()},
        "device": device,
        "threads": recipe.training.threads,
        "retries": launch.retries,
        "mem_mb": launch.mem_mb,
        "runtime_min": launch.runtime_min,
    }
    with _locked(run):
        place = ["--directory", str(run / "snakemake")]
        command = [*_snakemake(launch), *place, "--config", *_words(config)]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise KitError(f"a stage of {recipe.name!r} failed; its reason is above, the rest is kept")


def _snakemake(launch: Launch) -> list[str]:
    words = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--nolock"]
    words += [
        "--rerun-incomplete",
        "--keep-going",
        "--quiet",
        "rules",
        "--cores",
        str(launch.cores),
    ]
    words += ["--rerun-triggers", "mtime", "params", "input"]
    if launch.executor is not None:
        words += ["--executor", launch.executor, "--jobs", str(launch.jobs)]
    return words


def _words(config: Mapping[str, Any]) -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, dict):
            inner = ", ".join(f"'{name}': '{folder}'" for name, folder in value.items())
            value = "{" + inner + "}"
        yield f"{key}={value}"


def _check_external(recipe: RoundsRecipe, external: Mapping[str, Path]) -> None:
    if missing := [name for name in recipe.external if name not in external]:
        raise KitError(f"recipe {recipe.name!r} needs --source {missing[0]}=FOLDER")
    if unknown := sorted(external.keys() - set(recipe.external)):
        raise KitError(f"recipe {recipe.name!r} takes no source {unknown[0]!r}")
    for name, folder in external.items():
        if not folder.is_dir():
            raise KitError(f"source {name!r}: {folder} is no folder")


@contextmanager
def _locked(run: Path) -> Iterator[None]:
    """Keep others out of the run folder; the system lets go when this process ends, however."""
    with (run / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise KitError(f"another process works on {run}; wait for it, or end it") from error
        yield
