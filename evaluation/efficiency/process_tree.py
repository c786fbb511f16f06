"""Everything that a process started, also what left it: its memory, its end."""

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator

import psutil

from evaluation.efficiency.sampling import MIB
from imaging.errors import KitError

EXIT_S = 5.0
"""How long killed processes may take to go."""
_CLOSE = 0.02
"""Share of the memory by which its bounds may differ."""
_WALKING = 0.05
"""Share of the time that the kernel may spend on proportional set sizes."""
_LOOK_S = 0.01
_PR_SET_CHILD_SUBREAPER = 36
"""Linux's prctl.h."""


@contextlib.contextmanager
def adopting_orphans() -> Iterator[None]:
    """Become the parent of every descendant whose own parent ends: none gets out of sight."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class ProcessTree:
    """A process that leads a session, and everything that it started.

    A descendant counts also after its parent has ended and after it has left the session: within
    `adopting_orphans` it is then a child of ours. Only processes that are new since the last look
    are examined: a sample should cost the measured command as little as possible.
    """

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._ours = {leader: psutil.Process(leader)}
        self._start = self._ours[leader].create_time()
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

    def kill(self) -> tuple[str, ...]:
        """End every member; those that are started meanwhile too.

        Returns:
            What was alive: names and numbers of processes.

        Raises:
            KitError: One does not end.
        """
        found: dict[int, str] = {}
        latest_s = time.monotonic() + EXIT_S
        while True:
            self._others.clear()  # who was another's child before may be an orphan now
            alive = self.members()
            found |= {process.pid: _named(process) for process in alive if process.pid not in found}
            if not alive:
                self._reap()
                return tuple(found.values())
            if time.monotonic() > latest_s:
                survivors = ", ".join(found[process.pid] for process in alive)
                raise KitError(f"still running, and cannot be ended: {survivors}; end it by hand")
            for process in alive:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            time.sleep(_LOOK_S)

    def _reap(self) -> None:
        """Take leave of the orphans, which are our children now; the leader is its starter's."""
        for pid in self._ours.keys() - {self._leader}:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def _adopt(self, pid: int) -> psutil.Process | None:
        """Return the process if it is in the session, a child of a member's, or an orphan."""
        try:
            process = psutil.Process(pid)
            parent = process.ppid()
            if os.getsid(pid) == self._leader or parent in self._ours:
                return process
            if parent == os.getpid() and process.create_time() >= self._start:
                return process
        except (ProcessLookupError, PermissionError, psutil.Error):  # gone, or hidden from us
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


def _named(process: psutil.Process) -> str:
    try:
        return f"{process.name()} (process {process.pid})"
    except psutil.Error:
        return f"process {process.pid}"
