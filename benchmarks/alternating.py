"""Run commands in turn, so that whatever else the machine does falls on all of them alike."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import KitError

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Timing:
    """Runs of one command."""

    seconds: tuple[float, ...]
    peak_mib: tuple[float, ...]
    """Largest resident memory of the process."""

    @property
    def median_s(self) -> float:
        """Median of the seconds."""
        return statistics.median(self.seconds)

    @property
    def median_mib(self) -> float:
        """Median of the peaks."""
        return statistics.median(self.peak_mib)


def alternate(
    commands: Mapping[str, Sequence[str]],
    repeats: int,
    done: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Run each command `repeats` times, one after the other, in the repository's root.

    Raises:
        KitError: A command fails.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            found[name].append(_timed(command))
            done()
    return {name: Timing(*zip(*runs, strict=True)) for name, runs in found.items()}


def python(*arguments: str | float | Path) -> list[str]:
    """Return the command that gives `arguments` to this very Python."""
    return [sys.executable, *map(str, arguments)]


def _timed(command: Sequence[str]) -> tuple[float, float]:
    """Return the wall seconds and the peak MiB of one run."""
    start_s = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        errors = process.stderr.read() if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start_s
    if process.returncode:
        raise KitError(f"{' '.join(command)} ended with {process.returncode}: {errors[-500:]}")
    return seconds, usage.ru_maxrss / 1024
