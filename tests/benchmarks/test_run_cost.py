"""What a command and its stages take is seen from outside; a killed group leaves no process."""

import sys
import time

import psutil
import pytest

from benchmarks.run_cost import BETWEEN, key_in, kill_when, run_costs
from evaluation.efficiency.sampling import MIB
from imaging.errors import KitError

FILE_MIB, HELD_MIB, CPU_S = 100, 200, 0.4


def test_a_stage_is_known_by_its_command_line():
    words = [
        "python",
        "-c",
        "code",
        "stage",
        "label",
        "r.toml",
        "--round",
        "teacher",
        "--part",
        "3",
    ]
    assert key_in(words) == "teacher/label/part003"
    assert key_in(["python", "-c", "code", "stage", "data", "r.toml", "--run", "stage_1"]) == "data"
    assert key_in(["python", "-m", "train", "run", "r.toml"]) == BETWEEN
    assert key_in([]) == BETWEEN


CHILD = f"""
import sys, time
held = open(sys.argv[3], "rb").read()
held = bytearray(b"x") * ({HELD_MIB} << 20)
while time.process_time() < {CPU_S}: pass
time.sleep(0.4)
"""
PARENT = """
import subprocess, sys
words = [sys.executable, "-c", sys.argv[2], "stage", "data", sys.argv[1]]
subprocess.run(words, check=True)
"""


def test_what_a_stage_takes_is_counted_with_it(tmp_path):
    (tmp_path / "file").write_bytes(bytes(FILE_MIB * MIB))
    costs = run_costs([sys.executable, "-c", PARENT, str(tmp_path / "file"), CHILD])
    assert set(costs) <= {"data", BETWEEN}
    data = costs["data"]
    assert FILE_MIB <= data.read_mib < FILE_MIB + 20
    assert HELD_MIB <= data.peak_mib < HELD_MIB + FILE_MIB + 100
    assert CPU_S <= sum(cost.cpu_s for cost in costs.values()) < CPU_S + 10
    assert data.seconds > 0.4


def test_a_command_that_fails_or_is_killed_is_said():
    with pytest.raises(KitError, match="ended with 3: why"):
        run_costs([sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"])
    with pytest.raises(KitError, match="was killed by signal 9"):
        run_costs([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])


def test_all_processes_of_the_group_are_killed(tmp_path):
    child = "import pathlib, os, sys, time; path = pathlib.Path(sys.argv[1]); "
    child += "path.with_suffix('.new').write_text(str(os.getpid())); "
    child += "path.with_suffix('.new').rename(path); time.sleep(60)"
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    place = tmp_path / "pid"
    start_s = time.monotonic()
    assert kill_when([sys.executable, "-c", parent, child, str(place)], place.exists)
    assert time.monotonic() - start_s < 50
    assert not psutil.pid_exists(int(place.read_text()))
    assert not kill_when([sys.executable, "-c", ""], lambda: False)
