"""A command as a job: started in a fresh folder, its whole process tree measured and ended."""

import contextlib
import os
import select
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from evaluation.efficiency.process_tree import EXIT_S, ProcessTree, adopting_orphans
from imaging.errors import KitError


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
        inputs, outputs = str(workspace.inputs), str(workspace.outputs)
        filled = (word.replace("{inputs}", inputs) for word in command)
        self._command = [word.replace("{outputs}", outputs) for word in filled]
        self._folder = workspace.folder
        self._environment = dict(os.environ)
        if gpu_uuid is not None:
            self._environment["CUDA_VISIBLE_DEVICES"] = gpu_uuid
        self._process: subprocess.Popen[bytes] | None = None
        self._tree: ProcessTree | None = None
        self._resources = contextlib.ExitStack()
        self.left_running: tuple[str, ...] = ()
        """What it had left running when it was closed."""
        for entry in Path.cwd().iterdir():
            if entry.name not in {"inputs", "outputs"}:
                (workspace.folder / entry.name).symlink_to(entry)

    def start(self, stdout: IO[bytes], stderr: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start the command as the leader of its own session.

        Raises:
            KitError: The system refuses to.
        """
        self._resources.enter_context(adopting_orphans())
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
        """Return the resident memory of the process tree; None before the start."""
        return None if self._tree is None else self._tree.ram_mib()

    def close(self) -> None:
        """Kill what is left of the tree.

        Raises:
            KitError: Something cannot be ended.
        """
        with self._resources:
            if self._process is None or self._tree is None:
                return
            ended = self._process.poll() is not None
            found = self._tree.kill()
            self.left_running = found if ended else ()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_S)


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
