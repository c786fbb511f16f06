"""The challenge images, built once a session on a real Docker engine.

FLARE23_IMAGE_FOLDER keeps the base, the archives and the daemon from session to session.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = "flare23kit-base:bookworm"
BUILDER = "flare23kit-base-builder:bookworm"
"""The base with this machine's certificates, where the build script puts them."""


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """Where build.sh works; a daemon that it started is ended."""
    folder = Path(os.environ.get("FLARE23_IMAGE_FOLDER") or tmp_path_factory.mktemp("image"))
    yield folder
    pid = folder / "dockerd.pid"
    if pid.is_file() and "FLARE23_IMAGE_FOLDER" not in os.environ:
        os.kill(int(pid.read_text()), signal.SIGTERM)


def built(folder, *target, base=BASE):
    """Run build.sh; return the folder."""
    folder.mkdir(exist_ok=True)
    with (folder / "build.txt").open("w") as log:  # a pipe would wait for the daemon's end
        command = ["sh", "tests/image/build.sh", folder, *target]
        environment = {**os.environ, "PYTHON": sys.executable, "BASE": base}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    assert done.returncode == 0, (folder / "build.txt").read_text()
    return folder


@pytest.fixture(scope="session")
def base_images(image_folder):
    """What build.sh makes of Debian's packages; Docker has it: the base, and the builder's."""
    if subprocess.run(
        ["docker", "image", "inspect", BASE, BUILDER], capture_output=True
    ).returncode:
        built(image_folder)
    return BASE, BUILDER


@pytest.fixture(scope="session")
def archive(image_folder):
    """The archive that build.sh saves of the target cpu."""
    return built(image_folder) / "flare23kit.tar.gz"


@pytest.fixture(scope="session")
def archive_again(archive, image_folder):
    """The same archive from a base that is made anew, and so built without Docker's cache."""
    again = "flare23kit-again:bookworm"
    subprocess.run(["docker", "rmi", again], capture_output=True)
    return built(image_folder / "again", base=again) / "flare23kit.tar.gz"


@pytest.fixture(scope="session")
def gpu_archive(image_folder):
    """The archive of the target gpu."""
    return built(image_folder, "gpu") / "flare23kitgpu.tar.gz"
