"""`evaluation submission`: every rule passes on what is right and fails on what is wrong."""

import numpy as np
import pytest

from evaluation.efficiency.archives import image_tags
from evaluation.efficiency.results import (
    ChallengeLimits,
    Efficiency,
    EfficiencyRun,
    Load,
    case_efficiency,
)
from evaluation.submission.archive import check_archive
from evaluation.submission.check import judge_broken, judge_runs, same_maps
from evaluation.submission.maps import check_maps, unreadable
from evaluation.submission.rules import RULES, RuleResult, Submission, complete
from evaluation.submission.trials import Outcome, changed_outside
from imaging.errors import KitError
from tests.evaluation.archives import write_archive
from tests.evaluation.maps import box, write_map

SHAPE = (4, 5, 6)


def statuses(results):
    return {rule: result.status for rule, result in results.items()}


# ----- the archive ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tags", "rule", "message"),
    [
        ("Team.tar.gz", ["team:latest"], "archive name", "Team.tar.gz: call it team.tar.gz"),
        ("team.tar", ["team:latest"], "archive name", "team.tar: call it team.tar.gz"),
        ("team.v2.tar.gz", ["team:latest"], "archive name", "call it team.tar.gz"),
        ("team.tar.gz", ["team:v2"], "tag", "it holds team:v2; write it with `docker save team:"),
        ("team.tar.gz", ["team:latest", "a:b"], "tag", "it holds team:latest, a:b"),
        ("team.tar.gz", None, "tag", "it holds no tag"),
    ],
)
def test_an_archive_with_a_wrong_name_or_tag(tmp_path, name, tags, rule, message):
    found = check_archive(write_archive(tmp_path / name, tags), None)
    assert [key for key, result in found.items() if result.status == "failed"] == [rule]
    assert message in found[rule].reason


@pytest.mark.parametrize(("limit_mb", "status"), [(0.002, "passed"), (0.001, "failed")])
def test_the_size_is_held_to_the_limit(tmp_path, limit_mb, status):
    noise = np.random.default_rng(0).bytes(1500)  # cannot be packed: 0.0015 MB and a little
    path = write_archive(tmp_path / "team.tar.gz", ["team:latest"], "layer", noise)
    assert check_archive(path, limit_mb)["archive size"].status == status


def test_a_right_archive_passes_all_but_a_size_without_a_limit(tmp_path):
    found = check_archive(write_archive(tmp_path / "team.tar.gz", ["team:latest"]), None)
    expected = {"archive name": "passed", "archive size": "not checked", "tag": "passed"}
    assert statuses(found) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "is no readable archive"),
        (b"\x1f\x8b\x08\x00 no gzip", "is no readable archive"),
        (b"", "is no readable archive"),
    ],
)
def test_what_is_no_archive_is_reported(tmp_path, content, message):
    path = tmp_path / "team.tar.gz"
    path.write_bytes(content)
    assert message in image_tags(path)


def test_other_archives_are_reported(tmp_path):
    exported = write_archive(tmp_path / "a.tar.gz", [], "bin/sh", b"")
    assert "holds no manifest.json" in image_tags(exported)
    odd = write_archive(tmp_path / "b.tar.gz", [], "manifest.json", b"[{}]")
    assert "its manifest.json is not Docker's" in image_tags(odd)


def test_a_cut_archive_is_reported(tmp_path):
    path = write_archive(tmp_path / "team.tar.gz", [], "layer", np.random.bytes(5000))
    path.write_bytes(path.read_bytes()[:3000])
    assert "is no readable archive" in image_tags(path)


# ----- label maps -----------------------------------------------------------------------------


def labels(most=14, dtype=np.uint8):
    return (box(SHAPE, (1, 3), (1, 3), (1, 3)) * most).astype(dtype)


GOOD = {"names": "passed", "geometry": "passed", "dtype": "passed", "labels": "passed"}


@pytest.mark.parametrize(
    ("made", "options", "failed"),
    [
        (labels(), {}, {}),
        (labels(dtype=np.int16), {}, {}),
        (labels(15), {}, {"labels": "a: label 15; the last is 14"}),
        (labels(dtype=np.float32), {}, {"dtype": "a: it holds float32"}),
        (
            labels(dtype=np.float32) / 3,
            {},
            {"dtype": "float32", "labels": "must be whole numbers from 0 to 255"},
        ),
        (labels()[1:], {}, {"geometry": "a: the map has 6×5×3 voxels, not 6×5×4"}),
        (labels(), {"spacing_mm": (1, 1, 2)}, {"geometry": "spacing is [2.0, 1.0, 1.0]"}),
        (labels(), {"origin": (0, 0, 7)}, {"geometry": "origin is [0.0, 0.0, 7.0]"}),
        (labels(), {"direction": (-1, 0, 0, 0, -1, 0, 0, 0, 1)}, {"geometry": "direction is"}),
    ],
)
def test_a_map_is_judged_by_geometry_type_and_labels(tmp_path, ct, made, options, failed):
    write_map(made, tmp_path / "out" / "a.nii.gz", **options)
    found = check_maps({"a": ct}, tmp_path / "out")
    assert statuses(found) == GOOD | dict.fromkeys(failed, "failed")
    for rule, message in failed.items():
        assert message in found[rule].reason


def test_a_missing_map_among_others_fails_the_names_only(tmp_path, ct):
    write_map(labels(), tmp_path / "out" / "a.nii.gz")
    found = check_maps({"a": ct, "b": ct}, tmp_path / "out")
    assert statuses(found) == GOOD | {"names": "failed"}
    assert found["names"].reason == "b: no map"
    assert found["labels"].reason == "1 of 2 maps"


def test_a_ct_that_cannot_be_read_leaves_the_other_rules(tmp_path, ct):
    write_map(labels(), tmp_path / "out" / "a.nii.gz")
    ct.write_bytes(b"no CT any more")
    found = check_maps({"a": ct}, tmp_path / "out")
    assert statuses(found) == GOOD | {"geometry": "failed"}
    assert "cannot be compared with its CT" in found["geometry"].reason


def test_without_any_map_nothing_else_is_judged(tmp_path, ct):
    assert statuses(check_maps({"a": ct}, tmp_path / "out")) == {"names": "failed"}


def test_half_written_files_are_found(tmp_path):
    write_map(labels(), tmp_path / "whole.nii.gz")
    content = (tmp_path / "whole.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(content[:-20])
    (tmp_path / ".7.a.nii.gz").write_bytes(content)
    (tmp_path / "run.json").write_text("{}")
    assert unreadable(tmp_path) == (".7.a.nii.gz", "cut.nii.gz")


# ----- runs and trials ------------------------------------------------------------------------


def timed(*runs, limits=ChallengeLimits(15.0, 4096.0)):  # noqa: B008
    cases = tuple(
        case_efficiency(name, f"{name}_0000.nii.gz", pair, limits)
        for name, pair in zip("abc", runs, strict=False)
    )
    return Efficiency("team", None, (), "sha256:abc", {"no_gpu": "no card"}, limits, cases)


def run(number=1, seconds=3.0, digest="1", ram=300.0, gpu=None, error=None):
    loads = {"own_ram_mib": Load(ram, ram, ram)}
    if gpu is not None:
        loads["gpu_mib"] = Load(gpu, gpu, gpu)
    return EfficiencyRun(number, seconds, 0, error, pred_sha256=digest, loads=loads)


RUNS_PASS = {
    "runs": "passed",
    "time": "passed",
    "GPU memory": "not checked",
    "RAM": "passed",
    "repeats": "passed",
}


@pytest.mark.parametrize(
    ("second", "changed", "message"),
    [
        (run(2), {}, ""),
        (run(2, seconds=15.5), {"time": "failed"}, "at most 15.5 s (a), the limit is 15 s"),
        (run(2, ram=28_700.0), {"RAM": "failed"}, "at most 28,700.0 MiB (a), the limit is 28,672"),
        (run(2, digest="2"), {"repeats": "failed"}, "no map, or other bytes: a"),
        (run(2, error="exit status 1"), {"runs": "failed"}, "a: exit status 1"),
        (run(2, digest=None), {"repeats": "failed"}, "no map, or other bytes: a"),
    ],
)
def test_runs_alone_are_judged_by_the_worst(second, changed, message):
    found = judge_runs(timed((run(), second), (run(), run(2))), ChallengeLimits(15.0, 4096.0))
    assert statuses(found) == RUNS_PASS | changed
    assert all(message in found[rule].reason for rule in changed)


@pytest.mark.parametrize(("gpu", "status"), [(4096.0, "passed"), (4097.0, "failed")])
def test_gpu_memory_is_judged_where_it_was_seen(gpu, status):
    found = judge_runs(timed((run(gpu=gpu), run(2, gpu=10.0))), ChallengeLimits(15.0, 4096.0))
    assert found["GPU memory"].status == status


def test_what_was_not_seen_says_why():
    first, second = (
        EfficiencyRun(n, 3.0, 0, pred_sha256="1") for n in (1, 2)
    )  # too short for a sample
    found = judge_runs(timed((first, second)), ChallengeLimits())
    assert found["GPU memory"] == RuleResult("not checked", "no card")
    assert found["RAM"] == RuleResult("not checked", "it was not seen")


def test_a_case_without_a_map_does_not_repeat_beside_others_that_do():
    none = run(digest=None), run(2, digest=None)
    found = judge_runs(timed((run(), run(2)), none), ChallengeLimits())["repeats"]
    assert found == RuleResult("failed", "no map, or other bytes: b")


def test_runs_without_any_map_say_nothing_of_repeats():
    found = judge_runs(timed((run(digest=None), run(2, digest=None))), ChallengeLimits())
    assert "repeats" not in found


def test_what_a_container_changed_outside():
    lines = [
        "C /workspace",
        "A /workspace/inputs",
        "A /workspace/outputs",
        "C /tmp",
        "A /tmp/scratch",
        "C /var",
        "A /var/intel",
        "A /var/intel/stats",
        "C /opt/cache",
        "D /etc/motd",
        "C /etc",
    ]
    assert changed_outside(lines) == ("/var/intel/stats", "/opt/cache", "/etc/motd")
    assert changed_outside(lines[:5]) == ()


def outcome(status=0, stderr="", maps=None, half_written=()):
    return Outcome(status, stderr, {"a": "1"} if maps is None else maps, half_written, ())


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (outcome(), "1 case, the same bytes"),
        (outcome(maps={"a": "2"}), "no map, or other bytes: a"),
        (outcome(maps={}), "no map, or other bytes: a"),
        (outcome(1, "one\ntwo\nthree\nfour"), "exit status 1: two / three / four"),
        (outcome(None, "slow"), "killed at the time limit: slow"),
    ],
)
def test_a_trial_must_give_the_same_maps(seen, message):
    assert same_maps(seen, {"a": "1"}) == RuleResult(
        "passed" if seen == outcome() else "failed", message
    )


def test_a_trial_without_maps_beside_runs_without_maps_is_no_success():
    found = same_maps(outcome(maps={}), {"a": None, "b": None})
    assert found == RuleResult("failed", "no map, or other bytes: a, b")
    assert same_maps(outcome(), {"a": None}).status == "failed"  # not valid when it ran alone


def test_lines_of_docker_diff_that_a_name_breaks():
    assert changed_outside(["A /opt/a", "", "B", "C /etc/b"]) == ("/opt/a", "/etc/b")


TRACEBACK = "Traceback (most recent call last):\n  File x\nRuntimeError: gone"


@pytest.mark.parametrize(
    ("seen", "input_status", "code_status"),
    [
        (outcome(1, "bad: failed"), "passed", "passed"),
        (outcome(0), "passed", "failed"),
        (outcome(None), "passed", "failed"),
        (outcome(1, TRACEBACK), "passed", "failed"),
        (outcome(1, "bad: failed", maps={}), "failed", "passed"),
        (outcome(1, "bad: failed", half_written=("bad.nii.gz",)), "failed", "passed"),
    ],
)
def test_a_broken_file_beside_a_good_one(seen, input_status, code_status):
    found = judge_broken(seen, "a", "1")
    assert statuses(found) == {"broken input": input_status, "exit code": code_status}


def test_rules_that_were_not_checked_are_in_the_table(tmp_path):
    found = complete({"tag": RuleResult("failed", "x")}, "no image")
    assert list(found) == list(RULES)
    assert found["runs"] == RuleResult("not checked", "no image")
    assert Submission("team", None, (), found).failed == ("tag",)
    with pytest.raises(KitError, match="no such rules: colour"):
        complete({"colour": RuleResult("passed", "red")}, "")
