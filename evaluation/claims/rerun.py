"""Repeat runs on this machine, and compare what they give now with what is claimed."""

import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaluation.claims.table import Claim, ClaimedRun, ClaimsTable, Pointer, values_of
from imaging.errors import KitError

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


def by_hand(claim: Claim, table: ClaimsTable) -> bool:
    """Tell whether a value was taken from the page's words, so that no file has its new value."""
    return claim.value.removeprefix("/") in table.runs[claim.run].values


def compared(
    table: ClaimsTable, root: Path, claims: list[Claim], new: dict[Pointer, float]
) -> Iterator[Repeated]:
    """Yield each claim of one run with its old and its new value, but those `by_hand`."""
    for claim in claims:
        if by_hand(claim, table):
            continue
        old = values_of(table.runs[claim.run], root).get(claim.value, math.nan) * claim.times
        now = new.get(claim.value)
        yield Repeated(claim, old, None if now is None else now * claim.times)
