"""Repeat runs on this machine, and compare what they give now with what is claimed."""

import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from evaluation.claims.table import Claim, ClaimedRun, ClaimsTable, Pointer, values_of
from imaging.digest import file_sha256
from imaging.errors import KitError
from imaging.files import replacing
from imaging.machine import cpu_name

NEEDS = ("data", "gpu", "docker", "hours", "idle machine", "older weights", "not repeatable")
"""What a run may need: the real CTs, a GPU, Docker, hours, a machine that does nothing else, or
weights that are no more; "not repeatable": it depends on others, or was done once by hand."""
DATA = "FLARE23_DATA"
"""Environment variable with the folder of the real CTs; else shared/data beside the repository."""


@dataclass(frozen=True)
class Repeated:
    """A claim, and the value that a repetition of its run gave, in the page's unit."""

    claim: Claim
    old: float
    new: float | None
    """None where the repetition has no such value."""

    @property
    def holds(self) -> bool:
        """Whether the new value is within the claim's tolerance, or its last digit."""
        if self.new is None:
            return False
        return abs(self.new - self.old) <= self.claim.tolerance + 1e-9 * abs(self.old)


def matching(table: ClaimsTable, pattern: str) -> list[Claim]:
    """Return the claims with `pattern` in page, words, run or command; capitals do not count."""
    sought = pattern.lower()
    return [
        claim
        for claim in table.claims
        if sought in f"{claim.page} {claim.what} {claim.run} {claim.value}".lower()
    ]


def data_folder(root: Path) -> Path:
    """Return where the real CTs are, or would be."""
    return Path(os.environ.get(DATA, root.parent / "shared" / "data"))


def cannot(run: ClaimedRun, root: Path, *, idle: bool = True) -> str:
    """Say why a run cannot be repeated here; "" if it can.

    Args:
        run: The run.
        root: The repository's root.
        idle: Whether runs that need an idle machine may be repeated.
    """
    reasons = {
        "data": "" if (data_folder(root) / "ct").is_dir() else f"no real CTs here; set {DATA}",
        "docker": "" if shutil.which("docker") else "Docker is not installed",
        "idle machine": "" if idle else "needs an idle machine",
        "hours": "takes hours: its command is in the list",
        "gpu": "needs a GPU: its command is in the list",
        "older weights": "is of weights that are no more",
        "not repeatable": "is not repeatable here",
    }
    for need in run.needs:
        if need not in reasons:
            raise KitError(f"claims: unknown need {need!r}; choose from {', '.join(NEEDS)}")
        if reasons[need]:
            return reasons[need]
    return "" if run.again else "no script repeats it: its command is in the list"


@contextmanager
def repeated(table: ClaimsTable, root: Path, name: str) -> Iterator[Path]:
    """Repeat a run; yield the new results file, which is deleted at the end of the block.

    Args:
        table: The claims.
        root: The repository's root, where the script runs.
        name: The run.

    Raises:
        KitError: The script fails, or leaves no results.
    """
    run = table.runs[name]
    with tempfile.TemporaryDirectory(prefix="claims_") as folder:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(root),
            "DATA": str(data_folder(root)),
            "OUT": folder,
        }
        done = subprocess.run(
            ["sh", "-e", "-c", run.again],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        made = Path(folder) / run.made
        if done.returncode or not made.is_file():
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise KitError(f"run {name} failed with exit code {done.returncode}: {last}")
        yield made


def compared(
    table: ClaimsTable, root: Path, claims: list[Claim], new: dict[Pointer, float]
) -> Iterator[Repeated]:
    """Yield each claim of one run with its old and its new value, but those by hand."""
    for claim in claims:
        if claim.by_hand:
            continue
        old = values_of(table.runs[claim.run], root).get(claim.value, math.nan) * claim.times
        now = new.get(claim.value)
        yield Repeated(claim, old, None if now is None else now * claim.times)


def here(root: Path) -> tuple[str, str, str]:
    """Return machine, date and commit of what is done now."""
    machine = f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores"
    return machine, datetime.now(UTC).date().isoformat(), _commit(root)


def _commit(root: Path) -> str:
    """Return the short name of the commit; "unknown" without git."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def with_new_values(
    table: ClaimsTable, root: Path, name: str, made: Path, new: dict[Pointer, float]
) -> ClaimsTable:
    """Put the results of a repetition in the place of the old ones.

    Args:
        table: The claims.
        root: The repository's root.
        name: The run.
        made: The new results file; it replaces the old one where the run has one.
        new: Its values.

    Raises:
        KitError: The results file cannot be written.
    """
    run = table.runs[name]
    if run.results:
        with replacing(root / run.results) as partial:
            shutil.copyfile(made, partial)
    values = {place: new.get(place, value) for place, value in run.values.items()}
    inputs = {file: file_sha256(root / file) for file in run.inputs}
    machine, date, commit = here(root)
    run = replace(run, machine=machine, date=date, commit=commit, values=values, inputs=inputs)
    return replace(table, runs={**table.runs, name: run})
