"""What a case will take: steps, memory and clocks worked out by hand, and a run within limits."""

import json
import mmap
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from imaging.machine import peak_memory_mib
from inference.cli import main
from inference.limits import choose_step, memory_mib, resident_mib
from inference.pipeline import predict_folder
from inference.predictor import Settings
from inference.report import now_s, process_start_s
from inference.sliding_window import Window

MIB = 1 << 20
WINDOW = Window((10, 10, 10), 0.5, "gaussian", ((),))
ONE_THREAD = {"threads": 1, "precision": "f32"}


@pytest.mark.parametrize(
    ("limit_s", "step", "windows", "seconds"),
    [
        # 30 voxels: steps of 5, 6, 7, 8, 9, 10 voxels make 5, 5, 4, 4, 4, 3 windows along an axis
        (None, 0.5, 125, 128.0),
        (200.0, 0.5, 125, 128.0),
        (128.0, 0.5, 125, 128.0),
        (127.9, 0.7, 64, 67.0),
        (66.0, 1.0, 27, 30.0),
        (10.0, 1.0, 27, 30.0),  # none fits
    ],
)
def test_the_first_step_that_keeps_the_time_limit(limit_s, step, windows, seconds):
    choices, chosen = choose_step((30, 30, 30), WINDOW, 2.0, 1.0, 1.0, limit_s)
    assert (chosen.step, chosen.windows, chosen.seconds) == (step, windows, seconds)
    assert [choice.windows for choice in choices] == [125, 125, 64, 64, 64, 27]


def test_no_step_narrower_than_the_manifests_is_tried():
    wide = Window((10, 10, 10), 0.8, "gaussian", ((),))
    choices, _ = choose_step((30, 30, 30), wide, 0.0, 1.0, 0.0, None)
    assert [choice.step for choice in choices] == [0.8, 0.9, 1.0]


def test_memory_is_the_label_map_and_the_larger_of_logits_and_components():
    window = Window((7, 4, 4), 0.5, "gaussian", ((),))
    # planes of 8 x 4 (an axis shorter than the patch is padded), 8 slices of 3 classes, twice, and
    # one window of 7 x 4 x 4
    logits = 2 * 4 * 3 * 8 * 8 * 4 + 4 * 3 * 7 * 4 * 4
    small = memory_mib(100.0, (10, 20, 20), (2, 2, 2), (20, 8, 2), window, 3)
    assert small == 100.0 + (4000 + logits) / MIB
    large = memory_mib(100.0, (10, 20, 20), (10, 20, 20), (20, 8, 2), window, 3)
    assert large == 100.0 + (4000 + 4 * 4000) / MIB


def test_clocks_and_memory_are_this_process():
    held = mmap.mmap(-1, 64 * MIB)  # given back when it is closed, whatever malloc would keep
    held.write(b"1" * (64 * MIB))
    before = resident_mib()
    assert before > 64
    held.close()
    assert resident_mib() < before - 50
    code = (
        "import time; time.sleep(0.5); from inference.report import now_s, process_start_s; "
        "print(now_s() - process_start_s())"
    )
    start_s = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0.5 <= float(done.stdout) <= time.perf_counter() - start_s + 0.02
    assert process_start_s() < now_s()


def test_the_start_is_where_predict_sh_says_it_was(monkeypatch):
    """A process that replaced a shell has its start: minutes before, where it made .venv."""
    started_s, ended_s = process_start_s(), now_s()
    between_s = (started_s + ended_s) / 2
    monkeypatch.setenv("FLARE23_START_S", f"{between_s:.2f}")
    assert process_start_s() == float(f"{between_s:.2f}")
    for value in ("", "soon", "nan", f"{started_s - 1:.2f}", f"{ended_s + 1000:.2f}"):
        monkeypatch.setenv("FLARE23_START_S", value)
        assert process_start_s() == started_s


def test_a_peak_is_of_this_process_and_not_of_its_parent():
    held = np.ones(300 * MIB, dtype=np.uint8)
    code = "from imaging.machine import peak_memory_mib; print(peak_memory_mib())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 5 < float(done.stdout) < held.nbytes / MIB
    assert peak_memory_mib() > held.nbytes / MIB


@pytest.fixture
def case(tmp_path, write_ct, boxes):
    return {"a": write_ct(tmp_path / "inputs" / "a_0000.nii.gz", boxes[0])}


def test_a_limit_that_cannot_be_kept_takes_the_widest_step_and_says_so(case, tmp_path, network):
    settings = Settings(**ONE_THREAD, time_limit_s=1e-3, memory_limit_mib=1.0)
    (done,) = predict_folder(case, tmp_path / "out", network(), settings).cases
    assert done.status == "done"
    assert (done.step, done.windows) == (1.0, 2 * 2 * 2)
    wider, seconds, memory = done.warnings
    assert wider == "step 1 instead of 0.5, for the time limit"
    assert seconds.endswith(" s expected, the limit is 0.001 s")
    assert memory.endswith(" MiB expected, the limit is 1 MiB")
    assert done.seconds["estimate"] > 0


def test_limits_that_are_kept_change_nothing(case, tmp_path, network):
    generous = Settings(**ONE_THREAD, time_limit_s=1e4, memory_limit_mib=1e6)
    (done,) = predict_folder(case, tmp_path / "out", network(), generous).cases
    assert (done.step, done.warnings) == (0.5, ())
    (free,) = predict_folder(case, tmp_path / "free", network(), Settings(**ONE_THREAD)).cases
    assert "estimate" not in free.seconds
    assert (tmp_path / "out" / "a.nii.gz").read_bytes() == (
        tmp_path / "free" / "a.nii.gz"
    ).read_bytes()


def test_only_the_first_case_pays_for_starting(tmp_path, write_ct, boxes, network, monkeypatch):
    spent = []

    def noting(shape, window, spent_s, window_s, after_s, limit_s):
        spent.append(spent_s)
        return choose_step(shape, window, spent_s, window_s, after_s, limit_s)

    monkeypatch.setattr("inference.limits.choose_step", noting)
    monkeypatch.setattr("inference.pipeline.process_start_s", lambda: now_s() - 1000)
    inputs = {n: write_ct(tmp_path / "in" / f"{n}_0000.nii.gz", boxes[0]) for n in "ab"}
    predict_folder(inputs, tmp_path / "out", network(), Settings(**ONE_THREAD, time_limit_s=5e3))
    first, second = spent
    assert first > 1000 > second


def test_estimate_prints_a_table_and_writes_json(case, manifest_path, tmp_path):
    path = tmp_path / "estimate.json"
    command = ["estimate", str(case["a"]), "--manifest", str(manifest_path), "--threads", "1"]
    done = CliRunner().invoke(main, [*command, "-o", str(path)])
    assert done.exit_code == 0, done.output
    assert "a: 6×7×8 voxels, 6×7×8 on the working grid" in done.output
    table = json.loads(path.read_text())
    assert table["chosen"]["step"] == 0.5
    assert table["choices"][0]["windows"] == 8
    assert table["memory_mib"] > 10
    assert table["input_shape"] == [6, 7, 8]


@pytest.mark.parametrize("by", ["option", "environment"])
def test_an_estimate_over_its_limits_is_exit_code_1(case, manifest_path, by, monkeypatch):
    command = ["estimate", str(case["a"]), "--manifest", str(manifest_path), "--threads", "1"]
    if by == "option":
        command += ["--memory-limit", "1"]
    else:
        monkeypatch.setitem(os.environ, "FLARE23_MEMORY_LIMIT", "1")
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    assert "Error: a_0000.nii.gz: " in done.output
    assert "MiB expected, the limit is 1 MiB" in done.output
    assert "Traceback" not in done.output
