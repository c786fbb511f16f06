"""The organisers' container: load its image, run it with their flags, see its own memory.

A container is known by the id that Docker wrote into a file for it: its name may be another's. No
call of Docker's waits for ever.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from evaluation.efficiency.archives import SUFFIXES, image_tags, team_of, wrong_tags
from evaluation.efficiency.outputs import printable
from evaluation.efficiency.processes import Workspace
from evaluation.efficiency.sampling import MIB
from imaging.errors import KitError

ANSWER_S = 120.0
"""How long Docker may take to answer."""
LOAD_S = 3600.0
"""How long it may take to load an archive."""
_GONE = ("No such container", "is already in progress")
"""What Docker says of a container that it has removed, or is removing."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class DockerImage:
    """An image that is there and ready to run."""

    team: str
    """Its name without the tag, also the container's name; the tag is always `latest`."""
    digest: str


def open_image(name: str) -> DockerImage:
    """Load the image archive `name`, or find the loaded image of that name.

    As the official runner has it, a team is called like its archive up to the first dot, in lower
    case, and its image is the one tagged `<team>:latest`. An archive of anything else is refused:
    the image of that name that is here already would be another one.

    Raises:
        KitError: Docker is not there or does not answer, or the image is not there.
    """
    docker("version", "--format", "{{.Server.Version}}")
    archive = Path(name) if name.endswith(SUFFIXES) else None
    team = name.removesuffix(":latest") if archive is None else team_of(archive)
    if not _NAME.fullmatch(team):
        raise KitError(f"{team} is no name for an image here; the organisers run <team>:latest")
    if archive is not None:
        _load(archive, f"{team}:latest")
    try:
        digest = docker("image", "inspect", "--format", "{{.Id}}", f"{team}:latest")
    except KitError as error:
        raise KitError(
            f"no image {team}:latest is seen ({error}); tag it so, then `docker save {team}:latest`"
        ) from error
    return DockerImage(team, digest)


def _load(archive: Path, wanted: str) -> None:
    """Load an archive that holds the image `wanted` alone."""
    if not archive.is_file():
        raise KitError(f"image archive {archive} does not exist; `docker save` writes one")
    if problem := wrong_tags(image_tags(archive), wanted):
        raise KitError(f"image archive {archive} is not {wanted}: {problem}")
    output = docker("load", "--input", str(archive), timeout_s=LOAD_S)
    if f"Loaded image: {wanted}" not in output.splitlines():
        raise KitError(f"docker load did not load {wanted} from {archive}: {output or 'no answer'}")


def docker(*arguments: str, timeout_s: float | None = None) -> str:
    """Return what a command of Docker's client prints.

    Args:
        arguments: Of Docker's client.
        timeout_s: How long it may take; None: `ANSWER_S`.

    Raises:
        KitError: There is no client, it fails, or it takes longer.
    """
    limit_s = ANSWER_S if timeout_s is None else timeout_s
    try:
        done = subprocess.run(
            ["docker", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit_s,
        )
    except FileNotFoundError as error:
        raise KitError("--image needs the program docker, which is not installed") from error
    except subprocess.TimeoutExpired as error:
        late = f"docker {arguments[0]} did not end within {limit_s:g} s"
        raise KitError(f"{late}; see whether its daemon is well") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise KitError(f"docker {arguments[0]}: {printable(lines[-1])}")
    return printable(done.stdout).strip()


def run_flags(
    team: str,
    workspace: Workspace,
    gpu_index: int | None,
    flags: Sequence[str] | None = None,
    inputs_mode: str = "",
) -> list[str]:
    """Return the organisers' command line, with --gpus only where there is a GPU.

    Other `flags` than their name and --rm, and an `inputs_mode` of ":ro", make it a harder one.
    """
    return [
        *("docker", "container", "run", "--shm-size=28gb", "-m", "28G"),
        *([] if gpu_index is None else [f"--gpus=device={gpu_index}"]),
        *(named(team) if flags is None else flags),
        *("-v", f"{workspace.inputs}/:/workspace/inputs/{inputs_mode}"),
        *("-v", f"{workspace.outputs}/:/workspace/outputs/"),
        *(f"{team}:latest", "/bin/bash", "-c", "sh predict.sh"),
    ]


def named(team: str) -> tuple[str, ...]:
    """Return the organisers' flags of a container's name and end."""
    return "--name", team, "--rm"


def container_id(id_file: Path) -> str | None:
    """Return what `docker run --cidfile` wrote; None as long as there is no container."""
    try:
        return id_file.read_text(encoding="ascii").strip() or None
    except OSError:
        return None


def remove_container(id_file: Path) -> None:
    """Kill and remove the container of an id file, where one was made.

    Raises:
        KitError: It may still run.
    """
    if (container := container_id(id_file)) is None:
        return
    try:
        docker("rm", "--force", "--volumes", container)
    except KitError as error:
        if not any(text in str(error) for text in _GONE):
            raise KitError(f"container {container[:12]} may still run: {error}") from error


class ContainerJob:
    """One fresh container."""

    left_running = ()
    """Docker ends what is left."""

    def __init__(
        self, image: DockerImage, workspace: Workspace, gpu_index: int | None = None
    ) -> None:
        self._id_file = workspace.folder / "container"
        flags = (*named(image.team), "--cidfile", str(self._id_file))
        self._command = run_flags(image.team, workspace, gpu_index, flags)
        self._client: subprocess.Popen[bytes] | None = None
        self._lookup: subprocess.Popen[str] | None = None
        self._cgroup: Path | None = None

    def start(self, stdout: IO[bytes], stderr: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start Docker's client, which ends when the container does.

        Raises:
            KitError: The system refuses to.
        """
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
        if self._cgroup is None:
            self._cgroup = self._find_cgroup()
        return None if self._cgroup is None else cgroup_ram_mib(self._cgroup)

    def close(self) -> None:
        """Kill the container where it may still run.

        Raises:
            KitError: It cannot be ended.
        """
        if self._lookup is not None:
            self._lookup.kill()
            self._lookup.communicate()
        if self._client is None or self._client.poll() == 0:
            return
        try:
            remove_container(self._id_file)
        finally:
            self._client.kill()
            self._client.wait()

    def _find_cgroup(self) -> Path | None:
        """Ask Docker for the container's process, without waiting for the answer."""
        if self._lookup is None:
            if (container := container_id(self._id_file)) is None:
                return None
            self._lookup = subprocess.Popen(
                ["docker", "container", "inspect", "--format", "{{.State.Pid}}", container],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        if self._lookup.poll() is None:
            return None
        pid = self._lookup.communicate()[0].strip()
        self._lookup = None
        return memory_cgroup(int(pid)) if pid.isdigit() and int(pid) else None


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
    folder = cgroups / by_controller.get("", "")
    if "memory" in by_controller:  # cgroup version 1
        folder = cgroups / "memory" / by_controller["memory"]
    return folder if (folder / "memory.stat").is_file() else None


def cgroup_ram_mib(folder: Path) -> float | None:
    """Return the memory in use without the file cache that can go, as `docker stats` counts it.

    None where the cgroup has ended.
    """
    usage, idle = "memory.current", "inactive_file"
    if not (folder / usage).is_file():  # cgroup version 1
        usage, idle = "memory.usage_in_bytes", "total_inactive_file"
    try:
        used = int((folder / usage).read_text(encoding="ascii"))
        rows = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    stat = dict(row.split() for row in rows)
    return (used - int(stat[idle])) / MIB
