"""Areas, results, the official CSV and efficiency.json, all worked out by hand."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.efficiency.figure import draw_case
from evaluation.efficiency.results import (
    ChallengeLimits,
    Efficiency,
    EfficiencyRun,
    Load,
    Spread,
    case_efficiency,
    load_efficiency,
    load_of,
)
from evaluation.efficiency.sampling import MemorySample
from imaging.errors import KitError

LIMITS = ChallengeLimits()


def run(number=1, seconds=10.0, gpu_mib=None, error=None, ram_mib=1000.0):
    loads = {
        "cpu_percent": Load(80.0, 700.125, 720.0),
        "ram_mib": Load(ram_mib, 9000.4, 9100.0),
    }
    if gpu_mib is not None:
        over = max(0.0, gpu_mib - 4096.0)
        loads["gpu_mib"] = Load(gpu_mib, gpu_mib * 9, gpu_mib * 10)
        loads["gpu_over_mib"] = Load(over, over * 9, over * 10)
    return EfficiencyRun(number, seconds, None if error else 0, error, samples=90, loads=loads)


def efficiency(*cases):
    return Efficiency("ust", "public validation", ("sh", "x"), None, {"cores": 2}, LIMITS, cases)


def test_the_official_area_takes_every_period_for_a_tenth_of_a_second():
    # (10 + 20 + 30) * 0.1 = 6; true: level to 0.1 s, then 0.1 * 15 + 0.3 * 25, level for 0.1 s:
    # 0.1 * 10 + 1.5 + 7.5 + 0.1 * 30 = 13
    load = load_of([0.1, 0.2, 0.5], [10.0, 20.0, 30.0], end_s=0.6)
    assert load.peak == 30.0
    assert load.auc_official == pytest.approx(6.0, abs=1e-12)
    assert load.auc == pytest.approx(13.0, abs=1e-12)


def test_a_single_sample_is_level_over_the_whole_run():
    # 7 for 0.04 s; the official sum counts a tenth of a second
    load = load_of([-0.001], [7.0], end_s=0.04)
    assert (load.peak, load.auc_official) == (7.0, pytest.approx(0.7))
    assert load.auc == pytest.approx(0.28)


def test_samples_before_the_start_count_from_the_start():
    # the straight line from 4 at the start to 8 at 1 s
    assert load_of([-0.002, 1.0], [4.0, 8.0], end_s=1.0).auc == pytest.approx(6.0)


@given(
    st.floats(0, 1e5),
    st.lists(st.floats(0.05, 0.4), min_size=1, max_size=50),
    st.floats(0, 0.4),
)
def test_a_level_curve_has_its_height_times_the_seconds(height, periods, rest_s):
    seconds = [sum(periods[:count]) for count in range(len(periods))]
    end_s = sum(periods) + rest_s
    load = load_of(seconds, [height] * len(seconds), end_s)
    assert load.auc == pytest.approx(height * end_s, rel=1e-9)
    assert load.auc_official == pytest.approx(height * 0.1 * len(seconds), rel=1e-9)


@pytest.mark.parametrize(
    ("seconds", "gpu_mib", "result", "within"),
    [
        (15.0, 4096.0, "within limits", True),
        (17.25, 4096.0, "2.25 s over 15 s", False),
        (15.0, 4608.0, "512 MiB over 4096 MiB of GPU memory", False),
        (16.5, 5000.0, "1.50 s over 15 s; 904 MiB over 4096 MiB of GPU memory", False),
        (15.0, None, "within limits; GPU not measured", True),
        (17.25, None, "2.25 s over 15 s", False),
    ],
)
def test_the_result_says_by_how_much(seconds, gpu_mib, result, within):
    case = case_efficiency("a", "a_0000.nii.gz", (run(seconds=seconds, gpu_mib=gpu_mib),), LIMITS)
    assert (case.verdict, case.within_limits) == (result, within)


def test_repeats_are_judged_by_their_median_and_show_their_spread():
    # sorted 10, 14, 16, 40: median 15, quartiles 13 and 22 (linear), range 10 to 40
    runs = tuple(run(number, seconds) for number, seconds in enumerate((16, 10, 40, 14), 1))
    case = case_efficiency("a", "a_0000.nii.gz", runs, LIMITS)
    assert case.figures["seconds"] == Spread(median=15.0, min=10, max=40, iqr=9.0)
    assert case.within_limits
    # over 15 s by 1, 0, 25, 0: median 0.5, and yet the median run is within
    assert case.figures["over_seconds"].median == 0.5


def test_a_failed_run_does_not_count_where_another_succeeded():
    runs = (run(1, 0.1, error="exit status 3"), run(2, 12.0))
    case = case_efficiency("a", "a_0000.nii.gz", runs, LIMITS)
    assert case.verdict == "1 of 2 runs failed: exit status 3"
    assert case.figures["seconds"].median == 12.0
    assert not case.within_limits
    assert [failed.number for failed in case.failed] == [1]


def test_the_official_csv_byte_for_byte(tmp_path):
    cases = (
        case_efficiency("a", "a_0000.nii.gz", (run(seconds=9.876, gpu_mib=1995.4375),), LIMITS),
        case_efficiency("b", "b_0000.nii.gz", (run(seconds=3.0),), LIMITS),
        case_efficiency(
            "c", "c_0000.nii.gz", (EfficiencyRun(1, 0.0, None, "cannot start"),), LIMITS
        ),
    )
    efficiency(*cases).write_official(tmp_path / "efficiency.csv")
    # 1995.4375 * 9 = 17958.9375; the official script rounds with NumPy and ends lines as csv does
    assert (tmp_path / "efficiency.csv").read_bytes() == (
        b"Name,Time,MaxGPU_Mem,AUC_GPU_Time,MaxCPU_Utilization,AUC_CPU_Time,MaxRAM,AUC_RAM_Time\r\n"
        b"a_0000.nii.gz,9.88,1995.0,17959.0,80.0,700.12,1000.0,9000.0\r\n"
        b"b_0000.nii.gz,3.0,,,80.0,700.12,1000.0,9000.0\r\n"
        b"c_0000.nii.gz,0.0,,,,,,\r\n"
    )


def test_what_was_written_is_what_is_read(tmp_path):
    runs = (run(1, gpu_mib=5000.0), run(2, error="exit status 1"))
    wrote = efficiency(case_efficiency("a", "a_0000.nii.gz", runs, LIMITS))
    wrote.write(tmp_path / "efficiency.json")
    assert load_efficiency(tmp_path / "efficiency.json") == wrote
    table = json.loads((tmp_path / "efficiency.json").read_text("utf-8"))
    assert (table["schema"], table["kind"], table["split"]) == (
        1,
        "efficiency",
        "public validation",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("", "Expecting value"),
        ("[]", "expected object, found []"),
        ("{}", "schema: expected 1, found None; measure with this kit"),
        ('{"schema": 1, "kind": "scores"}', "kind: expected 'efficiency', found 'scores'; measure"),
        (
            '{"schema": 2, "kind": "efficiency"}',
            "schema: expected 1, found 2; measure with",
        ),
        ('{"schema": 1, "kind": "efficiency", "kit": "0"}', "missing key: team; measure"),
    ],
)
def test_another_file_is_refused(tmp_path, text, message):
    path = tmp_path / "efficiency.json"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(KitError) as caught:
        load_efficiency(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("gpu_mib", [None, 5000.0])
def test_the_figure_is_painted_also_of_failed_and_unmeasured_runs(tmp_path, gpu_mib):
    samples = tuple(MemorySample(t / 10, gpu_mib, 50.0, 40.0, 900.0, 20.0) for t in range(5))
    runs = (run(1, 0.5, gpu_mib), run(2, 0.4, gpu_mib), EfficiencyRun(3, 0.0, None, "cannot start"))
    case = case_efficiency("a", "a_0000.nii.gz", runs, ChallengeLimits(0.3, 4096.0))
    by_run = {1: samples, 2: samples, 3: ()}
    draw_case(case, by_run, ChallengeLimits(0.3, 4096.0), "no driver", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
