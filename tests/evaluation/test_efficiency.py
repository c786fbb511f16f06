"""`python -m evaluation efficiency` on real processes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from evaluation.cli import main
from tests.evaluation.maps import write_both, write_map

ROOT = Path(__file__).parents[2]
COPY = 'for f in inputs/*; do cp "$f" "outputs/$(basename "$f" _0000.nii.gz).nii.gz"; done'
EATER_MIB = 512
EATER = f"""
import sys, time
block = bytearray({EATER_MIB} << 20)
for start in range(0, len(block), 4096):
    block[start] = 1
time.sleep(0.5)
open(sys.argv[1] + "/a.nii.gz", "wb").write(open("inputs/a_0000.nii.gz", "rb").read())
"""


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A working folder with `in/a_0000.nii.gz` and `in/b_0000.nii.gz`."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for case in "ab":
        write_both(Path("in", f"{case}_0000.nii.gz"), ord(case))
    return tmp_path


def efficiency(*arguments, inputs="in", output="out"):
    """The command line in this process."""
    words = ["efficiency", "--inputs", inputs, "-o", output, *map(str, arguments)]
    return CliRunner().invoke(main, words)


def shell(script, *options):
    return efficiency(*options, "--", "sh", "-c", script)


def report(output="out"):
    return json.loads(Path(output, "efficiency.json").read_text("utf-8"))


def runs_of(case):
    (found,) = [row for row in report()["cases"] if row["case"] == case]
    return found["runs"]


def test_every_case_is_alone_in_a_fresh_folder(folders):
    Path("beside.txt").write_text("seen")
    Path("inputs").mkdir()
    Path("inputs", "mine_0000.nii.gz").write_text("not this one")
    Path("outputs").mkdir()
    listing = "cat beside.txt; ls inputs outputs; "
    done = shell(listing + COPY)
    assert done.exit_code == 0, done.output
    for case in "ab":
        log = Path("out", "logs", f"{case}_run1.stdout.txt").read_text()
        assert log == f"seeninputs:\n{case}_0000.nii.gz\n\noutputs:\n"
        given = Path("in", f"{case}_0000.nii.gz").read_bytes()
        assert Path("out", "predictions", f"{case}.nii.gz").read_bytes() == given
        assert Path("out", "figures", f"{case}.png").is_file()
    assert sorted(path.name for path in Path("outputs").iterdir()) == []
    assert not list(Path("out").glob(".work*"))


def test_placeholders_become_the_folders(folders):
    done = efficiency("--", "sh", "-c", 'cp "$1"/*.gz "$2/$(ls "$1" | cut -c1).nii.gz"', "-",
                      "{inputs}", "{outputs}")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert report()["command"][-2:] == ["{inputs}", "{outputs}"]
    given = Path("in", "b_0000.nii.gz").read_bytes()
    assert Path("out", "predictions", "b.nii.gz").read_bytes() == given


def test_time_is_not_less_than_what_the_command_slept(folders):
    assert shell(f"sleep 0.7; {COPY}").exit_code == 0
    for case in "ab":
        (run,) = runs_of(case)
        assert run["seconds"] >= 0.7
        with Path("out", "samples", f"{case}.csv").open(newline="") as stream:
            times = [float(row["seconds"]) for row in csv.DictReader(stream)]
        assert run["samples"] == len(times) >= 2
        assert times == sorted(times)
        assert times[-1] <= run["seconds"]


def test_own_ram_of_a_command_that_eats_a_known_amount(folders):
    Path("in", "b_0000.nii.gz").unlink()
    # the shell stays its parent: the whole tree is measured
    done = shell(f"{sys.executable} -c '{EATER}' outputs; true")
    assert done.exit_code == 0, done.output
    (run,) = runs_of("a")
    assert run["loads"]["own_ram_mib"]["peak"] == pytest.approx(EATER_MIB, rel=0.05)
    assert run["loads"]["ram_mib"]["peak"] >= run["loads"]["own_ram_mib"]["peak"]


def test_a_case_that_fails_is_a_row_and_the_others_go_on(folders):
    done = shell(f"test -f inputs/b* || {{ echo no such organ >&2; exit 3; }}; {COPY}")
    assert done.exit_code == 1
    assert "Error: 1 of 2 cases failed" in done.output
    (bad,), (good,) = runs_of("a"), runs_of("b")
    assert (bad["exit_status"], bad["error"]) == (3, "exit status 3")
    assert bad["stderr_tail"] == "no such organ"
    assert (good["exit_status"], good["error"], good["stderr_tail"]) == (0, None, "")
    assert [row["verdict"] for row in report()["cases"]] == [
        "failed: exit status 3",
        "within limits; GPU not measured"
        if report()["circumstances"]["no_gpu"]
        else "within limits",
    ]
    with Path("out", "efficiency.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["Name"] for row in rows] == ["a_0000.nii.gz", "b_0000.nii.gz"]
    assert float(rows[0]["Time"]) < float(rows[0]["MaxRAM"])  # it has its figures, as officially


@pytest.mark.parametrize(
    ("script", "status", "error"),
    [
        ("true", 0, "exit status 0, but nothing in outputs instead of a.nii.gz"),
        ("touch outputs/x outputs/a.nii", 0, "exit status 0, but only a.nii, x in outputs"),
        (
            "touch outputs/a.nii.gz",
            0,
            "exit status 0, but a.nii.gz is no label map of a_0000.nii.gz",
        ),
        ("echo no map >outputs/a.nii.gz", 0, "exit status 0, but a.nii.gz is no label map of a_"),
        ("head -c 99 inputs/* >outputs/a.nii.gz", 0, "exit status 0, but a.nii.gz is no label map"),
        ("mkdir outputs/a.nii.gz", 0, "exit status 0, but a.nii.gz is no regular file"),
        ("mkfifo outputs/a.nii.gz", 0, "exit status 0, but a.nii.gz is no regular file"),
        ("ln -s ../inputs/* outputs/a.nii.gz", 0, "exit status 0, but a.nii.gz is no regular file"),
        ("ln -s nowhere outputs/a.nii.gz", 0, "exit status 0, but a.nii.gz is no regular file"),
        ("kill -9 $$", -9, "exit status -9 (SIGKILL)"),
        ("exit 137", 137, "exit status 137 (SIGKILL)"),
        ("exit 255", 255, "exit status 255"),
    ],
)
def test_why_a_case_failed(folders, script, status, error):
    Path("in", "b_0000.nii.gz").unlink()
    assert shell(script).exit_code == 1
    (run,) = runs_of("a")
    assert run["exit_status"] == status
    assert run["error"].startswith(error)
    assert run["pred_sha256"] is None


ELSEWHERE = {  # a map that is none of this CT's, and the message
    "cut": (lambda labels: (labels[:1], {}), "the map has 4×3×1 voxels, not 4×3×2"),
    "turned": (lambda labels: (labels.transpose(), {}), "the map has 2×3×4 voxels, not 4×3×2"),
    "moved": (lambda labels: (labels, {"origin": (0.0, 0.0, 5.0)}), "the map's origin is"),
    "stretched": (lambda labels: (labels, {"spacing_mm": (2.0, 1.0, 1.0)}), "the map's spacing is"),
    "halves": (lambda labels: (labels / 2, {}), "labels must be whole numbers"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_map_that_is_not_of_the_case_is_no_result(folders, name):
    Path("in", "b_0000.nii.gz").unlink()
    change, message = ELSEWHERE[name]
    labels, options = change(np.arange(24, dtype=np.float32).reshape(2, 3, 4) % 15)
    write_map(labels, Path("map.nii.gz"), **options)
    assert shell("cp map.nii.gz outputs/a.nii.gz").exit_code == 1
    (run,) = runs_of("a")
    assert run["error"].startswith("exit status 0, but a.nii.gz is no label map of a_0000.nii.gz: ")
    assert message in run["error"]
    assert (run["pred_sha256"] is None) == (name == "halves")


def test_a_link_to_a_file_of_ours_is_not_copied(folders):
    Path("in", "b_0000.nii.gz").unlink()
    Path("secret").write_text("ours")
    assert shell(f"ln -s {folders}/secret outputs/a.nii.gz").exit_code == 1
    assert list(Path("out", "predictions").iterdir()) == []


def test_what_cannot_be_removed_stays_and_no_rights_of_ours_change(folders, monkeypatch):
    Path("in", "b_0000.nii.gz").unlink()
    Path("secret").write_text("ours")
    Path("secret").chmod(0o640)
    unlink = os.unlink

    def refused(path, **options):  # as where a container's root made the folder
        if Path(path).name == "link":
            raise PermissionError(13, "Permission denied", path)
        unlink(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refused)
        done = shell(f"mkdir outputs/d; ln -s {folders}/secret outputs/d/link; {COPY}")
    assert done.exit_code == 0, done.output
    assert Path("secret").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in Path("out").glob(".work-*/outputs/d/*")] == ["link"]


def test_what_a_program_says_does_not_steer_the_terminal(folders):
    Path("in", "b_0000.nii.gz").unlink()
    done = shell(r"printf 'red \033[31m\377 end' >&2; touch $(printf 'outputs/\033]0;x'); exit 3")
    assert runs_of("a")[0]["stderr_tail"] == "red \ufffd[31m\ufffd end"
    assert "\033[31m" not in done.output
    shell(r"touch $(printf 'outputs/\033]0;\377x')")
    assert "but only \ufffd]0;\ufffdx in outputs" in runs_of("a")[0]["error"]


def test_names_are_neither_markup_nor_formulas(folders):
    Path("in", "a_0000.nii.gz").rename("in/[red]$x^a$b^c$_0000.nii.gz")
    done = shell(COPY, "--team", "[bold]us")
    assert done.exit_code == 0, done.output
    assert "[red]$x^a$b^c$" in "".join(done.output.split())
    assert "efficiency of [bold]us" in done.output


def test_the_label_map_of_an_earlier_measurement_does_not_stay(folders):
    assert shell(COPY).exit_code == 0
    assert shell("exit 1").exit_code == 1
    assert list(Path("out", "predictions").iterdir()) == []


def test_a_time_limit_ends_the_command_and_all_that_it_started(folders):
    Path("in", "b_0000.nii.gz").unlink()
    # a child in the group, one that left it, and a grandchild
    script = (
        "sleep 300 & echo $! >>PIDS; setsid sleep 301 & echo $! >>PIDS;"
        " sh -c 'sleep 302 & echo $! >>PIDS; wait' & echo waiting >&2; wait"
    ).replace("PIDS", str(folders / "pids"))
    assert shell(script, "--timeout", 0.6).exit_code == 1
    (run,) = runs_of("a")
    assert run["exit_status"] is None
    assert run["error"] == "killed after 0.6 s, the time limit of --timeout"
    assert run["stderr_tail"] == "waiting"
    assert run["seconds"] >= 0.6
    pids = [int(line) for line in Path("pids").read_text().split()]
    assert len(pids) == 3
    assert not [pid for pid in pids if alive(pid)]


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_a_command_leaves_behind_is_ended_as_in_a_container(folders):
    assert shell(f"sleep 300 & echo $! >{folders}/$(ls inputs).pid; {COPY}").exit_code == 0
    pids = [int(path.read_text()) for path in Path().glob("*.pid")]
    assert len(pids) == 2
    assert not [pid for pid in pids if alive(pid)]


DAEMONS = {
    "in the session": "sleep 300 & echo $! >PID",
    "in a session of its own": "setsid sleep 300 & echo $! >PID",
    "without a parent": "(setsid sh -c 'echo $$ >PID; exec sleep 300' &) ; sleep 0.3",
    "without a parent, at once": "(setsid sh -c 'echo $$ >PID; exec sleep 300' &)",
    "twice without a parent": (
        "(setsid sh -c '(setsid sh -c \"echo \\$\\$ >PID; exec sleep 300\" &)' &)"
    ),
}


@pytest.mark.parametrize("name", DAEMONS)
def test_a_daemon_is_ended_and_named(folders, name):
    Path("in", "b_0000.nii.gz").unlink()
    script = DAEMONS[name].replace("PID", str(folders / "pid"))
    done = shell(f"{script}; until [ -s {folders}/pid ]; do sleep 0.01; done; {COPY}")
    assert done.exit_code == 0, done.output
    pid = int(Path("pid").read_text())
    assert not alive(pid)
    (run,) = runs_of("a")
    assert [line for line in run["left_running"] if line.endswith(f"(process {pid})")]
    assert f"left running, and ended: {', '.join(run['left_running'])}" in done.output


def test_what_is_not_left_running_is_not_named(folders):
    assert shell(f"sleep 0.2 & wait; {COPY}").exit_code == 0
    assert shell("sleep 300", "--timeout", 0.3).exit_code == 1  # it was running, not left
    assert [run["left_running"] for case in "ab" for run in runs_of(case)] == [[], []]


def test_repeats_run_every_case_before_any_again(folders):
    assert shell(f"ls inputs >>{folders}/order; {COPY}", "--repeat", 3).exit_code == 0
    assert Path("order").read_text().split() == ["a_0000.nii.gz", "b_0000.nii.gz"] * 3
    for row in report()["cases"]:
        seconds = sorted(run["seconds"] for run in row["runs"])
        assert row["figures"]["seconds"]["median"] == seconds[1]
        assert row["figures"]["seconds"]["min"] == seconds[0]
        assert len({run["pred_sha256"] for run in row["runs"]}) == 1
    with Path("out", "efficiency.csv").open(newline="") as stream:
        (first, _) = csv.DictReader(stream)
    median = report()["cases"][0]["figures"]["seconds"]["median"]
    assert float(first["Time"]) == pytest.approx(median, abs=0.0051)


def test_a_case_over_the_time_limit_is_reported_and_no_failure(folders):
    done = shell(f"sleep 0.3; {COPY}", "--time-limit", 0.2, "--team", "ust", "--split", "test")
    assert done.exit_code == 0, done.output
    table = report()
    assert (table["team"], table["split"], table["limits"]["seconds"]) == ("ust", "test", 0.2)
    for row in table["cases"]:
        assert not row["within_limits"]
        assert row["verdict"].endswith("s over 0.2 s")


def test_an_interrupt_ends_what_runs(folders):
    command = [sys.executable, "-m", "evaluation", "efficiency", "--inputs", "in", "-o", "out"]
    script = f"echo $$ >{folders}/pid; sleep 300"
    process = subprocess.Popen(
        [*command, "--", "sh", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A test run in the background ignores interrupts, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (Path("pid").exists() and Path("pid").read_text().strip()):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 1
    assert not alive(int(Path("pid").read_text()))
    assert not list(Path("out").glob(".work*"))


WRONG_USAGE = {
    "no command": ([], "give either --image or, after --, the command to time"),
    "both command and image": (["--image", "x", "--", "true"], "give either --image or"),
    "zero repeats": (["--repeat", "0", "--", "true"], "0 is not in the range x>=1"),
    "negative timeout": (["--timeout", "-1", "--", "true"], "-1.0 is not in the range x>0"),
    "zero timeout": (["--timeout", "0", "--", "true"], "0.0 is not in the range x>0"),
    "negative limit": (["--time-limit", "-1", "--", "true"], "-1.0 is not in the range x>=0"),
    "negative memory": (["--memory-limit", "-1", "--", "true"], "is not in the range x>=0"),
    "negative GPU": (["--gpu-index", "-1", "--", "true"], "-1 is not in the range x>=0"),
    "an option of the command's before --": (["python", "-x"], "No such option"),
}


@pytest.mark.parametrize("name", WRONG_USAGE)
def test_wrong_usage(folders, name):
    arguments, message = WRONG_USAGE[name]
    done = efficiency(*arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert not Path("out").exists()


BAD_INPUT = {
    "no inputs folder": ("gone", "out", ["true"], "inputs folder gone does not exist"),
    "inputs is a file": ("file", "out", ["true"], "inputs folder file is not a folder"),
    "empty folder": ("empty", "out", ["true"], "holds no <case>_0000.nii.gz; put a CT there"),
    "no such command": ("in", "out", ["nosuchcommand"], "command nosuchcommand is not found"),
    "no such file": ("in", "out", ["./nosuch.sh"], "command ./nosuch.sh is not found"),
    "not executable": ("in", "out", ["./file"], "command ./file may not be executed"),
    "a folder as command": ("in", "out", ["./empty"], "command ./empty may not be executed"),
    "output is a file": ("in", "file", ["true"], "cannot write into file: Not a directory"),
    "output in no folder": ("in", "/proc/none", ["true"], "cannot write into /proc/none"),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_reported_in_one_line(folders, name):
    Path("file").write_text("")
    Path("empty").mkdir()
    inputs, output, command, message = BAD_INPUT[name]
    done = efficiency("--", *command, inputs=inputs, output=output)
    assert done.exit_code == 1
    (line,) = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert message in line
    assert "Traceback" not in done.output


def test_a_program_that_the_system_refuses_is_a_row(folders):
    Path("program").write_bytes(b"\x7fELFbroken")
    Path("program").chmod(0o755)
    assert efficiency("--", "./program").exit_code == 1
    assert {run["error"] for case in "ab" for run in runs_of(case)} == {
        "cannot start ./program: Exec format error"
    }
