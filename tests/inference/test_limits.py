"""What a case will take: steps, memory and clocks worked out by hand, and a run within limits."""

import json
import mmap
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from imaging.machine import peak_memory_mib, resident_mib
from inference.augmentation import augmented, lesser
from inference.cli import main
from inference.limits import STEPS, Choice, Costs, choose, memory_mib
from inference.pipeline import predict_folder
from inference.report import now_s, process_start_s
from inference.segmentation import open_predictor
from inference.settings import Settings
from inference.sliding_window import PLAIN, Lattice, Window

MIB = 1 << 20
WINDOW = Window((10, 10, 10), 0.5, "gaussian", ((),))
ONE_THREAD = {"threads": 1, "precision": "f32"}
WITHIN = "inference.within_limits"


COSTS = Costs(spent_s=2.0, window_s=1.0, resizing_s=0.5, after_s=1.0)


def tried(tta, mirror_axes=(), own=0.5):
    """What a network with patches of 10 voxels tries, from `tta` at its own step on."""
    plain = replace(WINDOW, step=own)
    names = [name for name in (tta, *lesser(tta, mirror_axes)) if name != "none"]
    steps = [own, *(step for step in STEPS if step > own)]
    wider = [("none", replace(plain, step=step)) for step in steps]
    return [*((name, augmented(plain, name, mirror_axes)) for name in names), *wider]


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
    choices, chosen = choose((30, 30, 30), tried("none"), COSTS, limit_s)
    assert chosen == Choice("none", step, windows, seconds)
    assert [choice.windows for choice in choices] == [125, 125, 64, 64, 64, 27]


def test_no_step_narrower_than_the_manifests_is_tried():
    choices, _ = choose((30, 30, 30), tried("none", own=0.8), COSTS, None)
    assert [choice.step for choice in choices] == [0.8, 0.9, 1.0]


# 30 voxels, half a window apart. Plain windows of 10: 5 along an axis, 125. Between them 4: 64
# more. Windows of 9 (9.3), 4.5 apart: 1 + ceil(21 / 4.5) = 6, 216 more; of 11 (10.7): 1 + ceil(19 /
# 5.5) = 5, 125 more; each of these takes 1.5 s. All flips of two axes: each window four times.
SCHEDULE = [
    ("shift", 189, 192.0),
    ("finer", 341, 452.0),
    ("scales", 466, 639.5),
    ("flip-x", 125, 253.0),
    ("full", 125, 503.0),
]


@pytest.mark.parametrize(
    ("tta", "limit_s", "taken"),
    [
        ("scales", None, "scales"),
        ("scales", 639.5, "scales"),
        ("scales", 639.4, "finer"),
        ("scales", 451.9, "none"),
        ("finer", 452.0, "finer"),
        ("shift", 191.9, "none"),
        ("full", 503.0, "full"),
        ("full", 502.9, "flip-x"),
        ("full", 252.9, "none"),
    ],
)
def test_augmentation_takes_the_time_that_is_left_and_no_more(tta, limit_s, taken):
    seconds = {name: (windows, spent_s) for name, windows, spent_s in SCHEDULE}
    seconds["none"] = (125, 128.0)
    _, chosen = choose((30, 30, 30), tried(tta, (0, 2)), COSTS, limit_s)
    assert chosen == Choice(taken, 0.5, *seconds[taken])
    assert limit_s is None or chosen.seconds <= limit_s


def test_augmentation_is_given_up_before_the_step_is_widened():
    choices, chosen = choose((30, 30, 30), tried("scales"), COSTS, 67.0)
    assert [(choice.tta, choice.step) for choice in choices] == [
        ("scales", 0.5),
        ("finer", 0.5),
        *(("none", step) for step in (0.5, *STEPS)),
    ]
    assert (chosen.tta, chosen.step) == ("none", 0.7)


def test_memory_is_the_label_map_and_the_larger_of_logits_and_components():
    window = Window((7, 4, 4), 0.5, "gaussian", ((),))
    # planes of 8 x 4 (an axis shorter than the patch is padded), 8 slices of 3 classes, twice, and
    # one window of 7 x 4 x 4
    logits = 2 * 4 * 3 * 8 * 8 * 4 + 4 * 3 * 7 * 4 * 4
    small = memory_mib(100.0, (10, 20, 20), (2, 2, 2), (20, 8, 2), window, 3)
    assert small == 100.0 + (4000 + logits) / MIB
    scaled = replace(window, lattices=(PLAIN, Lattice(scale=1.5)))
    # windows of 10 (10.5) x 6 x 6: planes of 8 x 6, 11 slices, twice, and a patch
    larger = 2 * 4 * 3 * 11 * 8 * 6 + 4 * 3 * 7 * 4 * 4
    found = memory_mib(100.0, (10, 20, 20), (2, 2, 2), (20, 8, 2), scaled, 3)
    assert found == 100.0 + (4000 + larger) / MIB
    large = memory_mib(100.0, (10, 20, 20), (10, 20, 20), (20, 8, 2), window, 3)
    assert large == 100.0 + (4000 + 4 * 4000) / MIB
    long = memory_mib(100.0, (90, 20, 20), (90, 20, 20), (20, 8, 2), window, 3)  # a slab of 64
    assert long == 100.0 + (36000 + 4 * 64 * 400) / MIB


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


def test_limits_that_nothing_keeps_are_said_and_no_step_is_widened_in_vain(case, tmp_path, network):
    settings = Settings(**ONE_THREAD, time_limit_s=1e-3, memory_limit_mib=1.0)
    (done,) = predict_folder(case, tmp_path / "out", network(), settings).cases
    assert done.status == "done"
    assert (done.step, done.windows) == (0.5, 2 * 2 * 2)  # as many as at every other step
    memory, seconds = done.warnings
    assert seconds.endswith(" s expected, the limit is 0.001 s")
    assert memory.endswith(" MiB expected, the limit is 1 MiB")


class Slow:
    """An engine that takes a second for a patch, on a clock that nothing else moves."""

    def __init__(self, engine):
        self.engine = engine
        self.description = engine.description
        self.now_s = 1000.0

    def infer(self, patches):
        self.now_s += 1
        return self.engine.infer(patches)


@pytest.mark.parametrize(
    # 20 voxels. Windows of 8 x 10 x 12: 4 x 3 x 3 = 36. Of 7 x 9 x 11: 5 x 4 x 3 = 60 more. Of
    # 9 x 11 x 13: 4 x 3 x 3 = 36 more. The first three are lost where the case begins anew.
    ("limit_s", "tta", "step", "windows"),
    [
        (132.0, "scales", 0.5, 132),
        (131.9, "finer", 0.5, 96),
        (99.0, "finer", 0.5, 96),
        (98.9, "none", 0.5, 36),
        (38.9, "none", 0.7, 24),
        (15.0, "none", 1.0, 12),
        (14.9, "none", 1.0, 12),  # cannot be kept
    ],
)
def test_a_run_spends_no_more_than_its_limit(network, monkeypatch, limit_s, tta, step, windows):
    manifest = network((8, 10, 12))
    manifest = network((8, 10, 12), window=replace(manifest.window, patch=(8, 10, 12)))
    settings = Settings(**ONE_THREAD, tta="scales", time_limit_s=limit_s)
    hu = np.full((20, 20, 20), 100, np.int16)
    hu[0] = -1000
    lost = 0 if tta == "scales" else 3
    with open_predictor(manifest, settings) as predictor:
        predictor.engine = slow = Slow(predictor.engine)
        for clock in ("time.perf_counter", "inference.predictor.now_s", f"{WITHIN}.now_s"):
            monkeypatch.setattr(clock, lambda: slow.now_s)
        found = predictor.segment(hu, spacing_mm=(2.0, 2.0, 2.0)).report
    assert (found.tta, found.step, found.windows) == (tta, step, windows)
    assert found.seconds["total"] == windows + lost == found.seconds["network"]
    assert (found.seconds["total"] > limit_s) == (limit_s == 14.9)
    said = f"tta {tta} instead of scales, for the time limit"
    assert (said in found.warnings) == (tta != "scales")
    assert ("15.0 s expected, the limit is 14.9 s" in found.warnings) == (limit_s == 14.9)


def test_the_first_windows_are_lost_only_where_that_pays(network, monkeypatch):
    """Nothing keeps the limit, and 3 of 6 windows are left; step 1 needs 4: the case goes on."""
    manifest = network((8, 10, 12))
    wide = replace(manifest.window, patch=(8, 10, 12), step=0.9)
    manifest = network((8, 10, 12), window=wide)
    hu = np.full((8, 20, 20), 100, np.int16)
    hu[0] = -1000
    with open_predictor(manifest, Settings(**ONE_THREAD, time_limit_s=2.0)) as predictor:
        predictor.engine = slow = Slow(predictor.engine)
        for clock in ("time.perf_counter", "inference.predictor.now_s", f"{WITHIN}.now_s"):
            monkeypatch.setattr(clock, lambda: slow.now_s)
        found = predictor.segment(hu, spacing_mm=(2.0, 2.0, 2.0)).report
    assert (found.step, found.windows, found.seconds["total"]) == (0.9, 6, 6)
    assert "6.0 s expected, the limit is 2 s" in found.warnings


def test_a_smaller_windows_resampling_is_told_from_the_networks_time(network, monkeypatch):
    """Of scaled windows a plain one's time is what is left without resampling, measured apart."""
    manifest = network((8, 10, 12))
    manifest = network((8, 10, 12), window=replace(manifest.window, patch=(8, 10, 12)))
    seen = []

    def noting(shape, tried, costs, limit_s, done):
        seen.append(costs)
        return choose(shape, tried, costs, limit_s, done)

    monkeypatch.setattr(f"{WITHIN}.choose", noting)
    monkeypatch.setattr(f"{WITHIN}.resizing_s", lambda window, logits: 0.25)
    hu = np.full((20, 20, 20), 100, np.int16)
    hu[0] = -1000
    with open_predictor(
        manifest, Settings(**ONE_THREAD, tta="finer", time_limit_s=1e4)
    ) as predictor:
        predictor.engine = slow = Slow(predictor.engine)
        monkeypatch.setattr(f"{WITHIN}.now_s", lambda: slow.now_s)
        predictor.segment(hu, spacing_mm=(2.0, 2.0, 2.0))
    (costs,) = seen
    # In slice 0, row 0: windows begin at 0 (plain, finer), then at 4 and 8 (plain), 5 and 9.
    assert (costs.window_s, costs.resizing_s) == (1 - 0.25 / 2, 0.25)


def test_limits_that_are_kept_change_nothing(case, tmp_path, network):
    generous = Settings(**ONE_THREAD, time_limit_s=1e4, memory_limit_mib=1e6)
    (done,) = predict_folder(case, tmp_path / "out", network(), generous).cases
    assert (done.step, done.warnings) == (0.5, ())
    (free,) = predict_folder(case, tmp_path / "free", network(), Settings(**ONE_THREAD)).cases
    assert free.windows == done.windows
    assert (tmp_path / "out" / "a.nii.gz").read_bytes() == (
        tmp_path / "free" / "a.nii.gz"
    ).read_bytes()


def test_only_the_first_case_pays_for_starting(tmp_path, write_ct, boxes, network, monkeypatch):
    spent = []

    def noting(shape, tried, costs, limit_s, done):
        spent.append(costs.spent_s)
        return choose(shape, tried, costs, limit_s, done)

    monkeypatch.setattr(f"{WITHIN}.choose", noting)
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
