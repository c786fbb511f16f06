"""Containers under harder conditions than the organisers' own."""

import contextlib
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from evaluation.efficiency.containers import (
    DockerImage,
    container_id,
    docker,
    remove_container,
    run_flags,
)
from evaluation.efficiency.outputs import digest, tail, work_folder
from evaluation.efficiency.processes import Workspace, wait
from evaluation.submission.maps import unreadable
from imaging.errors import KitError

OFFLINE = ("--network", "none")
LOCKED = (*OFFLINE, "--read-only", "--tmpfs", "/tmp", "--user", "65534:65534")
"""No network, no file system to write to, nobody's rights."""
_MOUNTED = tuple(PurePosixPath("/workspace") / name for name in ("inputs", "outputs"))
_FREE = (*_MOUNTED, PurePosixPath("/tmp"))
_TAIL_LINES = 3
_STDERR_CHARACTERS = 100_000


@dataclass(frozen=True)
class Outcome:
    """What one container did."""

    exit_status: int | None
    """None where it was killed at the time limit."""
    stderr: str
    maps: dict[str, str]
    """sha256 of every <case>.nii.gz in outputs, by case."""
    half_written: tuple[str, ...]
    changed: tuple[str, ...] | None
    """Paths that it wrote outside of what it may write to; None where there was no container."""

    @property
    def failure(self) -> str | None:
        """Say how it ended, if not with exit code 0."""
        if self.exit_status == 0:
            return None
        last = " / ".join(self.stderr.strip().splitlines()[-_TAIL_LINES:])
        killed = self.exit_status is None
        ended = "killed at the time limit" if killed else f"exit status {self.exit_status}"
        return f"{ended}: {last}"


@dataclass(frozen=True)
class Bench:
    """What all trials share."""

    image: DockerImage
    gpu_index: int | None
    folder: Path
    """Gets a folder for the time of each trial."""
    timeout_s: float

    def run(self, cts: Iterable[Path], flags: tuple[str, ...]) -> Outcome:
        """Run one container on all of `cts`, with read-only inputs.

        Raises:
            KitError: Docker fails, or the folder cannot be written.
        """
        with work_folder(self.folder) as made:
            workspace = Workspace(made)
            try:
                workspace.fill(*cts)
            except OSError as error:
                raise KitError(f"a trial cannot write: {error.strerror or error}") from error
            team, gpu_index = self.image.team, self.gpu_index
            id_file = workspace.folder / "container"
            flags = (*flags, "--cidfile", str(id_file))
            command = run_flags(team, workspace, gpu_index, flags, ":ro")
            status, stderr, changed = contain(command, id_file, self.timeout_s)
            # the container is gone: nobody changes its outputs any more
            maps = {
                path.name.removesuffix(".nii.gz"): found
                for path in workspace.outputs.glob("*.nii.gz")
                if (found := _sha256(path))
            }
            return Outcome(status, stderr, maps, unreadable(workspace.outputs), changed)


def contain(
    command: Sequence[str], id_file: Path, timeout_s: float
) -> tuple[int | None, str, tuple[str, ...] | None]:
    """Run a container to its end, or to the time limit, and remove it.

    Args:
        command: `docker container run` with `--cidfile` and without a name.
        id_file: Where Docker writes the container's id; its folder gets the log.
        timeout_s: The time limit.

    Returns:
        Exit status, None at the time limit; stderr; what changed in it, None where there was none.

    Raises:
        KitError: Docker does not answer.
    """
    log = id_file.with_name("stderr")
    try:
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stream
            )
            try:
                ended = wait(process, timeout_s)
                container = container_id(id_file)
                if container is not None and not ended:
                    with contextlib.suppress(KitError):  # it may just have ended
                        docker("kill", container)
            finally:
                process.kill()  # the client
                process.wait()
        changed = (
            None if container is None else changed_outside(docker("diff", container).splitlines())
        )
    finally:
        remove_container(id_file)
    return process.returncode if ended else None, tail(log, _STDERR_CHARACTERS), changed


def _sha256(path: Path) -> str | None:
    """Return the digest of a regular file; None of anything else."""
    try:
        return digest(path)
    except KitError:
        return None


def changed_outside(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that a container changed where it should not, from lines of `docker diff`.

    Docker itself makes the folders that it mounts onto. A folder counts by what changed in it.
    """
    # the rest of a name with a line end in it is no change of its own
    changes = [line for line in lines if line[:2] in {"A ", "C ", "D "}]
    found = [(line[0], PurePosixPath(line[2:])) for line in changes]
    above = {parent for _, path in found for parent in path.parents}
    return tuple(
        str(path)
        for kind, path in found
        if path not in above
        and not any(path == free or free in path.parents for free in _FREE)
        and not (kind == "C" and any(path in free.parents for free in _FREE))
    )
