"""Run commands in turn, so that whatever else the machine does falls on all of them alike."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

from imaging.errors import KitError

P = ParamSpec("P")
T = TypeVar("T")
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


@dataclass(frozen=True)
class Spent:
    """What one run of a command took."""

    seconds: float
    cpu_s: float
    """Of its processes together; what else the machine does hardly changes it."""
    peak_mib: float
    """Largest resident memory of any one of its processes; at least that of this process."""


def alternate(
    commands: Mapping[str, Sequence[str]],
    repeats: int,
    done: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Run each command `repeats` times, one after the other, in the repository's root.

    Raises:
        KitError: A command fails.
    """
    found: dict[str, list[Spent]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            found[name].append(timed(command))
            done()
    return {
        name: Timing(tuple(run.seconds for run in runs), tuple(run.peak_mib for run in runs))
        for name, runs in found.items()
    }


def in_own_process(call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Return what a function returns that is called in a process of its own.

    That has this one's environment, and nothing of its memory.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *arguments, **named).result()


def python(*arguments: str | float | Path) -> list[str]:
    """Return the command that gives `arguments` to this very Python."""
    return [sys.executable, *map(str, arguments)]


def timed(command: Sequence[str]) -> Spent:
    """Run a command in the repository's root, and return what it took.

    Raises:
        KitError: It fails.
    """
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
    return Spent(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
