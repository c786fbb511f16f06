"""Where and when a run was done, and its new values put in the place of the old."""

import os
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from evaluation.claims.table import ClaimedRun, ClaimsTable, Pointer
from imaging.digest import file_sha256
from imaging.files import replacing
from imaging.machine import cpu_name


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


def made_here(run: ClaimedRun, root: Path) -> ClaimedRun:
    """Return a run as it is when it has just been done on this machine."""
    inputs = {file: file_sha256(root / file) for file in run.inputs}
    machine, date, commit = here(root)
    return replace(run, inputs=inputs, machine=machine, date=date, commit=commit)


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
    run = made_here(table.runs[name], root)
    if run.results:
        with replacing(root / run.results) as partial:
            shutil.copyfile(made, partial)
    values = {place: new.get(place, value) for place, value in run.values.items()}
    return replace(table, runs={**table.runs, name: replace(run, values=values)})
