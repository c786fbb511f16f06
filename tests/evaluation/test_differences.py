"""`compare` and `rank` say which differences are settled."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from evaluation.cli import main
from evaluation.comparison.contest import load_contest
from evaluation.comparison.differences import (
    LeftOut,
    between_places,
    between_teams,
    from_reported,
)
from evaluation.comparison.ranking import rank_teams
from evaluation.scoring.scores import NOT_ANNOTATED, LabelScore, Scores
from tests.evaluation.results import failed, scored, write_scores

TABLE = """
team = "them"
title = "A paper"
reference = "arXiv 1"
[[results]]
split = "public validation"
source = "its table 1"
verified = true
[results.dsc_percent]
organs = 80
tumour = 60
"""


def team(name, *dsc, first=0, sha=None):
    cases = tuple(
        scored(f"case{first + n:02}", (value, value), (value / 2, value / 2), truth_sha256=sha)
        for n, value in enumerate(dsc)
    )
    return Scores(name, None, "official", 0.2, "fail", cases)


def compared(teams):
    """The differences; none is left out."""
    rows, left_out = between_teams(teams)
    assert left_out == []
    return rows


def organ_dsc(rows):
    (row,) = [row for row in rows if row.figure == "organ DSC"]
    return row


def invoke(*words):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert "Traceback" not in result.output
    return result


def test_shared_cases_are_compared_in_pairs():
    # 1, 2 and 3 points: mean 2; the fourth case is only the first's
    row = organ_dsc(compared([team("a", 0.61, 0.72, 0.93, 0.1), team("b", 0.60, 0.70, 0.90)]))
    assert row.difference.value == pytest.approx(2)
    assert (row.difference.paired, row.difference.first_cases) == (True, 3)
    assert (row.first, row.second, row.unit) == ("a", "b", "points")


def test_other_cases_are_compared_in_two_groups():
    row = organ_dsc(compared([team("a", 0.6, 0.8), team("b", 0.4, 0.5, 0.6, first=5)]))
    assert row.difference.value == pytest.approx(20)
    assert not row.difference.paired
    assert (row.difference.first_cases, row.difference.second_cases) == (2, 3)


def test_a_case_of_another_truth_is_another_case():
    row = organ_dsc(compared([team("a", 0.6, 0.8, sha="x"), team("b", 0.4, 0.5, sha="y")]))
    assert not row.difference.paired


def test_failed_cases_are_left_out_of_pairs():
    second = Scores("b", None, "official", 0.2, "fail", (scored("case00"), failed("case01")))
    row = organ_dsc(compared([team("a", 0.5, 0.5), second]))
    assert row.difference.first_cases == 1
    assert row.verdict == "not settled"


def test_reported_figures_count_as_exact_and_only_where_comparable(tmp_path):
    from evaluation.comparison.compare import comparisons
    from evaluation.comparison.measured import load_measured
    from evaluation.comparison.reported import load_reported

    (tmp_path / "them.toml").write_text(TABLE)
    cases = [scored(f"c{n}", (0.80 + 0.01 * (n % 2), 0.9), (0.1, 0.1)) for n in range(50)]
    measured = load_measured(write_scores(tmp_path / "us", *cases))
    rows = comparisons([load_reported(tmp_path / "them.toml")], [measured])
    found = {row.figure: row for row in from_reported(rows, [measured.scores])}
    assert found["organ DSC"].difference.value == pytest.approx(0.5)
    assert found["organ DSC"].verdict == "better"
    assert found["tumour DSC"].verdict == "worse"
    few = load_measured(write_scores(tmp_path / "few", *cases[:5]))
    rows = comparisons([load_reported(tmp_path / "them.toml")], [few])
    assert from_reported(rows, [few.scores]) == []  # 5 of 50 cases


def test_compare_shows_them_and_writes_them(tmp_path):
    one = write_scores(tmp_path / "one", *team("", *[0.80, 0.70, 0.90, 0.60] * 3).cases)
    two = write_scores(tmp_path / "two", *team("", *[0.79, 0.72, 0.88, 0.61] * 3).cases)
    result = invoke("compare", one, two, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "What is known of the differences" in result.output
    assert "not settled" in result.output
    assert " better " not in result.output.partition("first less second")[0]
    assert max(map(len, result.output.splitlines())) <= 80
    rows = json.loads((tmp_path / "out/differences.json").read_text())["rows"]
    assert [row["figure"] for row in rows] == ["organ DSC", "organ NSD", "tumour DSC", "tumour NSD"]
    assert rows[0]["value"] == pytest.approx(0)
    with (tmp_path / "out/differences.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert table[0]["verdict"] == "not settled"
    assert table[0]["paired"] == "True"


def test_rank_compares_neighbours(tmp_path):
    first = np.array([0.9, 0.8, 0.7, 0.6, 0.8, 0.9])
    values = (first, first - 0.01, [0.3, 0.2, 0.1, 0.2, 0.1, 0.3])
    folders = [
        write_scores(tmp_path / name, *team("", *dsc).cases)
        for name, dsc in zip("abc", values, strict=True)
    ]
    contest = load_contest(folders)
    rows = between_places(contest, rank_teams(contest, 10))
    pairs = {(row.first, row.second) for row in rows}
    assert pairs == {("a", "b"), ("b", "c")}
    by_rank = [row for row in rows if row.figure == "mean rank"]
    # a is first in every case and metric, b second
    assert [(row.difference.value, row.verdict) for row in by_rank] == [(-1, "better")] * 2
    result = invoke("rank", *folders, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "mean rank" in result.output
    assert (tmp_path / "out/differences.csv").is_file()


def test_efficiency_alone_has_no_differences(tmp_path):
    assert between_teams([team("a", 0.5)]) == ([], [])


def blank(scores, case, *organs):
    """`scores` with organs that nobody annotated in one case."""
    cases = tuple(
        replace(one, labels=one.labels | dict.fromkeys(organs, LabelScore(note=NOT_ANNOTATED)))
        if one.case == case
        else one
        for one in scores.cases
    )
    return replace(scores, cases=cases)


OTHER_ORGANS = (
    "other organs were annotated; score both for the same ones, such as --annotated liver"
)


def test_means_over_other_organs_are_not_subtracted():
    first, second = team("a", 0.6, 0.8), team("b", 0.5, 0.7)
    rows, left_out = between_teams([blank(first, "case00", "spleen"), second])
    assert [row.figure for row in rows] == ["tumour DSC", "tumour NSD"]
    assert left_out == [LeftOut("a", "b", OTHER_ORGANS)]
    rows, left_out = between_teams([blank(one, "case00", "spleen") for one in (first, second)])
    assert (len(rows), left_out) == (4, [])  # the same organs, case by case
    apart = team("b", 0.5, 0.7, first=5)
    assert between_teams([first, blank(apart, "case05", "spleen")])[1] == [
        LeftOut("a", "b", OTHER_ORGANS)
    ]
    both = [blank(blank(one, f"case0{n}", "spleen"), f"case0{n + 1}", "spleen")
            for one, n in ((first, 0), (apart, 5))]  # fmt: skip
    assert between_teams(both)[1] == []


def test_a_tumour_that_nobody_looked_for_does_not_part_the_organs():
    first, second = team("a", 0.6, 0.8), team("b", 0.5, 0.7)
    for other in (second, team("b", 0.5, 0.7, first=5)):
        rows, left_out = between_teams([blank(first, "case00", "tumour"), other])
        assert "organ DSC" in {row.figure for row in rows}
        assert left_out == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rules": "fixed"}, "official, flare23, NSD 0 below a DSC of 0.2; fixed, flare23"),
        ({"profile": "flare22"}, "official, flare23, .*; official, flare22, "),
        ({"low_dsc": 0.1}, "a DSC of 0.2; .* a DSC of 0.1"),
    ],
)
def test_scores_by_other_rules_are_not_subtracted(change, words):
    rows, left_out = between_teams([team("a", 0.6), replace(team("b", 0.5), **change)])
    assert rows == []
    (one,) = left_out
    assert re.fullmatch(f"scored by other rules: .*{words}.*", one.why)


def test_what_is_not_subtracted_is_said(tmp_path):
    write_scores(tmp_path / "a", *team("a", 0.6, 0.8).cases)
    write_scores(tmp_path / "b", *blank(team("b", 0.5, 0.7), "case01", "spleen").cases)
    result = invoke("compare", tmp_path / "a", tmp_path / "b", "-o", tmp_path / "out")
    told = " ".join(result.output.split())
    assert f"Not subtracted: a, b: {OTHER_ORGANS}." in told
    assert "Note on b: not every organ was annotated in every case" in told
    table = json.loads((tmp_path / "out/differences.json").read_text())
    assert table["left_out"] == [{"first": "a", "second": "b", "why": OTHER_ORGANS}]
