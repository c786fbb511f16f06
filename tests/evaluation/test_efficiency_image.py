"""`efficiency --image`: with a program in Docker's place, and with Docker where it runs."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from evaluation.cli import main
from evaluation.efficiency.nvml import Gpu, NoGpuError

# writes down what it was asked; `container run` does what FAKE_RUN says in the mounted folders
FAKE_DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>"$FAKE_LOG"
case "$1 $2" in
  "version "*) [ -z "$FAKE_NO_DAEMON" ] || { echo "Cannot connect to the daemon" >&2; exit 1; } ;;
  "load "*) [ -z "$FAKE_NO_ARCHIVE" ] || { echo "invalid tar header" >&2; exit 1; } ;;
  "image inspect") case "$*" in *team:latest) echo sha256:abc ;; *) exit 1 ;; esac ;;
  "container inspect") echo 0 ;;
  "container run")
    inputs=$(echo "$*" | sed 's/.* -v \\(.*\\):.workspace.inputs.*/\\1/')
    outputs=$(echo "$*" | sed 's/.* -v \\(.*\\):.workspace.outputs.*/\\1/')
    eval "$FAKE_RUN" ;;
  "rm --force") kill "$(cat "$FAKE_LOG.pid")" ;;
esac
"""
COPY = 'cp "$inputs"a_0000.nii.gz "$outputs"a.nii.gz'


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A working folder with one case and a program called docker."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in", "a_0000.nii.gz").write_bytes(b"ct")
    Path("bin").mkdir()
    Path("bin", "docker").write_text(FAKE_DOCKER)
    Path("bin", "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("FAKE_RUN", COPY)
    monkeypatch.setattr("evaluation.efficiency.protocol.find_gpu", no_gpu)
    return tmp_path


def no_gpu(index):
    raise NoGpuError("none here")


def efficiency(*arguments):
    words = ["efficiency", "--inputs", "in", "-o", "out", *map(str, arguments)]
    return CliRunner().invoke(main, words)


def report():
    return json.loads(Path("out", "efficiency.json").read_text("utf-8"))


def asked():
    return Path("log").read_text().splitlines()


@pytest.mark.parametrize("name", ["team", "team:latest"])
def test_the_container_gets_the_organisers_flags(fake, name):
    done = efficiency("--image", name)
    assert done.exit_code == 0, done.output
    (line,) = [line for line in asked() if line.startswith("container run")]
    work = line.split(" -v ")[1].partition("/inputs/:")[0]
    assert line == (
        "container run --shm-size=28gb -m 28G --name team --rm"
        f" -v {work}/inputs/:/workspace/inputs/ -v {work}/outputs/:/workspace/outputs/"
        " team:latest /bin/bash -c sh predict.sh"
    )
    table = report()
    assert (table["team"], table["image"]) == ("team", "sha256:abc")
    assert Path("out", "predictions", "a.nii.gz").read_bytes() == b"ct"


def test_a_gpu_is_given_to_the_container_by_its_index(fake, monkeypatch):
    gpu = Gpu(1, "Fake card", "GPU-fake", "510", None)
    monkeypatch.setattr("evaluation.efficiency.protocol.find_gpu", lambda index: gpu)
    monkeypatch.setattr(Gpu, "used_mib", lambda self: 10.0)
    assert efficiency("--image", "team", "--gpu-index", 1).exit_code == 0
    (line,) = [line for line in asked() if line.startswith("container run")]
    assert "--shm-size=28gb -m 28G --gpus=device=1 --name team" in line
    assert report()["cases"][0]["runs"][0]["loads"]["gpu_mib"]["peak"] == 10.0


def test_an_archive_is_loaded_and_names_the_team(fake):
    Path("Team.v2.tar.gz").write_bytes(b"archive")
    done = efficiency("--image", "Team.v2.tar.gz")
    assert done.exit_code == 0, done.output
    assert asked()[1] == "load --input Team.v2.tar.gz"
    assert report()["team"] == "team"
    assert not [line for line in asked() if line.startswith("rmi")]


def test_a_time_limit_removes_the_container(fake, monkeypatch):
    monkeypatch.setenv("FAKE_RUN", 'echo $$ >"$FAKE_LOG.pid"; echo stuck >&2; exec sleep 300')
    done = efficiency("--image", "team", "--timeout", 0.5)
    assert done.exit_code == 1
    assert asked()[-1] == "rm --force team"
    (run,) = report()["cases"][0]["runs"]
    assert run["error"] == "killed after 0.5 s, the time limit of --timeout"
    assert run["stderr_tail"] == "stuck"
    assert subprocess.run(["kill", "-0", Path("log.pid").read_text().strip()]).returncode != 0


def test_what_docker_says_of_a_failure_is_kept(fake, monkeypatch):
    monkeypatch.setenv("FAKE_RUN", "echo name is already in use >&2; exit 125")
    assert efficiency("--image", "team").exit_code == 1
    (run,) = report()["cases"][0]["runs"]
    assert (run["exit_status"], run["stderr_tail"]) == (125, "name is already in use")


BAD_IMAGES = {
    "no such archive": ("gone.tar.gz", {}, "image archive gone.tar.gz does not exist"),
    "a folder": ("folder.tar", {}, "image archive folder.tar does not exist"),
    "broken archive": ("bad.tar.gz", {"FAKE_NO_ARCHIVE": "1"}, "docker load: invalid tar header"),
    "no such image": ("other", {}, "there is no image other:latest; tag it so"),
    "archive of another image": ("bad.tar.gz", {}, "there is no image bad:latest"),
    "upper case": ("Team", {}, "Team is no name for an image here"),
    "a tag": ("team:v2", {}, "team:v2 is no name for an image here"),
    "no daemon": ("team", {"FAKE_NO_DAEMON": "1"}, "docker version: Cannot connect to the daemon"),
    "no docker": ("team", {"PATH": "/nowhere"}, "needs the program docker, which is not installed"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_told_in_one_line(fake, monkeypatch, name):
    Path("bad.tar.gz").write_bytes(b"no archive")
    Path("folder.tar").mkdir()
    image, variables, told = BAD_IMAGES[name]
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    done = efficiency("--image", image)
    assert done.exit_code == 1
    (line,) = done.output.strip().splitlines()
    assert line.startswith("Error: ")
    assert told in line
    assert not Path("out").exists()


# ----- Docker itself --------------------------------------------------------------------------

EATEN_MIB = 200
PREDICT = f"""set -eu
{{ head -c {EATEN_MIB << 20} /dev/zero; sleep 1; }} | tail -n 1 >/dev/null
for file in inputs/*_0000.nii.gz; do
  [ "$file" != inputs/stuck_0000.nii.gz ] || sleep 300
  [ "$file" != inputs/bad_0000.nii.gz ] || {{ echo no organ >&2; exit 4; }}
  cp "$file" "outputs/$(basename "$file" _0000.nii.gz).nii.gz"
done
"""
PROGRAMS = ("bash", "sh", "basename", "cp", "head", "sleep", "tail")


def libraries(program):
    """Absolute paths of the shared libraries of a program, its loader too."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    words = [word for line in told.splitlines() for word in line.split()]
    return {word for word in words if word.startswith("/")}


def minimal_image():
    """A tar archive with this machine's shell, a few programs, and /workspace/predict.sh."""
    stream = io.BytesIO()
    programs = {f"/bin/{name}": shutil.which(name) for name in PROGRAMS}
    needed = {path: path for program in programs.values() for path in libraries(program)}
    with tarfile.open(fileobj=stream, mode="w", dereference=True) as archive:
        for inside, outside in {**programs, **needed}.items():
            archive.add(outside, inside)
        script = tarfile.TarInfo("/workspace/predict.sh")
        script.size = len(PREDICT)
        archive.addfile(script, io.BytesIO(PREDICT.encode()))
    return stream.getvalue()


def docker(*arguments, **options):
    return subprocess.run(["docker", *arguments], capture_output=True, check=True, **options)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """An archive that `docker save` wrote; the image is removed at the end."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "version"], capture_output=True).returncode
    ):
        pytest.skip("no Docker daemon answers")
    team = f"flare23kit{os.getpid()}"
    changes = ["--change", "WORKDIR /workspace", "--change", "ENV PATH=/bin"]
    docker("import", *changes, "-", f"{team}:latest", input=minimal_image())
    archive = tmp_path_factory.mktemp("image") / f"{team.upper()}.tar.gz"
    docker("save", "--output", str(archive), f"{team}:latest")
    docker("rmi", f"{team}:latest")
    yield archive
    docker("rmi", "--force", f"{team}:latest")


@pytest.mark.docker
def test_a_real_image_from_its_archive(image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for case in ("bad", "good", "stuck"):
        Path("in", f"{case}_0000.nii.gz").write_bytes(case.encode())
    done = efficiency("--image", image, "--timeout", 5)
    assert done.exit_code == 1
    assert "Error: 2 of 3 cases failed" in done.output
    (bad,), (good,), (stuck,) = (row["runs"] for row in report()["cases"])
    assert (bad["exit_status"], bad["stderr_tail"]) == (4, "no organ")
    assert stuck["error"] == "killed after 5 s, the time limit of --timeout"
    assert (good["exit_status"], good["error"]) == (0, None)
    assert good["seconds"] >= 1.0
    # `tail` keeps the one line without an end; it and the shells have little else
    assert good["loads"]["own_ram_mib"]["peak"] == pytest.approx(EATEN_MIB, rel=0.05)
    assert Path("out", "predictions", "good.nii.gz").read_bytes() == b"good"
    containers = docker("ps", "--all", "--format", "{{.Names}}", text=True).stdout.split()
    assert report()["team"] not in containers
