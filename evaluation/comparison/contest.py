"""Several teams' results on the same cases, as costs that can be ranked."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.comparison.measured import check_names, load_results
from evaluation.efficiency.results import CaseEfficiency, Efficiency
from evaluation.profiles.profile import FLARE23, Profile
from evaluation.scoring.scores import FIGURES, ORGANS_MEAN, CaseScores, Scores, score_name
from imaging.errors import KitError
from imaging.organs import TUMOUR
from imaging.words import number_of

GPU, CPU = "GPU AUC", "CPU AUC"
_FIGURES: dict[str, tuple[str, str]] = {
    "seconds": ("time", "over_seconds"),
    "gpu_mib.peak": ("GPU memory", "gpu_over_mib.peak"),
    "gpu_mib.auc_official": (GPU, "gpu_over_mib.auc_official"),
    "cpu_percent.auc_official": (CPU, "cpu_percent.auc_official"),
}
"""Name and figure of an efficiency run by what a profile ranks; time and GPU memory count above the
tolerances only."""
_MOST_NAMED = 5


@dataclass(frozen=True)
class Contest:
    """What every team's result costs it, case by case: the less, the better."""

    teams: tuple[str, ...]
    cases: tuple[str, ...]
    costs: dict[str, NDArray[np.float64]]
    """float64 [teams, cases] by metric: minus DSC or NSD, seconds, areas."""
    notes: tuple[str, ...]
    """What a reader of the ranking must know."""


def load_contest(folders: Sequence[Path]) -> Contest:
    """Read the teams' folders, each with scores.json and perhaps efficiency.json.

    A failed or missing case costs the most: DSC and NSD 0, as in the challenge, and more time and
    memory than any other. What is ranked is what the challenge's profile says.

    Args:
        folders: Of the teams.

    Raises:
        KitError: The results cannot be set against each other.
    """
    if len(folders) < 2:
        raise KitError("one team alone cannot be ranked; give the results of two or more")
    scores: list[Scores] = []
    runs: dict[str, Efficiency] = {}
    for folder in folders:
        found, run = load_results(folder)
        if found is None:
            raise KitError(f"{folder} holds no scores.json; run score first")
        scores.append(found)
        if run is not None:
            runs[found.team] = run
    check_names(s.team for s in scores)
    _check_rules(scores)
    _check_cases(scores, runs)
    cases = tuple(case.case for case in scores[0].cases)
    fullest = max(scores, key=lambda s: sum(bool(case.labels) for case in s.cases))
    costs, notes = _score_costs(scores, cases, fullest.unannotated), _unannotated_notes(fullest)
    notes += _profile_notes(scores[0].challenge, runs)
    measures = scores[0].challenge.measures
    for metric, figure in (_FIGURES[m] for m in measures if m in _FIGURES):
        rows = [_efficiency_costs(runs.get(s.team), figure, cases) for s in scores]
        if lacking := [s.team for s, row in zip(scores, rows, strict=True) if np.isinf(row).all()]:
            end = "is not ranked" if len(lacking) == len(rows) else "the worst rank on every case"
            notes.append(f"{metric}: not measured for {', '.join(lacking)}: {end}")
        if len(lacking) < len(rows):
            costs[metric] = np.array(rows)
    return Contest(tuple(s.team for s in scores), cases, costs, tuple(notes))


def _profile_notes(profile: Profile, runs: dict[str, Efficiency]) -> list[str]:
    """Say what of a challenge's ranking is not known, and which run had other limits."""
    notes = []
    if not set(profile.measures) & _FIGURES.keys():
        notes.append(
            f"which measures of efficiency {profile.challenge} ranks could not be confirmed"
        )
    other = [team for team, run in runs.items() if run.profile not in (None, profile.name)]
    other += [t for t, run in runs.items() if run.profile is None and profile != FLARE23]
    if other:
        notes.append(f"not timed by the limits of {profile.name}: {', '.join(other)}")
    return notes


def _check_rules(scores: Sequence[Scores]) -> None:
    if fixed := [s.team for s in scores if s.rules != "official"]:
        raise KitError(
            f"{', '.join(fixed)}: the challenge ranks scores by the official rules; score again"
        )
    _check_same("--profile", {s.team: s.profile for s in scores})
    _check_same("--low-dsc", {s.team: s.low_dsc for s in scores})
    _check_same("--split", {s.team: s.split for s in scores if s.split is not None})


def _check_cases(scores: Sequence[Scores], runs: dict[str, Efficiency]) -> None:
    known = {case.case: case for case in scores[0].cases}
    for other in scores[1:]:
        found = {case.case: case for case in other.cases}
        if difference := _how_scored_otherwise(known, found):
            raise KitError(f"{scores[0].team} and {other.team} were {difference}")
    for team, run in runs.items():
        if strange := {case.case for case in run.cases} - known.keys():
            raise KitError(f"{team} was timed on cases that were not scored: {_named(strange)}")
    _check_same("--time-limit", {team: run.limits.seconds for team, run in runs.items()})
    _check_same("--memory-limit", {team: run.limits.gpu_mib for team, run in runs.items()})


def _how_scored_otherwise(
    first: dict[str, CaseScores], second: dict[str, CaseScores]
) -> str | None:
    """Say why two scorings cannot be ranked together; None where they can."""
    if one_only := first.keys() ^ second.keys():
        return f"not scored on the same cases; in one only: {_named(one_only)}"
    pairs = [(first[case], second[case]) for case in first]
    if odd := [a.case for a, b in pairs if a.truth_sha256 != b.truth_sha256]:
        return f"scored against different truths: {_named(odd)}"
    scored = [(a, b) for a, b in pairs if a.labels and b.labels]
    if blank := [a.case for a, b in scored if a.unannotated != b.unannotated]:
        advice = "score both with the same --annotated"
        return f"not scored on the same organs: {advice}: {_named(blank)}"
    return None


def _check_same(option: str, values: dict[str, Any]) -> None:
    if len(set(values.values())) > 1:
        named = ", ".join(f"{team} {value}" for team, value in values.items())
        raise KitError(f"the teams differ in {option} ({named}); measure all alike")


def _named(cases: Iterable[str]) -> str:
    names = sorted(cases)
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _score_costs(
    scores: Sequence[Scores], cases: tuple[str, ...], unannotated: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Return minus the score of every case, 0 where it has none: for all teams, unannotated."""
    tables = [{case.case: case for case in s.cases} for s in scores]
    labels = {ORGANS_MEAN: {*scores[0].challenge.organs}, TUMOUR: {TUMOUR} & {*scores[0].names}}
    return {
        score_name(of, metric): np.array(
            [[-(table[case].value(of, metric) or 0.0) for case in cases] for table in tables]
        )
        for of, metric in FIGURES
        if labels[of] - set(unannotated)
    }


def _unannotated_notes(scores: Scores) -> list[str]:
    """Say what is not ranked, or ranked on fewer cases, because it was not annotated."""
    lacking = Counter(organ for case in scores.cases for organ in case.unannotated)
    named = ", ".join(f"{organ} in {number_of(n, 'case')}" for organ, n in lacking.items())
    return [f"not annotated, so all teams are equal there: {named}"] if named else []


def _efficiency_costs(run: Efficiency | None, figure: str, cases: tuple[str, ...]) -> list[float]:
    """Return one figure of each case, infinity where the case failed or was not measured."""
    found: dict[str, CaseEfficiency] = {}
    if run is not None:
        found = {case.case: case for case in run.cases if not case.failed}
    return [
        found[case].figures[figure].median
        if case in found and figure in found[case].figures
        else np.inf
        for case in cases
    ]
