"""Rank then average: ranks, ties, tolerances, missing cases and the bootstrap, by hand."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evaluation.cli import main
from evaluation.comparison.contest import CPU, GPU, Contest, load_contest
from evaluation.comparison.ranking import case_ranks, places, rank_teams, rank_weights
from evaluation.efficiency.results import ChallengeLimits
from evaluation.profiles.profile import load_profile
from evaluation.scoring.scores import CaseScores, LabelScore
from imaging.errors import KitError
from tests.evaluation.results import failed, run, scored, write_efficiency, write_scores

INF = float("inf")


def contest(**costs):
    """A contest of teams a, b, c … with one metric or more: costs [teams, cases]."""
    arrays = {metric: np.array(table, float) for metric, table in costs.items()}
    teams, cases = next(iter(arrays.values())).shape
    names = tuple("abcdefgh"[:teams])
    return Contest(names, tuple(f"case{n}" for n in range(cases)), arrays, ())


class TestRanks:
    def test_ties_get_the_average_of_their_ranks(self):
        # of 1, 2, 3 the first two share (1 + 2) / 2
        np.testing.assert_array_equal(
            case_ranks(np.array([[5.0], [5.0], [7.0]])).T, [[1.5, 1.5, 3]]
        )

    def test_all_that_is_missing_shares_the_last_ranks(self):
        # 1, then (2 + 3) / 2
        np.testing.assert_array_equal(
            case_ranks(np.array([[INF], [7.0], [INF]])).T, [[2.5, 1, 2.5]]
        )

    def test_the_last_bits_of_a_float_break_no_tie(self):
        np.testing.assert_array_equal(case_ranks(np.array([[0.1 + 0.2], [0.3]])).T, [[1.5, 1.5]])

    def test_equal_mean_ranks_share_the_better_place(self):
        np.testing.assert_array_equal(places(np.array([2.0, 1.0, 2.0, 3.0])), [2, 1, 2, 4])

    @given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=2, max_size=6))
    def test_ranks_of_a_case_always_add_up(self, costs):
        ranks = case_ranks(np.array(costs, float))
        teams = len(costs)
        np.testing.assert_allclose(ranks.sum(axis=0), teams * (teams + 1) / 2)


class TestAggregate:
    def test_ranks_are_averaged_over_metrics_then_cases(self):
        found = rank_teams(contest(x=[[1, 1], [2, 2], [3, 0]], y=[[1, 5], [1, 6], [9, 7]]), 10)
        # x: case 0 ranks 1 2 3, case 1 ranks 2 3 1; y: case 0 1.5 1.5 3, case 1 1 2 3
        # a: ((1 + 1.5) / 2 + (2 + 1) / 2) / 2 = 1.375; b: (1.75 + 2.5) / 2 = 2.125
        # c: (3 + 2) / 2 = 2.5
        assert [(s.team, s.place, s.mean_rank) for s in found.standings] == [
            ("a", 1, 1.375),
            ("b", 2, 2.125),
            ("c", 3, 2.5),
        ]
        # a in x: (1 + 2) / 2; in y: (1.5 + 1) / 2
        assert found.standings[0].ranks == {"x": 1.5, "y": 1.25}

    def test_gpu_and_cpu_weigh_a_half_where_both_are_ranked(self):
        assert rank_weights({"time": 0, GPU: 0, CPU: 0}) == {"time": 1, GPU: 0.5, CPU: 0.5}
        assert rank_weights({"time": 0, GPU: 0}) == {"time": 1, GPU: 1}
        # a: time 1, GPU 2, CPU 2: (1 + 1 + 1) / 2 = 1.5; b: (2 + 0.5 + 0.5) / 2 = 1.5
        found = rank_teams(contest(**{"time": [[1], [2]], GPU: [[9], [8]], CPU: [[9], [8]]}), 10)
        assert [s.mean_rank for s in found.standings] == [1.5, 1.5]
        assert [s.place for s in found.standings] == [1, 1]


class TestBootstrap:
    def test_a_team_that_wins_every_case_wins_every_sample(self):
        found = rank_teams(contest(x=[[1, 1, 1, 1], [2, 3, 2, 2], [3, 2, 3, 3]]), 500)
        assert found.standings[0].places == (1, 0, 0)
        assert 0 < found.standings[1].places[2] < 0.5 < found.standings[1].places[1] < 1

    def test_an_order_that_holds_on_every_case_is_that_of_every_sample(self):
        found = rank_teams(contest(x=[[1, 1], [2, 2], [3, 3]]), 50)
        assert [s.places for s in found.standings] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
        assert (found.tau.mean, found.tau.low, found.tau.high) == pytest.approx((1, 1, 1))

    def test_places_of_two_cases_come_as_often_as_they_must(self):
        # a wins case 0, b wins case 1. Both cases sampled once (1 of 2 samples): a tie, both first.
        # Case 0 twice (1 of 4): a first, b second; case 1 twice: the other way round.
        found = rank_teams(contest(x=[[1, 2], [2, 1]]), 4000)
        for standing in found.standings:
            # 0.5 + 0.25; five standard errors are 5 * sqrt(0.75 * 0.25 / 4000) = 0.034
            assert standing.places[0] == pytest.approx(0.75, abs=0.034)
            assert standing.places[0] + standing.places[1] == pytest.approx(1)

    def test_the_same_seed_draws_the_same_samples(self):
        close = contest(x=np.random.default_rng(0).random((4, 9)))
        first = rank_teams(close, 100)
        assert rank_teams(close, 100) == first
        assert rank_teams(close, 100, seed=1).standings != first.standings

    def test_tau_of_swapped_winners(self):
        # a and b swap places in the samples that hold case 1 three or two times: tau -1, else 1
        found = rank_teams(contest(x=[[1, 2, 1], [2, 1, 2]]), 2000)
        # case 1 is sampled 0 or 1 time of 3 with probability 8/27 + 12/27 = 20/27; mean 13/27
        # five standard errors are 5 * 2 * sqrt(20/27 * 7/27 / 2000) = 0.098
        assert found.tau.mean == pytest.approx(13 / 27, abs=0.098)
        assert (found.tau.low, found.tau.high) == (-1, 1)

    def test_tau_of_teams_that_are_all_alike_is_not_defined(self):
        found = rank_teams(contest(x=[[1, 1], [1, 1]]), 10)
        assert found.tau is None
        assert [s.places for s in found.standings] == [(1, 0), (1, 0)]


class TestContest:
    def test_scores_become_costs(self, tmp_path):
        case = scored("one", (0.9, 0.95), (0.5, 0.25))
        a, b = (write_scores(tmp_path / name, case, failed("two")) for name in "ab")
        found = load_contest([a, b])
        assert found.teams == ("a", "b")
        assert found.cases == ("one", "two")
        # a case without a prediction counts DSC 0 and NSD 0
        assert {metric: table[0].tolist() for metric, table in found.costs.items()} == {
            "organ DSC": pytest.approx([-0.9, 0]),
            "organ NSD": pytest.approx([-0.95, 0]),
            "tumour DSC": [-0.5, 0],
            "tumour NSD": [-0.25, 0],
        }
        assert found.notes == (
            "time: not measured for a, b: is not ranked",
            "GPU AUC: not measured for a, b: is not ranked",
        )

    def test_time_and_memory_under_the_tolerances_cost_nothing(self, tmp_path):
        cases = [scored("one"), scored("two")]
        a, b, c = (write_scores(tmp_path / name, *cases) for name in "abc")
        write_efficiency(a, one=run(14.9, gpu_over=0.0), two=run(15.0, gpu_over=0.0))
        write_efficiency(b, one=run(2.0, gpu_over=0.0), two=run(15.5, gpu_over=70.0))
        write_efficiency(c, one=run(25.0, gpu_over=10.0), two=run(9, gpu_over=9, error="killed"))
        found = load_contest([a, b, c])
        assert found.costs["time"].tolist() == [[0, 0], [0, 0.5], [10, INF]]
        assert found.costs[GPU].tolist() == [[0, 0], [0, 70], [10, INF]]
        assert found.notes == ()
        assert CPU not in found.costs

    def test_what_is_ranked_is_what_the_profile_names(self, tmp_path):
        wanted = {"flare22": [GPU, CPU], "flare21": ["GPU memory"], "flare24-organs": []}
        for profile, last in wanted.items():
            teams = [
                write_scores(tmp_path / profile / name, plain(profile), profile=profile)
                for name in "ab"
            ]
            for team, area in zip(teams, (300.0, 200.0), strict=True):
                write_efficiency(team, one=run(gpu_over=area, cpu=area))
            found = load_contest(teams)
            times = ["time"] if last else []
            assert list(found.costs) == ["organ DSC", "organ NSD", *times, *last]
            assert all(found.costs[metric].tolist() == [[300], [200]] for metric in last)
            assert f"not timed by the limits of {profile}: a, b" in found.notes
        assert "which measures of efficiency FLARE24 ranks could not be confirmed" in found.notes

    def test_what_one_team_did_not_measure_is_its_last_rank(self, tmp_path):
        a, b = (write_scores(tmp_path / name, scored("one"), scored("two")) for name in "ab")
        write_efficiency(a, one=run(99.0))  # `two` was not timed
        found = load_contest([a, b])
        assert found.costs["time"].tolist() == [[84, INF], [INF, INF]]
        assert found.notes == (
            "time: not measured for b: the worst rank on every case",
            "GPU AUC: not measured for a, b: is not ranked",
        )


def plain(profile):
    """A case that is right in every label of a profile."""
    return CaseScores("one", dict.fromkeys(load_profile(profile).labels, LabelScore(1.0, 1.0)))


def other_cases(a, b):
    write_scores(b, scored("one"), scored("three"))


def other_truth(a, b):
    write_scores(b, scored("one", truth_sha256="1"), scored("two"))


def fixed_rules(a, b):
    write_scores(b, scored("one"), scored("two"), rules="fixed")


def other_threshold(a, b):
    write_scores(b, scored("one"), scored("two"), low_dsc=0.2)


def other_split(a, b):
    write_scores(b, scored("one"), scored("two"), split="test")


def timed_elsewhere(a, b):
    write_efficiency(b, one=run(), five=run())


def other_limits(a, b):
    write_efficiency(a, one=run())
    write_efficiency(b, ChallengeLimits(60.0), one=run())


def no_scores(a, b):
    write_efficiency(b, one=run())
    (b / "scores.json").unlink()


def nothing(a, b):
    (b / "scores.json").unlink()


def damaged(a, b):
    (b / "scores.json").write_text("{")


def damaged_times(a, b):
    (b / "efficiency.json").write_text('{"kind": "efficiency"}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (other_cases, "a and b were not scored on the same cases; in one only: three, two"),
        (other_truth, "a and b were scored against different truths: one"),
        (fixed_rules, "b: the challenge ranks scores by the official rules; score again"),
        (other_threshold, "the teams differ in --low-dsc (a 0.1, b 0.2); measure all alike"),
        (other_split, "the teams differ in --split (a public validation, b test)"),
        (timed_elsewhere, "b was timed on cases that were not scored: five"),
        (other_limits, "the teams differ in --time-limit (a 15.0, b 60.0); measure all alike"),
        (no_scores, "b holds no scores.json; run score first"),
        (nothing, "b holds no scores.json or efficiency.json; run score or efficiency first"),
        (damaged, "scores.json is not JSON"),
        (damaged_times, "efficiency.json: schema: expected 1, found None; measure with"),
    ],
)
def test_results_that_cannot_be_set_against_each_other(damage, message, tmp_path):
    a, b = (write_scores(tmp_path / name, scored("one"), scored("two")) for name in "ab")
    damage(a, b)
    result = CliRunner().invoke(main, ["rank", str(a), str(b), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_many_cases_are_not_all_named(tmp_path):
    a = write_scores(tmp_path / "a", *(scored(f"a{n}") for n in range(7)))
    b = write_scores(tmp_path / "b", scored("a0"))
    with pytest.raises(KitError, match=r"in one only: a1, a2, a3, a4, a5 and 1 more$"):
        load_contest([a, b])


def test_one_team_and_twice_the_same_name_are_refused(tmp_path):
    a = write_scores(tmp_path / "a", scored("one"))
    with pytest.raises(KitError, match="one team alone cannot be ranked"):
        load_contest([a])
    with pytest.raises(KitError, match="several results are a's; name them apart: score --team"):
        load_contest([a, a])


def test_the_command_leaves_table_figures_and_picture(tmp_path):
    odd = write_scores(tmp_path / "b$_[x]$", scored("one", (0.8, 0.8)), scored("two", (0.9, 0.9)))
    a = write_scores(tmp_path / "a", scored("one", (0.9, 0.9)), scored("two", (0.9, 0.9)))
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["rank", str(odd), str(a), "-o", str(out)])
    assert result.exit_code == 0, result.output
    table = json.loads((out / "rank.json").read_text())
    # organ DSC and NSD: 1 and 2 on `one`, 1.5 each on `two`; tumour: 1.5 each
    # a: ((1 + 1 + 1.5 + 1.5) / 4 + 1.5) / 2 = (1.25 + 1.5) / 2 = 1.375
    assert [(s["team"], s["place"], s["mean_rank"]) for s in table["standings"]] == [
        ("a", 1, 1.375),
        ("b$_[x]$", 2, 1.625),
    ]
    assert table["weights"] == dict.fromkeys(
        ["organ DSC", "organ NSD", "tumour DSC", "tumour NSD"], 1
    )
    assert (table["bootstrap"], table["cases"]) == (1000, ["one", "two"])
    with (out / "rank.csv").open() as stream:
        first, second = csv.DictReader(stream)
    assert (first["team"], first["organ DSC"], second["team"]) == ("a", "1.25", "b$_[x]$")
    assert float(second["share_place_1"]) + float(second["share_place_2"]) == 1
    assert "b$_[x]$" in result.output
    with Image.open(out / "rank.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 10
    assert np.ptp(pixels, axis=1).max() == 0  # grey
