"""SIGTERM, as `docker stop` sends it: one line, exit code 143, no half-written file."""

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("openvino")

ROOT = Path(__file__).parents[2]
LATEST_S = 120  # far more than it needs: nothing is asserted of it


def ended(code, folder):
    """Run `code` in a process of its own: a signal to this one might hit any library's thread."""
    head = (
        "import os, signal\nfrom pathlib import Path\nfrom imaging.files import replacing\n"
        "from inference.termination import ending_on_sigterm\n"
    )
    command = [sys.executable, "-c", head + code, folder]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=LATEST_S, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_a_file_under_way_is_removed_and_the_handler_given_back(tmp_path):
    code = """
import sys
before = signal.getsignal(signal.SIGTERM)
try:
    with ending_on_sigterm(), replacing(Path(sys.argv[1]) / "map") as partial:
        partial.write_text("half")
        os.kill(os.getpid(), signal.SIGTERM)
        print("went on")
finally:
    print(signal.getsignal(signal.SIGTERM) is before)
"""
    assert ended(code, tmp_path) == (
        143,  # 128 + 15
        "True\n",
        "Error: ended by SIGTERM; the label maps that are there are whole\n",
    )
    assert list(tmp_path.iterdir()) == []


def test_a_failed_case_is_not_what_sigterm_is_taken_for(tmp_path):
    code = """
with ending_on_sigterm():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except Exception:
        print("somebody's `except Exception` swallowed it")
"""
    assert ended(code, tmp_path)[:2] == (143, "")


def test_predict_ends_between_the_first_case_and_the_last(manifest_path, write_ct, boxes, tmp_path):
    inputs, outputs = tmp_path / "inputs", tmp_path / "outputs"
    write_ct(inputs / "a_0000.nii.gz", boxes[0])
    noise = np.random.default_rng(0).integers(-1000, 400, (60, 90, 90), dtype=np.int16)
    for number in range(50):  # minutes of work
        write_ct(inputs / f"b{number:02}_0000.nii.gz", noise)
    command = ["-m", "inference", "predict", inputs, outputs, "--manifest", manifest_path]
    process = subprocess.Popen(
        [sys.executable, *command, "--threads", "1"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    latest_s = time.monotonic() + LATEST_S
    while not (outputs / "a.nii.gz").is_file() and time.monotonic() < latest_s:
        time.sleep(0.01)
    process.terminate()
    _, output = process.communicate(timeout=LATEST_S)
    assert process.returncode == 143, output
    assert "Traceback" not in output
    assert output.splitlines()[-1] == (
        "Error: ended by SIGTERM; the label maps that are there are whole"
    )
    table = json.loads((outputs / "run.json").read_text())
    assert table["cases"][0]["status"] == "done"
    assert table["cases"][-1]["status"] == "not reached"
    assert table["ended"] == "ended by a signal"
    found = sorted(path.name for path in outputs.iterdir() if path.name != "run.json")
    assert found[0] == "a.nii.gz"
    assert len(found) < 51
    assert all(not name.startswith(".") for name in found)
    for name in found:
        with gzip.open(outputs / name) as stream:
            stream.read()  # whole: gzip's checksum holds


def test_a_ct_that_is_still_being_read_is_not_waited_for(manifest_path, tmp_path):
    """A pipe into which nobody writes is read for ever."""
    inputs, outputs = tmp_path / "inputs", tmp_path / "outputs"
    inputs.mkdir()
    os.mkfifo(inputs / "a_0000.nii.gz")
    command = ["-m", "inference", "predict", inputs, outputs, "--manifest", manifest_path]
    process = subprocess.Popen(
        [sys.executable, *command, "--challenge"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    latest_s = time.monotonic() + LATEST_S
    while not outputs.is_dir() and time.monotonic() < latest_s:
        time.sleep(0.01)
    time.sleep(1)  # until it is waited for
    process.terminate()
    _, output = process.communicate(timeout=LATEST_S)
    assert (process.returncode, output) == (
        143,
        "Error: ended by SIGTERM; the label maps that are there are whole\n",
    )
