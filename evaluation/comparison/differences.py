"""Differences between teams' results with their intervals: which are settled, which are not.

The tables of `compare` and `rank` show which figure is larger. These say whether that is known:
0 in a difference's 95 % interval means that another draw of cases could turn it round.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np

from evaluation.comparison.compare import Comparison
from evaluation.comparison.contest import Contest
from evaluation.comparison.ranking import Ranking, case_ranks, mean_case_ranks
from evaluation.result_files import write_results
from evaluation.scoring.intervals import (
    Difference,
    Floats,
    against_a_figure,
    paired_difference,
    unpaired_difference,
)
from evaluation.scoring.scores import FIGURES, ORGANS_MEAN, Scores, score_name
from imaging.tables import write_csv

PERCENT, RANKS = "points", "ranks"
"""Units: percent points of DSC or NSD; mean ranks, of which less is better."""
_COLUMNS = (
    "first", "second", "figure", "unit", "value", "low", "high", "paired", "first_cases",
    "second_cases", "verdict", "cases_needed", "more_cases",
)  # fmt: skip


@dataclass(frozen=True)
class DifferenceRow:
    """One difference: the first less the second."""

    first: str
    second: str
    figure: str
    unit: str
    difference: Difference

    @property
    def verdict(self) -> str:
        """What is known of the first: "better", "worse" or "not settled"."""
        return self.difference.verdict(more_is_better=self.unit == PERCENT)


@dataclass(frozen=True)
class LeftOut:
    """Figures of two teams that are not subtracted."""

    first: str
    second: str
    why: str


def between_teams(teams: Sequence[Scores]) -> tuple[list[DifferenceRow], list[LeftOut]]:
    """Compare every two teams: on the cases that both share, or if they share none, on all.

    Shared are cases of one name and truth that both have a score of. What was scored by other
    rules is not compared, nor are means over other organs.
    """
    rows, left_out = [], {}
    for first, second in combinations(teams, 2):
        shared = _shared(first, second)
        for of, metric in FIGURES:
            one, two = (_values(scores, of, metric) for scores in (first, second))
            both = [case for case in shared if case in one and case in two]
            if not both and (shared or not one or not two):
                continue
            if (why := _why_apart(first, second, of, both)) is not None:
                left_out[first.team, second.team, why] = LeftOut(first.team, second.team, why)
                continue
            found = (
                paired_difference(_array(one, both), _array(two, both))
                if both
                else unpaired_difference(_array(one, one), _array(two, two))
            )
            name = score_name(of, metric)
            rows.append(DifferenceRow(first.team, second.team, name, PERCENT, found))
    return rows, list(left_out.values())


def _why_apart(first: Scores, second: Scores, of: str, both: Sequence[str]) -> str | None:
    """Say why figures of two teams cannot be subtracted; None where they can.

    Args:
        first: One team's scores.
        second: The other's.
        of: "organs" or "tumour".
        both: Cases that are compared in pairs; none where all of both are compared.
    """
    rules = [_rules_of(scores) for scores in (first, second)]
    if rules[0] != rules[1]:
        return f"scored by other rules: {rules[0]}; {rules[1]}"
    if of != ORGANS_MEAN:
        return None
    cases = [{c.case: c.not_in_mean for c in s.cases if c.labels} for s in (first, second)]
    if both:
        alike = all(cases[0][case] == cases[1][case] for case in both)
    else:
        alike = len({organs for found in cases for organs in found.values()}) < 2
    if alike:
        return None
    return "other organs were annotated; score both for the same ones, such as --annotated liver"


def _rules_of(scores: Scores) -> str:
    low = f", NSD 0 below a DSC of {scores.low_dsc:g}" if scores.rules == "official" else ""
    return f"{scores.rules}, {scores.profile}{low}"


def from_reported(rows: Iterable[Comparison], teams: Sequence[Scores]) -> list[DifferenceRow]:
    """Give the figures that `compare` subtracts their intervals: those of the measured mean alone.

    Nothing is known of the reported figure's cases, so it counts as exact.
    """
    scores = {team.team: team for team in teams}
    figures = {(f"{metric}_percent", of): (of, metric) for of, metric in FIGURES}
    found = []
    for row in rows:
        place = figures.get((row.metric, row.of))
        if row.difference is None or place is None or row.measured_by not in scores:
            continue
        values = _values(scores[row.measured_by], *place)
        difference = against_a_figure(_array(values, values), float(row.reported))
        by = f"{row.reported_by}, {row.split}"
        found.append(DifferenceRow(row.measured_by, by, score_name(*place), PERCENT, difference))
    return found


def between_places(contest: Contest, ranking: Ranking) -> list[DifferenceRow]:
    """Compare every team with the next one in a ranking, in mean rank and in each score."""
    by_case = mean_case_ranks({name: case_ranks(cost) for name, cost in contest.costs.items()})
    rows = []
    for first, second in pairwise(standing.team for standing in ranking.standings):
        one, two = contest.teams.index(first), contest.teams.index(second)
        mean = paired_difference(by_case[one], by_case[two])
        rows.append(DifferenceRow(first, second, "mean rank", RANKS, mean))
        for metric, costs in contest.costs.items():
            if metric.endswith(("DSC", "NSD")):
                change = paired_difference(-100 * costs[one], -100 * costs[two])
                rows.append(DifferenceRow(first, second, metric, PERCENT, change))
    return rows


def write_differences(
    rows: Sequence[DifferenceRow], folder: Path, left_out: Sequence[LeftOut] = ()
) -> None:
    """Write differences.json and differences.csv into `folder`.

    Raises:
        KitError: They cannot be written.
    """
    cells = [_cells(row) for row in rows]
    content = {"rows": cells, "left_out": [asdict(one) for one in left_out]}
    write_results("differences", content, folder / "differences.json")
    write_csv(folder / "differences.csv", _COLUMNS, ([c[k] for k in _COLUMNS] for c in cells))


def _cells(row: DifferenceRow) -> dict[str, object]:
    found = {"first": row.first, "second": row.second, "figure": row.figure, "unit": row.unit}
    more = row.difference.more_cases
    return {**found, **asdict(row.difference), "verdict": row.verdict, "more_cases": more}


def _shared(first: Scores, second: Scores) -> list[str]:
    """Return the cases of one name and, as far as is known, one truth."""
    known = {case.case: case.truth_sha256 for case in second.cases}
    both = [case for case in first.cases if case.case in known]
    return [c.case for c in both if len({c.truth_sha256, known[c.case]} - {None}) < 2]


def _values(scores: Scores, of: str, metric: str) -> dict[str, float]:
    """Return 100 times a score of every case that has it."""
    values = ((case.case, case.value(of, metric)) for case in scores.cases)
    return {case: 100 * value for case, value in values if value is not None}


def _array(values: dict[str, float], cases: Iterable[str]) -> Floats:
    return np.array([values[case] for case in cases], np.float64)
