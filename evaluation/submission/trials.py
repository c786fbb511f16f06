"""Containers under harder conditions than the organisers' own."""

import contextlib
import hashlib
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from evaluation.efficiency.containers import Image, docker, run_flags
from evaluation.efficiency.processes import Workspace, wait
from evaluation.submission.maps import unreadable
from inference.errors import KitError

OFFLINE = ("--network", "none")
LOCKED = (*OFFLINE, "--read-only", "--tmpfs", "/tmp", "--user", "65534:65534")
"""No network, no file system to write to, nobody's rights."""
_MOUNTED = tuple(PurePosixPath("/workspace") / name for name in ("inputs", "outputs"))
_FREE = (*_MOUNTED, PurePosixPath("/tmp"))
_TAIL_LINES = 3


@dataclass(frozen=True)
class Outcome:
    """What one container did."""

    exit_status: int | None
    """None where it was killed at the time limit."""
    stderr: str
    maps: dict[str, str]
    """sha256 of every <case>.nii.gz in outputs, by case."""
    half_written: tuple[str, ...]
    changed: tuple[str, ...]
    """Paths in the container that it wrote, outside of what it may write to."""

    @property
    def failure(self) -> str | None:
        """Say how it ended, if not with exit code 0."""
        if self.exit_status == 0:
            return None
        last = " / ".join(self.stderr.strip().splitlines()[-_TAIL_LINES:])
        told = "killed at the time limit" if self.exit_status is None else "exit status "
        return f"{told}{'' if self.exit_status is None else self.exit_status}: {last}"


@dataclass(frozen=True)
class Bench:
    """What all trials share."""

    image: Image
    gpu_index: int | None
    folder: Path
    """Gets a folder for the time of each trial."""
    timeout_s: float

    def run(self, cts: Iterable[Path], flags: tuple[str, ...]) -> Outcome:
        """Run one container on all of `cts`, with read-only inputs.

        Raises:
            KitError: Docker fails, or the folder cannot be written.
        """
        name = self.image.team
        with tempfile.TemporaryDirectory(
            prefix=".work-", dir=self.folder.resolve(), ignore_cleanup_errors=True
        ) as made:
            workspace = Workspace(Path(made))
            try:
                workspace.fill(*cts)
                status, stderr = self._contain(
                    run_flags(name, workspace, self.gpu_index, flags, ":ro"), Path(made) / "stderr"
                )
                changed = outside(docker("diff", name).splitlines())
                maps = {
                    path.name.removesuffix(".nii.gz"): _sha256(path)
                    for path in workspace.outputs.glob("*.nii.gz")
                }
                return Outcome(status, stderr, maps, unreadable(workspace.outputs), changed)
            except OSError as error:
                raise KitError(f"a trial cannot write: {error.strerror or error}") from error
            finally:
                with contextlib.suppress(KitError):
                    docker("rm", "--force", name)

    def _contain(self, command: list[str], log: Path) -> tuple[int | None, str]:
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stream
            )
            try:
                ended = wait(process, self.timeout_s)
            finally:
                process.kill()  # the client; the container itself is removed by `run`
                process.wait()
        told = log.read_text(encoding="utf-8", errors="replace")
        return process.returncode if ended else None, told


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def outside(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that a container changed where it should not, from lines of `docker diff`.

    Docker itself makes the folders that it mounts onto. A folder counts by what changed in it.
    """
    found = [(line[0], PurePosixPath(line[2:])) for line in lines]
    above = {parent for _, path in found for parent in path.parents}
    return tuple(
        str(path)
        for kind, path in found
        if path not in above
        and not any(path == free or free in path.parents for free in _FREE)
        and not (kind == "C" and any(path in free.parents for free in _FREE))
    )
