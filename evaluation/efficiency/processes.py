"""A command as a job: started in a fresh folder, its whole process tree measured and ended."""

import contextlib
import os
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import psutil

from evaluation.efficiency.sampling import MIB
from inference.errors import KitError

_CLOSE = 0.02
"""Share of the memory by which its bounds may differ."""
_WALKING = 0.05
"""Share of the time that the kernel may spend on proportional set sizes."""
_EXIT_S = 5.0
"""How long killed processes may take to go."""
_LOOK_S = 0.01


class Job(Protocol):
    """What is timed: a command in a folder, or a container."""

    def start(self, stdout: IO[bytes], stderr: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start it.

        Raises:
            KitError: The system refuses to.
        """

    def own_ram_mib(self) -> float | None:
        """Return the memory that it uses now; None where there is nothing to see (yet)."""

    def close(self) -> None:
        """End whatever of it is still there."""


@dataclass(frozen=True)
class Workspace:
    """A folder as the official container sees it: /workspace with `inputs` and `outputs`."""

    folder: Path

    @property
    def inputs(self) -> Path:
        """Holds the one case, or all of them."""
        return self.folder / "inputs"

    @property
    def outputs(self) -> Path:
        """Empty at the start; anyone may write here, as in the official runner."""
        return self.folder / "outputs"

    def fill(self, *cts: Path) -> None:
        """Make both folders and copy `cts` into the first."""
        self.inputs.mkdir()
        self.outputs.mkdir()
        self.outputs.chmod(0o777)
        for ct in cts:
            shutil.copyfile(ct, self.inputs / ct.name)


class CommandJob:
    """A command whose working folder is a fresh view of the user's.

    Everything in the user's folder is linked into the workspace but `inputs` and `outputs`. So
    `sh predict.sh`, which labels the `inputs` beside it, meets the one case that is timed.
    """

    def __init__(
        self, command: Sequence[str], workspace: Workspace, gpu_uuid: str | None = None
    ) -> None:
        places = {"{inputs}": str(workspace.inputs), "{outputs}": str(workspace.outputs)}
        self._command = [_substitute(word, places) for word in command]
        self._folder = workspace.folder
        self._environment = dict(os.environ)
        if gpu_uuid is not None:
            self._environment["CUDA_VISIBLE_DEVICES"] = gpu_uuid
        self._process: subprocess.Popen[bytes] | None = None
        self._tree: ProcessTree | None = None
        for entry in Path.cwd().iterdir():
            if entry.name not in {"inputs", "outputs"}:
                (workspace.folder / entry.name).symlink_to(entry)

    def start(self, stdout: IO[bytes], stderr: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start the command as the leader of its own session."""
        try:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            raise KitError(f"cannot start {self._command[0]}: {error.strerror}") from error
        self._tree = ProcessTree(self._process.pid)
        return self._process

    def own_ram_mib(self) -> float | None:
        """Return the resident memory of the process tree."""
        return None if self._tree is None else self._tree.ram_mib()

    def close(self) -> None:
        """Kill what is left of the tree."""
        if self._process is None or self._tree is None:
            return
        self._tree.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_S)


def check_command(command: Sequence[str]) -> None:
    """Refuse a command that cannot be run from here.

    Raises:
        KitError: There is no such program, or it may not be run.
    """
    if shutil.which(command[0]) is None:
        why = "may not be executed" if Path(command[0]).exists() else "is not found"
        raise KitError(
            f"command {command[0]} {why}; check its name and rights, or use `sh {command[0]}`"
        )


def wait(process: "subprocess.Popen[bytes]", timeout_s: float) -> bool:
    """Wait for the end of a process; False where it takes longer.

    `Popen.wait` with a time limit looks every 0.05 s only, which would be part of every timing.
    """
    descriptor = os.pidfd_open(process.pid)
    try:
        ended = bool(select.select([descriptor], [], [], timeout_s)[0])
    finally:
        os.close(descriptor)
    if ended:
        process.wait()
    return ended


class ProcessTree:
    """A process that leads a session, and everything that it started.

    A descendant counts also after its parent has ended and after it has left the session, unless it
    did both between two looks. Only processes that are new since the last look are examined: a
    sample should cost the measured command as little as possible.
    """

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._ours = {leader: psutil.Process(leader)}
        self._others: set[int] = set()
        self._unshared = 1.0
        """Share of the summed resident sets that is left when what is shared counts once."""
        self._next_walk_s = 0.0

    def members(self) -> list[psutil.Process]:
        """Return the processes that are alive now."""
        pids = set(psutil.pids())
        self._others &= pids
        for pid in sorted(pids - self._others - self._ours.keys()):
            process = self._adopt(pid)
            if process is None:
                self._others.add(pid)
            else:
                self._ours[pid] = process
        return [process for pid, process in self._ours.items() if pid in pids and _alive(process)]

    def ram_mib(self) -> float:
        """Return the memory of all members, what they share counted once.

        The largest resident set and the sum of all bound it. Where they are close, the sum is
        taken. Elsewhere (forked workers) it is the sum of the proportional set sizes, for which the
        kernel walks through every page and stops the process from mapping memory meanwhile. So that
        looking takes no more than a twentieth of one core, between two walks the sum is scaled by
        what was shared at the last.
        """
        members = self.members()
        resident = [_resident(process) for process in members]
        total = sum(resident)
        if total - max(resident, default=0) <= _CLOSE * total:
            return total / MIB
        start_s = time.monotonic()
        if start_s >= self._next_walk_s:
            self._unshared = sum(_proportional(process) for process in members) / total
            end_s = time.monotonic()
            self._next_walk_s = end_s + (end_s - start_s) / _WALKING
        return total * self._unshared / MIB

    def kill(self) -> None:
        """End every member; those that are started meanwhile too."""
        latest_s = time.monotonic() + _EXIT_S
        while time.monotonic() < latest_s:
            alive = self.members()
            if not alive:
                return
            for process in alive:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            time.sleep(_LOOK_S)

    def _adopt(self, pid: int) -> psutil.Process | None:
        """Return the process if it is in the session or a child of ours."""
        try:
            process = psutil.Process(pid)
            if os.getsid(pid) == self._leader or process.ppid() in self._ours:
                return process
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass
        return None


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _proportional(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has ended, or runs as another user
        return _resident(process)


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _substitute(word: str, places: dict[str, str]) -> str:
    for name, path in places.items():
        word = word.replace(name, path)
    return word
