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
from evaluation.efficiency.nvml import GpuMemory, NoGpuError
from tests.evaluation.archives import write_archive
from tests.evaluation.maps import write_both

# writes down its arguments; `container run` does what FAKE_RUN says in the mounted folders
FAKE_DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>"$FAKE_LOG"
case "$FAKE_STUCK" in "$1") exec sleep 300 ;; esac
case "$1 $2" in
  "version "*) [ -z "$FAKE_NO_DAEMON" ] || { echo "Cannot connect to the daemon" >&2; exit 1; } ;;
  "load "*) [ -z "$FAKE_NO_ARCHIVE" ] || { echo "invalid tar header" >&2; exit 1; }
    echo "${FAKE_LOADED-Loaded image: team:latest}" ;;
  "image inspect") case "$*" in *team:latest) echo sha256:abc ;; *) exit 1 ;; esac ;;
  "container inspect") echo 0 ;;
  "container run")
    inputs=$(echo "$*" | sed 's/.* -v \\(.*\\):.workspace.inputs.*/\\1/')
    outputs=$(echo "$*" | sed 's/.* -v \\(.*\\):.workspace.outputs.*/\\1/')
    id_file=$(echo "$*" | sed 's/.* --cidfile \\([^ ]*\\) .*/\\1/')
    [ -n "$FAKE_CONFLICT" ] || echo 0123abcd >"$id_file"
    eval "$FAKE_RUN" ;;
  "rm --force") [ -z "$FAKE_RM" ] || { echo "$FAKE_RM" >&2; exit 1; }
    [ -e "$FAKE_LOG.pid" ] || { echo "Error: No such container: 0123abcd" >&2; exit 1; }
    kill "$(cat "$FAKE_LOG.pid")" ;;
esac
"""
COPY = 'cp "$inputs"a_0000.nii.gz "$outputs"a.nii.gz'


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A working folder with one case and a program called docker."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    write_both(Path("in", "a_0000.nii.gz"))
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


def docker_calls():
    return Path("log").read_text().splitlines()


@pytest.mark.parametrize("name", ["team", "team:latest"])
def test_the_container_gets_the_organisers_flags(fake, name):
    done = efficiency("--image", name)
    assert done.exit_code == 0, done.output
    (line,) = [line for line in docker_calls() if line.startswith("container run")]
    work = line.split(" -v ")[1].partition("/inputs/:")[0]
    assert line == (
        f"container run --shm-size=28gb -m 28G --name team --rm --cidfile {work}/container"
        f" -v {work}/inputs/:/workspace/inputs/ -v {work}/outputs/:/workspace/outputs/"
        " team:latest /bin/bash -c sh predict.sh"
    )
    table = report()
    assert (table["team"], table["image"]) == ("team", "sha256:abc")
    given = Path("in", "a_0000.nii.gz").read_bytes()
    assert Path("out", "predictions", "a.nii.gz").read_bytes() == given


def test_a_gpu_is_given_to_the_container_by_its_index(fake, monkeypatch):
    gpu = GpuMemory(1, "Fake card", "GPU-fake", "510", None)
    monkeypatch.setattr("evaluation.efficiency.protocol.find_gpu", lambda index: gpu)
    monkeypatch.setattr(GpuMemory, "used_mib", lambda self: 10.0)
    assert efficiency("--image", "team", "--gpu-index", 1).exit_code == 0
    (line,) = [line for line in docker_calls() if line.startswith("container run")]
    assert "--shm-size=28gb -m 28G --gpus=device=1 --name team" in line
    assert report()["cases"][0]["runs"][0]["loads"]["gpu_mib"]["peak"] == 10.0


def test_an_archive_is_loaded_and_names_the_team(fake):
    write_archive(Path("Team.v2.tar.gz"), ["team:latest"])
    done = efficiency("--image", "Team.v2.tar.gz")
    assert done.exit_code == 0, done.output
    assert docker_calls()[1] == "load --input Team.v2.tar.gz"
    assert report()["team"] == "team"
    assert not [line for line in docker_calls() if line.startswith("rmi")]


def test_a_time_limit_removes_the_container(fake, monkeypatch):
    monkeypatch.setenv("FAKE_RUN", 'echo $$ >"$FAKE_LOG.pid"; echo stuck >&2; exec sleep 300')
    done = efficiency("--image", "team", "--timeout", 0.5)
    assert done.exit_code == 1
    assert docker_calls()[-1] == "rm --force --volumes 0123abcd"
    (run,) = report()["cases"][0]["runs"]
    assert run["error"] == "killed after 0.5 s, the time limit of --timeout"
    assert run["stderr_tail"] == "stuck"
    assert subprocess.run(["kill", "-0", Path("log.pid").read_text().strip()]).returncode != 0


def test_what_docker_says_of_a_failure_is_kept(fake, monkeypatch):
    monkeypatch.setenv("FAKE_RUN", "echo no such device >&2; exit 125")
    assert efficiency("--image", "team").exit_code == 1
    (run,) = report()["cases"][0]["runs"]
    assert (run["exit_status"], run["stderr_tail"]) == (125, "no such device")


def test_a_container_of_the_same_name_is_left_alone(fake, monkeypatch):
    monkeypatch.setenv("FAKE_CONFLICT", "1")  # Docker makes no container then, and writes no id
    monkeypatch.setenv("FAKE_RUN", "echo name is already in use >&2; exit 125")
    assert efficiency("--image", "team").exit_code == 1
    (run,) = report()["cases"][0]["runs"]
    assert (run["exit_status"], run["stderr_tail"]) == (125, "name is already in use")
    words = [word for line in docker_calls()[3:] for word in line.split()]
    assert not {"rm", "kill", "stop"} & set(words)


@pytest.mark.parametrize(
    ("output", "error"),
    [
        ("Error: No such container: 0123abcd", "killed after 0.3 s, the time limit of --timeout"),
        ("permission denied", "container 0123abcd may still run: docker rm: permission denied"),
    ],
)
def test_a_container_that_cannot_be_removed_is_reported(fake, monkeypatch, output, error):
    monkeypatch.setenv("FAKE_RUN", "exec sleep 300")
    monkeypatch.setenv("FAKE_RM", output)
    assert efficiency("--image", "team", "--timeout", 0.3).exit_code == 1
    assert report()["cases"][0]["runs"][0]["error"] == error


@pytest.mark.parametrize("call", ["version", "load", "image"])
def test_no_call_of_docker_waits_for_ever(fake, monkeypatch, call):
    write_archive(Path("team.tar.gz"), ["team:latest"])
    monkeypatch.setenv("FAKE_STUCK", call)
    for name, limit_s in {"ANSWER_S": 1.5, "LOAD_S": 0.5}.items():
        monkeypatch.setattr(f"evaluation.efficiency.containers.{name}", limit_s)
    done = efficiency("--image", "team.tar.gz")
    assert done.exit_code == 1
    limit = "0.5" if call == "load" else "1.5"
    assert f"docker {call} did not end within {limit} s; see whether its daemon" in done.output


BAD_IMAGES = {
    "no such archive": ("gone.tar.gz", {}, "image archive gone.tar.gz does not exist"),
    "a folder": ("folder.tar", {}, "image archive folder.tar does not exist"),
    "broken archive": ("bad.tar.gz", {}, "bad.tar.gz is no readable archive"),
    "refused archive": ("team.tar.gz", {"FAKE_NO_ARCHIVE": "1"}, "docker load: invalid tar header"),
    "no such image": (
        "other",
        {},
        "no image other:latest is seen (docker image: exit status 1); tag it",
    ),
    "archive of another image": ("other.tar", {}, "other.tar is not other:latest: it holds team:l"),
    "archive of two images": ("two.tar", {}, "it holds two:latest, python:3.11; write it with"),
    "another image was loaded": (
        "team.tar.gz",
        {"FAKE_LOADED": "Loaded image: other:latest"},
        "docker load did not load team:latest from team.tar.gz: Loaded image: other:latest",
    ),
    "nothing was loaded": ("team.tar.gz", {"FAKE_LOADED": ""}, "from team.tar.gz: no answer"),
    "upper case": ("Team", {}, "Team is no name for an image here"),
    "a tag": ("team:v2", {}, "team:v2 is no name for an image here"),
    "no daemon": ("team", {"FAKE_NO_DAEMON": "1"}, "docker version: Cannot connect to the daemon"),
    "no docker": ("team", {"PATH": "/nowhere"}, "needs the program docker, which is not installed"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_reported_in_one_line(fake, monkeypatch, name):
    Path("bad.tar.gz").write_bytes(b"no archive")
    Path("folder.tar").mkdir()
    write_archive(Path("team.tar.gz"), ["team:latest"])
    write_archive(Path("other.tar"), ["team:latest"])
    write_archive(Path("two.tar"), ["two:latest", "python:3.11"])
    image, variables, message = BAD_IMAGES[name]
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    done = efficiency("--image", image)
    assert done.exit_code == 1
    (line,) = done.output.strip().splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert not Path("out").exists()


# ----- Docker itself --------------------------------------------------------------------------

EATEN_MIB = 200
PREDICT = f"""set -eu
{{ head -c {EATEN_MIB << 20} /dev/zero; sleep 1; }} | tail -n 1 >/dev/null
for file in inputs/*_0000.nii.gz; do
  [ "$file" != inputs/stuck_0000.nii.gz ] || sleep 300
  [ "$file" != inputs/bad_0000.nii.gz ] || {{ echo no organ >&2; exit 4; }}
  [ "$file" != inputs/link_0000.nii.gz ] || {{ ln -s /etc/hostname outputs/link.nii.gz; exit 0; }}
  [ "$file" != inputs/pipe_0000.nii.gz ] || {{ mkfifo outputs/pipe.nii.gz; exit 0; }}
  cp "$file" "outputs/$(basename "$file" _0000.nii.gz).nii.gz"
done
"""
PROGRAMS = ("bash", "sh", "basename", "cp", "head", "ln", "mkfifo", "sleep", "tail")


def libraries(program):
    """Absolute paths of the shared libraries of a program, its loader too."""
    output = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    words = [word for line in output.splitlines() for word in line.split()]
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
        write_both(Path("in", f"{case}_0000.nii.gz"))
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
    given = Path("in", "good_0000.nii.gz").read_bytes()
    assert Path("out", "predictions", "good.nii.gz").read_bytes() == given
    containers = docker("ps", "--all", "--format", "{{.Names}}", text=True).stdout.split()
    assert report()["team"] not in containers


@pytest.mark.docker
def test_real_links_and_pipes_are_no_results_and_a_container_of_that_name_stays(
    image, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for case in ("link", "pipe"):
        write_both(Path("in", f"{case}_0000.nii.gz"))
    done = efficiency("--image", image)
    assert [row["runs"][0]["error"] for row in report()["cases"]] == [
        f"exit status 0, but {case}.nii.gz is no regular file; write the label map itself"
        for case in ("link", "pipe")
    ], done.output
    assert list(Path("out", "predictions").iterdir()) == []
    team = report()["team"]
    docker("create", "--name", team, f"{team}:latest", "/bin/sh")
    try:
        assert efficiency("--image", image).exit_code == 1
        run = report()["cases"][0]["runs"][0]
        assert run["exit_status"] == 125
        assert f'The container name "/{team}" is already in use' in run["stderr_tail"]
        names = docker("ps", "--all", "--format", "{{.Names}}", text=True).stdout.split()
        assert team in names
    finally:
        docker("rm", "--force", team)
