"""What a run takes while each of its stages runs: seconds, memory and bytes of all its processes.

Nothing is added to what runs: its processes are looked at from outside, ten times a second.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from tempfile import TemporaryFile

import psutil

from benchmarks.alternating import ROOT
from evaluation.efficiency.process_tree import ProcessTree, adopting_orphans
from evaluation.efficiency.sampling import INTERVAL_S, MIB
from imaging.errors import KitError
from train.rounds.graph import Stage

BETWEEN = ""
"""While no stage runs: what starts them, and a command that has none."""
_LOOK_S = 0.005
"""Between two looks for what is waited for."""


@dataclass
class RunCost:
    """What was taken while one stage ran, by all processes of the run."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0
    """Of all processes together; what they share counts once."""
    read_mib: float = 0.0
    """That they asked the system to read, from files that lie in memory too."""


def run_costs(command: Sequence[str]) -> dict[str, RunCost]:
    """Run a command in the repository's root, and return what it took by the key of its stages.

    Where several stages run at once, all is counted with one of them.

    Raises:
        KitError: It fails.
    """
    found: dict[str, RunCost] = {}
    with _started(command) as (process, tree):
        before, before_s, seen = _Totals(), time.perf_counter(), BETWEEN
        while process.poll() is None:
            members = tree.members()
            now, now_s, running = before.raised(members), time.perf_counter(), _stage_of(members)
            cost = found.setdefault(running or seen, RunCost())
            cost.seconds += now_s - before_s
            cost.cpu_s += now.cpu_s - before.cpu_s
            cost.read_mib += now.read_mib - before.read_mib
            cost.peak_mib = max(cost.peak_mib, tree.ram_mib())
            before, before_s, seen = now, now_s, running
            time.sleep(INTERVAL_S)
        if process.returncode < 0:
            raise KitError(f"{' '.join(command)} was killed by signal {-process.returncode}")
    return found


def kill_when(command: Sequence[str], is_time: Callable[[], bool]) -> bool:
    """Run a command, and kill its process group (SIGKILL) as soon as it is time.

    Returns:
        Whether it was killed; else it had ended before.

    Raises:
        KitError: It fails before.
    """
    with _started(command) as (process, _):
        while process.poll() is None:
            if is_time():
                os.killpg(process.pid, signal.SIGKILL)
                return process.wait() == -signal.SIGKILL
            time.sleep(_LOOK_S)
    return False


@contextmanager
def _started(
    command: Sequence[str],
) -> Iterator[tuple["subprocess.Popen[bytes]", ProcessTree]]:
    """Start a command in the repository's root as the leader of a session and a process group.

    At the end of the block all that is left of it is killed.

    Raises:
        KitError: It fails.
    """
    with adopting_orphans(), TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        tree = ProcessTree(process.pid)
        try:
            yield process, tree
        finally:
            tree.kill()
            process.wait()
        if process.returncode > 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace")[-500:]
            raise KitError(f"{' '.join(command)} ended with {process.returncode}: {said}")


@dataclass(frozen=True)
class _Totals:
    """Of processes, and of those that they started and that have ended."""

    cpu_s: float = 0.0
    read_mib: float = 0.0

    def raised(self, members: Sequence[psutil.Process]) -> "_Totals":
        """Return those of `members` now, never less than before.

        A process that has ended counts nowhere until its parent has asked for its end.
        """
        cpu_s, read_bytes = 0.0, 0
        for process in members:
            with suppress(psutil.Error):  # it has ended
                times = process.cpu_times()
                cpu_s += times.user + times.system + times.children_user + times.children_system
                read_bytes += process.io_counters().read_chars
        return _Totals(max(cpu_s, self.cpu_s), max(read_bytes / MIB, self.read_mib))


def _stage_of(members: Sequence[psutil.Process]) -> str:
    """Return the key of a stage that runs, or BETWEEN."""
    for process in members:
        with suppress(psutil.Error):
            if (key := key_in(process.cmdline())) != BETWEEN:
                return key
    return BETWEEN


def key_in(words: Sequence[str]) -> str:
    """Return the key of the stage that a command line of `train stage` runs; BETWEEN for others."""
    following = dict(pairwise(words))
    if "stage" not in following:
        return BETWEEN
    part = following.get("--part")
    number = None if part is None else int(part)
    return Stage(following.get("--round", ""), following["stage"], number, ()).key
