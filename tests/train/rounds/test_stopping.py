import json

import numpy as np
import pytest

from imaging.errors import KitError
from imaging.volumes import write_volume
from train.rounds.recipe import Stop
from train.rounds.stopping import (
    Judged,
    chance_of_fall,
    changed,
    decide,
    load_dsc,
    paired,
    write_decisions,
)

STOP = Stop(least_gain=0.005, least_change=0.01)


def judged(name, liver, tumour=(), change=0.2, fit=None):
    """Return a round by its held-out cases' DSC; tumours are in the first cases."""
    cases = {f"case{n}": {"liver": value} for n, value in enumerate(liver)}
    for n, value in enumerate(tumour):
        cases[f"case{n}"]["tumour"] = value
    return Judged(name, cases, change, fit)


FIRST = judged("teacher", (0.80, 0.82, 0.84, 0.86), (0.20, 0.30, 0.40))


def test_a_round_that_helps_is_not_the_last():
    better = judged("student", (0.84, 0.86, 0.88, 0.90), (0.30, 0.40, 0.50))
    decision = decide([FIRST, better], STOP)
    # the liver gained .04 in every case, the tumour .1; the mean of classes is .07
    assert decision.go_on
    assert decision.gain == pytest.approx(0.07)
    assert decision.interval == pytest.approx((0.07, 0.07))
    assert decision.by_class["tumour"] == pytest.approx((0.1, 0.1, 0.1))
    assert (decision.round, decision.before, decision.use) == ("student", "teacher", "student")
    assert decision.signs == ()


def test_a_round_that_gains_too_little_is_the_last_and_still_the_best():
    same = judged("student", (0.804, 0.824, 0.844, 0.864), (0.204, 0.304, 0.404))
    decision = decide([FIRST, same], STOP)
    assert not decision.go_on
    assert decision.reason == "no better: mean DSC gained 0.0040, required is 0.005"
    assert decision.use == "student"


def test_a_round_that_got_worse_is_gone_back_from():
    worse = judged("student", (0.70, 0.72, 0.74, 0.76), (0.20, 0.30, 0.40))
    decision = decide([FIRST, worse], STOP)
    # the liver fell by .1 everywhere, the tumour by nothing: -.05
    assert not decision.go_on
    assert decision.reason == "worse: mean DSC fell by 0.0500"
    assert decision.use == "teacher"
    assert decision.signs == ("liver fell by 0.100",)


@pytest.mark.parametrize(("cases", "enough"), [(6, True), (5, False)])
def test_one_class_that_falls_is_enough_if_it_is_no_chance(cases, enough):
    first = judged("teacher", (0.8,) * 6, [0.2 + 0.02 * n for n in range(cases)])
    mixed = judged("student", (0.95,) * 6, [0.15 + 0.02 * n for n in range(cases)])
    decision = decide([first, mixed], STOP)
    # liver +.15, tumour -.05: better in the mean, yet the tumour fell in every case. That all six
    # of either class fall has a chance of 2 / 64, all five 2 / 32.
    assert decision.gain == pytest.approx(0.05)
    assert decision.signs[0] == "tumour fell by 0.050"
    assert decision.go_on != enough
    assert decision.reason == ("worse: tumour fell" if enough else "better: mean DSC gained 0.0500")
    assert decision.use == ("teacher" if enough else "student")


def test_one_case_alone_says_nothing_of_a_class():
    first, last = judged("teacher", (0.8,) * 4, (0.5,)), judged("student", (0.9,) * 4, (0.1,))
    decision = decide([first, last], STOP)
    assert decision.by_class["tumour"] == pytest.approx((-0.4, -1.0, 1.0))
    assert decision.signs[:1] != ("tumour fell by 0.400",)


def test_a_fall_within_the_cases_spread_is_no_sign():
    noisy = judged("student", (0.90, 0.92, 0.94, 0.96), (0.50, 0.10, 0.35))
    decision = decide([FIRST, noisy], STOP)
    # tumours: +.3, -.2, -.05: no sign, whatever the mean
    assert decision.go_on
    low, high = decision.by_class["tumour"][1:]
    assert low < 0 < high


def test_labels_that_hardly_change_end_the_rounds():
    settled = judged("student", (0.84, 0.86, 0.88, 0.90), (0.30, 0.40, 0.50), change=0.009)
    decision = decide([FIRST, settled], STOP)
    assert not decision.go_on
    assert decision.reason == "settled: the labels changed by 0.0090"


def test_only_the_last_two_rounds_are_compared_and_the_best_of_all_is_used():
    third = judged("third", (0.70, 0.72, 0.74, 0.76), (0.1, 0.2, 0.3))
    better = judged("student", (0.9, 0.9, 0.9, 0.9), (0.5, 0.5, 0.5))
    decision = decide([FIRST, better, third], STOP)
    assert (decision.before, decision.use, decision.go_on) == ("student", "student", False)


def test_cases_that_differ_more_than_before_are_a_sign():
    first = judged("teacher", (0.79, 0.81, 0.79, 0.81))
    wide = judged("student", (0.70, 0.98, 0.70, 0.98))
    # deviations .01 and .14
    signs = decide([first, wide], STOP).signs
    assert signs == ("cases differ more: the deviation of their DSC went from 0.010 to 0.140",)


def test_fitting_labels_better_and_truth_worse_is_a_sign():
    first = judged("teacher", (0.8, 0.8), fit=0.90)
    second = judged("student", (0.7, 0.7), fit=0.95)
    assert decide([first, second], STOP).signs == (
        "liver fell by 0.100",
        "it learns its labels' noise: DSC with them rose from 0.900 to 0.950, held-out DSC fell "
        "by 0.100",
    )


def test_a_class_that_only_one_round_was_judged_by_is_not_compared():
    decision = decide([judged("a", (0.8, 0.8)), judged("b", (0.9, 0.9), (0.0,))], STOP)
    assert decision.gain == pytest.approx(0.1)
    assert set(decision.by_class) == {"liver"}


def test_pairs_have_no_dsc_where_one_round_has_none():
    classes, dsc = paired(judged("a", (0.8, 0.7), (0.1, 0.2)), judged("b", (0.9, 0.6), (0.3,)))
    assert classes == ["liver", "tumour"]
    np.testing.assert_array_equal(dsc, [[[0.8, 0.1], [0.7, np.nan]], [[0.9, 0.3], [0.6, np.nan]]])


def test_the_chance_that_a_class_falls_in_all_its_cases():
    assert chance_of_fall(cases=3, classes=2) == 2 / 8


def test_rounds_without_a_common_case():
    with pytest.raises(KitError, match="a and b have no held-out case in common"):
        decide([judged("a", ()), judged("b", (0.5,))], STOP)


def test_cases_that_are_new_are_change(tmp_path):
    whole, half = np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)
    whole[:2], half[:1] = 1, 1
    maps = {}
    for name, labels in (("whole", whole), ("half", half)):
        maps[name] = tmp_path / f"{name}.nii.gz"
        write_volume(labels, (1.0, 1.0, 1.0), maps[name])
    before = {"a": maps["whole"]}
    # DSC of 32 and 16 voxels: 2 * 16 / 48
    assert changed(before, {"a": maps["half"]}) == pytest.approx(1 / 3)
    assert changed(before, {"a": maps["whole"], "b": maps["whole"]}) == 1 / 2
    assert changed({}, {"b": maps["whole"]}) == 1.0


def test_decisions_are_written_in_json(tmp_path):
    better = judged("student", (0.84, 0.86, 0.88, 0.90), (0.30, 0.40, 0.50))
    write_decisions([decide([FIRST, better], STOP)], tmp_path / "stop.json")
    (row,) = json.loads((tmp_path / "stop.json").read_text())["verdicts"]
    assert (row["round"], row["go_on"]) == ("student", True)


@pytest.mark.parametrize("text", [None, "{", "{}"])
def test_what_is_no_judgement(tmp_path, text):
    path = tmp_path / "judge.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(KitError, match=r"record of held-out cases .*judge\.json"):
        load_dsc(path)
