"""Docker's part: the image is built, and saved as the archive that is handed in."""

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO, cast

from evaluation.efficiency.containers import docker
from evaluation.efficiency.outputs import printable, tail
from imaging.errors import KitError
from inference.manifest import Manifest
from train.package.context import revision_of, version_of
from train.package.request import TARGETS, PackageRequest
from train.package.rewriting import Rewritten, rewrite

_CHUNK = 1 << 20
_TAIL_CHARACTERS = 4000


def refuse_no_docker() -> None:
    """Refuse to begin where Docker cannot end.

    Raises:
        KitError: There is no program docker, or no daemon answers it.
    """
    if shutil.which("docker") is None:
        raise KitError("the program docker is not here; install Docker, or `docker.io` on Debian")
    try:
        docker("version", "--format", "{{.Server.Version}}")
    except KitError as error:
        raise KitError(f"{error}; start Docker's daemon, or ask to be let into it") from error


def image_id(tag: str) -> str | None:
    """Return the digest of the image that has a tag; None where there is none."""
    with contextlib.suppress(KitError):
        return docker("image", "inspect", "--format", "{{.Id}}", tag)
    return None


def image_bytes(tag: str) -> int:
    """Return the size of an image, its base's layers too."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", tag))


def build_image(
    tag: str, context: Path, manifest: Manifest, request: PackageRequest, epoch_s: int, log: Path
) -> None:
    """Build an image, with Docker's own words in `log`.

    Args:
        tag: The image's name and tag.
        context: What `write_context` wrote.
        manifest: The bundle's, for the image's labels.
        request: Says how it is built.
        epoch_s: Seconds since 1970: the date of the list of what it holds.
        log: The file.

    Raises:
        KitError: Docker fails, or the log cannot be written.
    """
    arguments = {
        "LOCK": TARGETS[request.target],
        "VERSION": version_of(request.checkout),
        "REVISION": revision_of(request.checkout),
        "MANIFEST_SHA256": manifest.sha256,
        "SOURCE_DATE_EPOCH": str(epoch_s),
        **request.build_arguments,
    }
    command = ["docker", "build", "--tag", tag, "--target", request.target]
    command += [] if request.network is None else ["--network", request.network]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    try:
        with log.open("wb") as stream:
            done = subprocess.run(
                [*command, str(context)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
    except OSError as error:
        raise KitError(f"docker build cannot start: {error}") from error
    if done.returncode != 0:
        lines = tail(log, _TAIL_CHARACTERS).strip().splitlines() or ["no answer"]
        raise KitError(f"docker build: {printable(lines[-1])}; all of it is in {log}")


def save_archive(tag: str, archive: Path, epoch_s: int, wanted: tuple[str, ...]) -> Rewritten:
    """Write the archive of an image: `docker save`, written again.

    Args:
        tag: The image's name and tag.
        archive: The file; it appears whole or not at all.
        epoch_s: Seconds since 1970: the date of everything in it.
        wanted: Paths from /, whose content is returned.

    Raises:
        KitError: Docker fails, or the archive cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".saved-", dir=archive.parent) as folder:
            saved = Path(folder) / "saved.tar"
            problem = _save(tag, saved)
            if problem is None:
                return rewrite(saved, archive, epoch_s, wanted)
    except OSError as error:
        raise KitError(f"cannot write {archive}: {error.strerror or error}") from error
    raise KitError(f"docker save: {problem}; {archive} was not written")


def _save(tag: str, saved: Path) -> str | None:
    """Write what `docker save` gives; return what Docker says where it fails."""
    with saved.open("wb") as target, tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            ["docker", "save", tag], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        ) as process:
            try:
                shutil.copyfileobj(cast(IO[bytes], process.stdout), target, _CHUNK)
            except BaseException:
                process.kill()
                raise
        if process.returncode == 0:
            return None
        errors.seek(0)
        lines = errors.read().decode("utf-8", "replace").strip().splitlines() or ["no answer"]
        return printable(lines[-1])
