"""The organisers' container: load its image, run it with their flags, see its own memory."""

import contextlib
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from evaluation.efficiency.processes import Workspace
from evaluation.efficiency.sampling import MIB
from inference.errors import KitError

ARCHIVES = (".tar", ".tar.gz", ".tgz")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Image:
    """An image that is there and ready to run."""

    team: str
    """Its name without the tag, also the container's name; the tag is always `latest`."""
    digest: str


def open_image(name: str) -> Image:
    """Load the image archive `name`, or find the loaded image of that name.

    As the official runner has it, a team is called like its archive up to the first dot, in lower
    case, and its image is the one tagged `<team>:latest`.

    Raises:
        KitError: Docker is not there or does not answer, or the image is not there.
    """
    docker("version", "--format", "{{.Server.Version}}")
    team = name.removesuffix(":latest")
    if name.endswith(ARCHIVES):
        if not Path(name).is_file():
            raise KitError(f"image archive {name} does not exist; `docker save` writes one")
        team = Path(name).name.partition(".")[0].lower()
        docker("load", "--input", name)
    if not _NAME.fullmatch(team):
        raise KitError(f"{team} is no name for an image here; the organisers run <team>:latest")
    try:
        digest = docker("image", "inspect", "--format", "{{.Id}}", f"{team}:latest")
    except KitError as error:
        raise KitError(
            f"there is no image {team}:latest; tag it so, then `docker save {team}:latest`"
        ) from error
    return Image(team, digest)


def docker(*arguments: str) -> str:
    """Return what a command of Docker's client prints.

    Raises:
        KitError: There is no client, or it fails.
    """
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise KitError("--image needs the program docker, which is not installed") from error
    if done.returncode != 0:
        told = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise KitError(f"docker {arguments[0]}: {told[-1]}")
    return done.stdout.strip()


def run_flags(
    team: str,
    workspace: Workspace,
    gpu_index: int | None,
    flags: Sequence[str] = ("--rm",),
    inputs_mode: str = "",
) -> list[str]:
    """Return the organisers' command line, with --gpus only where there is a GPU.

    Other `flags` and an `inputs_mode` of ":ro" make it a harder one.
    """
    return [
        *("docker", "container", "run", "--shm-size=28gb", "-m", "28G"),
        *([] if gpu_index is None else [f"--gpus=device={gpu_index}"]),
        *("--name", team, *flags),
        *("-v", f"{workspace.inputs}/:/workspace/inputs/{inputs_mode}"),
        *("-v", f"{workspace.outputs}/:/workspace/outputs/"),
        *(f"{team}:latest", "/bin/bash", "-c", "sh predict.sh"),
    ]


class ContainerJob:
    """One fresh container."""

    def __init__(self, image: Image, workspace: Workspace, gpu_index: int | None = None) -> None:
        self._team = image.team
        self._command = run_flags(image.team, workspace, gpu_index)
        self._client: subprocess.Popen[bytes] | None = None
        self._lookup: subprocess.Popen[str] | None = None
        self._cgroup: Path | None = None

    def start(self, stdout: IO[bytes], stderr: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start Docker's client, which ends when the container does."""
        try:
            self._client = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,  # an interrupt reaches us, and we end the container
            )
        except OSError as error:
            raise KitError(f"cannot start docker: {error.strerror}") from error
        return self._client

    def own_ram_mib(self) -> float | None:
        """Return the container's memory; None until it is up, or where its cgroup is not seen."""
        if self._client is None:
            return None
        if self._cgroup is None:
            self._cgroup = self._find_cgroup()
        return None if self._cgroup is None else cgroup_ram_mib(self._cgroup)

    def close(self) -> None:
        """Kill the container where it still runs."""
        if self._lookup is not None:
            self._lookup.communicate()
        if self._client is not None and self._client.poll() is None:
            with contextlib.suppress(KitError):
                docker("rm", "--force", self._team)
            self._client.kill()
            self._client.wait()

    def _find_cgroup(self) -> Path | None:
        """Ask Docker for the container's process, without waiting for the answer."""
        if self._lookup is None:
            self._lookup = subprocess.Popen(
                ["docker", "container", "inspect", "--format", "{{.State.Pid}}", self._team],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        if self._lookup.poll() is None:
            return None
        pid = self._lookup.communicate()[0].strip()
        self._lookup = None
        return memory_cgroup(int(pid)) if pid not in {"", "0"} else None


def memory_cgroup(pid: int, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> Path | None:
    """Return the folder that accounts for the memory of `pid`, of cgroup version 1 or 2."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    by_controller = {
        controller: path.lstrip("/")
        for _, controllers, path in (line.split(":", 2) for line in lines)
        for controller in controllers.split(",")
    }
    if "memory" in by_controller:
        folder = cgroups / "memory" / by_controller["memory"]
    else:
        folder = cgroups / by_controller.get("", "")
    return folder if (folder / "memory.stat").is_file() else None


def cgroup_ram_mib(folder: Path) -> float | None:
    """Return the memory in use without the file cache that can go, as `docker stats` counts it.

    None where the cgroup has ended.
    """
    version_2 = (folder / "memory.current").is_file()
    usage, idle = (
        ("memory.current", "inactive_file")
        if version_2
        else ("memory.usage_in_bytes", "total_inactive_file")
    )
    try:
        used = int((folder / usage).read_text(encoding="ascii"))
        rows = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    stat = dict(row.split() for row in rows)
    return (used - int(stat[idle])) / MIB
