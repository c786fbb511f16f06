"""predict.sh is what the organisers call; locks/make_env.sh makes what it runs in."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = (
    "predict.sh",
    "tests/run.sh",
    "tests/chromium.sh",
    "tests/gpu/run.sh",
    "tests/image/build.sh",
    "tests/kill_run.sh",
    "tests/slurm/start.sh",
    "tests/slurm/stop.sh",
    "locks/make_env.sh",
    "locks/compile.sh",
)
RECORDER = """#!/bin/sh
# Stands in for a Python interpreter: writes down its folder and arguments.
echo "${FLARE23_START_S:-none}" >"$RECORD.start"
{ pwd; for argument in "$@"; do echo "$argument"; done; echo; } >>"$RECORD"
case " $* " in *" sample "*) mkdir -p inputs; : >inputs/sample_0000.nii.gz ;; esac
exit "${STATUS:-0}"
"""
FAKE_PYTHON = """#!/bin/sh
# Stands in for python3 and for the Python inside an environment; FAIL names the step that fails.
echo "$*" >>"$RECORD"
case "$*" in
  *"-m $FAIL "*) exit 1 ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
"""


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_plain_posix_shell(script):
    shell = shutil.which("dash") or shutil.which("sh")
    subprocess.run([shell, "-n", ROOT / script], check=True)
    assert (ROOT / script).read_text().startswith("#!/bin/sh\n")


def test_without_slurm_its_script_says_what_to_install_and_makes_nothing(tmp_path):
    shell = shutil.which("sh")
    done = subprocess.run(
        [shell, ROOT / "tests/slurm/start.sh", tmp_path / "cluster"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "munged is not installed: apt-get install slurm-wlm munge\n"
    assert not list(tmp_path.iterdir())


@pytest.fixture
def workspace(tmp_path):
    """A copy of the scripts in a folder with a space in its name."""
    folder = tmp_path / "my work"
    (folder / "locks").mkdir(parents=True)
    shutil.copy(ROOT / "predict.sh", folder)
    shutil.copy(ROOT / "locks/make_env.sh", folder / "locks")
    (folder / "locks/inference.txt").write_text("click==8.1\n")
    return folder


@pytest.fixture
def predict(workspace, tmp_path):
    """Run predict.sh as in the image: FLARE23_PYTHON is set. Gives the calls of the interpreter."""

    def run(*arguments, status=0):
        record = tmp_path / "record"
        record.write_text("")
        python = executable(tmp_path / "recorder", RECORDER)
        environment = {"FLARE23_PYTHON": python, "RECORD": record, "STATUS": status}
        done = subprocess.run(
            ["sh", workspace / "predict.sh", *arguments],
            cwd=tmp_path,
            env=os.environ | {key: str(value) for key, value in environment.items()},
            check=False,
        )
        calls = [call.splitlines() for call in record.read_text().split("\n\n") if call]
        return done.returncode, calls

    return run


def test_in_the_image_predict_sh_does_nothing_but_predict(predict, workspace):
    before = sorted(workspace.rglob("*"))
    call = [str(workspace), "-m", "inference", "predict", "inputs", "outputs", "--challenge"]
    assert predict() == (0, [call])
    assert sorted(workspace.rglob("*")) == before


def test_further_options_go_to_predict(predict):
    _, [call] = predict("--tta", "flip-x", "--report", "a name.json")
    assert call[4:] == [
        "inputs", "outputs", "--challenge", "--tta", "flip-x", "--report", "a name.json",
    ]  # fmt: skip


def test_the_exit_code_is_the_predictions(predict):
    assert predict(status=1)[0] == 1
    assert predict(status=2)[0] == 2


@pytest.mark.skipif(not Path("/proc/uptime").exists(), reason="no /proc")
def test_making_the_environment_does_not_count(predict, workspace, tmp_path):
    predict("--sample")  # whose writing does not count either
    told_s = float((tmp_path / "record.start").read_text())
    assert 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - told_s < 100
    text = (workspace / "predict.sh").read_text()
    assert text.index("make_env.sh") < text.index("read -r FLARE23_START_S") < text.index("exec")


def test_a_sample_is_written_only_where_there_is_no_case(predict, workspace):
    _, calls = predict("--sample", "--tta", "none")
    assert [call[3:] for call in calls] == [
        ["sample", "inputs"],
        ["predict", "inputs", "outputs", "--challenge", "--tta", "none"],
    ]
    assert (workspace / "inputs/sample_0000.nii.gz").exists()
    _, calls = predict("--sample")
    assert [call[3:] for call in calls] == [["predict", "inputs", "outputs", "--challenge"]]


@pytest.fixture
def make_env(workspace, tmp_path):
    """Run locks/make_env.sh with stand-ins for python3 and pip; gives exit code and their calls."""

    def run(fail="nothing"):
        record = tmp_path / "record"
        record.write_text("")
        executable(tmp_path / "bin/python3", FAKE_PYTHON)
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "locks/make_env.sh", ".venv", "locks/inference.txt"],
            cwd=workspace,
            env=os.environ | {"PATH": path, "RECORD": str(record), "FAIL": fail},
            capture_output=True,
            check=False,
        )
        made = [line for line in record.read_text().splitlines() if line.startswith("-m")]
        return done.returncode, [line.split()[1] for line in made]

    return run


def test_an_environment_is_made_once(make_env, workspace):
    assert make_env() == (0, ["venv", "pip"])
    assert (workspace / ".venv/bin/python").exists()
    assert make_env() == (0, [])


def test_another_lock_means_another_environment(make_env, workspace):
    make_env()
    stale = workspace / ".venv/stale"
    stale.touch()
    (workspace / "locks/inference.txt").write_text("click==8.2\n")
    assert make_env() == (0, ["venv", "pip"])
    assert not stale.exists()


@pytest.mark.parametrize("step", ["venv", "pip"])
def test_a_half_made_environment_is_never_taken_for_a_whole_one(make_env, step):
    status, _ = make_env(fail=step)
    assert status != 0
    assert make_env() == (0, ["venv", "pip"])


@pytest.mark.parametrize(
    ("user", "programs", "asked", "told"),
    [
        (0, {"chromium": "", "apt-get": "exit 1"}, 0, []),
        (1000, {"apt-get": "exit 1"}, 0, []),
        (0, {}, 0, []),
        (0, {"apt-get": ""}, 2, ["installing chromium (once)"]),
        (
            0,
            {"apt-get": "echo E: no network >&2; exit 100"},
            1,
            [
                "installing chromium (once)",
                "no chromium can be had; its tests are skipped",
            ],
        ),
    ],
    ids=["there", "no root", "no Debian", "installed", "no network"],
)
def test_chromium_is_installed_where_that_can_be_and_is_never_needed(
    tmp_path, user, programs, asked, told
):
    record = tmp_path / "record"
    record.touch()
    for name, body in {"id": f"echo {user}", **programs}.items():
        call = "" if name == "id" else f'echo "$*" >>"{record}"\n'
        executable(tmp_path / "bin" / name, f"#!/bin/sh\n{call}{body}\n")
    done = subprocess.run(
        [shutil.which("sh"), ROOT / "tests/chromium.sh"],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines() == told
    assert done.stdout == ""
    assert len(record.read_text().splitlines()) == asked
