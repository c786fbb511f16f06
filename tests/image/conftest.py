"""The challenge image, built once a session on a real Docker engine.

FLARE23_IMAGE_FOLDER keeps the base, the archive and the daemon from session to session.
"""

import os
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """The archive that build.sh saves; the daemon that it started is ended."""
    folder = Path(os.environ.get("FLARE23_IMAGE_FOLDER") or tmp_path_factory.mktemp("image"))
    with (folder / "build.txt").open("w") as log:  # a pipe would wait for the daemon's end
        command = ["sh", "tests/image/build.sh", folder]
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log)
    assert done.returncode == 0, (folder / "build.txt").read_text()
    yield folder / "flare23kit.tar.gz"
    pid = folder / "dockerd.pid"
    if pid.is_file() and "FLARE23_IMAGE_FOLDER" not in os.environ:
        os.kill(int(pid.read_text()), signal.SIGTERM)
