"""FLARE's ranking: teams are ranked on every case and metric, and the ranks are averaged.

The scheme is that of flare22.grand-challenge.org/Evaluation ("rank then average"). That FLARE23
ranked in this way too, with its own metrics and tolerances, could not be confirmed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata

from evaluation.comparison.contest import CPU, GPU, Contest
from evaluation.result_files import write_results
from imaging.tables import write_csv

SEED = 23
_DIGITS = 9
"""What is equal but for the last bits of a float shares a rank."""


@dataclass(frozen=True)
class Standing:
    """Where one team ends up."""

    team: str
    place: int
    """From 1; teams of equal mean rank share the better place."""
    mean_rank: float
    ranks: dict[str, float]
    """Mean rank over the cases, by metric."""
    places: tuple[float, ...]
    """Share of the bootstrap samples in which it comes first, second …"""


@dataclass(frozen=True)
class RankCorrelation:
    """Kendall's tau between the rankings of the bootstrap samples and that of all cases."""

    mean: float
    low: float
    """2.5th percentile."""
    high: float
    """97.5th percentile."""


@dataclass(frozen=True)
class Ranking:
    """All teams, the best first."""

    standings: tuple[Standing, ...]
    cases: tuple[str, ...]
    weights: dict[str, float]
    """By metric that was ranked."""
    bootstrap: int
    """Bootstrap samples."""
    seed: int
    tau: RankCorrelation | None
    """None where all teams share a place, so that it is not defined."""
    notes: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write rank.json and rank.csv into `folder`."""
        write_results("ranking", asdict(self), folder / "rank.json")
        shares = [f"share_place_{place}" for place in range(1, len(self.standings) + 1)]
        rows = [
            [s.place, s.team, s.mean_rank, *(s.ranks[m] for m in self.weights), *s.places]
            for s in self.standings
        ]
        head = ["place", "team", "mean_rank", *self.weights, *shares]
        write_csv(folder / "rank.csv", head, rows)


def rank_weights(metrics: Mapping[str, object]) -> dict[str, float]:
    """Return what each metric weighs: 1, but GPU and CPU a half each where the CPU is ranked."""
    halved = {GPU, CPU} if CPU in metrics else set()
    return {metric: 0.5 if metric in halved else 1.0 for metric in metrics}


def mean_case_ranks(ranks: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the teams' mean ranks on every case, float64 [teams, cases], of those by metric."""
    weights = list(rank_weights(ranks).values())
    return np.average(list(ranks.values()), axis=0, weights=weights)


def rank_teams(contest: Contest, bootstrap: int, seed: int = SEED) -> Ranking:
    """Rank the teams of a contest.

    Args:
        contest: Their results.
        bootstrap: How often as many cases are sampled with replacement and ranked again.
        seed: Of the drawing.
    """
    weights = rank_weights(contest.costs)
    ranks = {metric: case_ranks(cost) for metric, cost in contest.costs.items()}
    by_case = mean_case_ranks(ranks)
    mean_ranks = by_case.mean(axis=1)
    order = places(mean_ranks)
    count = len(contest.cases)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), bootstrap)
    sampled = places(draws @ by_case.T / count)
    standings = [
        Standing(
            team=team,
            place=int(order[t]),
            mean_rank=float(mean_ranks[t]),
            ranks={metric: float(ranks[metric][t].mean()) for metric in weights},
            places=tuple(
                float(np.mean(sampled[:, t] == place)) for place in range(1, len(order) + 1)
            ),
        )
        for t, team in enumerate(contest.teams)
    ]
    return Ranking(
        standings=tuple(sorted(standings, key=lambda s: (s.mean_rank, s.team))),
        cases=contest.cases,
        weights=weights,
        bootstrap=bootstrap,
        seed=seed,
        tau=_agreement(order, sampled),
        notes=contest.notes,
    )


def case_ranks(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank the teams on every case, 1 the cheapest; ties get the average of their ranks.

    Args:
        costs: float64 [teams, cases], infinity where a team has nothing.
    """
    return np.asarray(rankdata(np.round(costs, _DIGITS), method="average", axis=0), np.float64)


def places(mean_ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the place of each team along the last axis; ties share the better one."""
    return np.asarray(rankdata(np.round(mean_ranks, _DIGITS), method="min", axis=-1), np.float64)


def _agreement(order: NDArray[np.float64], sampled: NDArray[np.float64]) -> RankCorrelation | None:
    """Compare the places `sampled` [samples, teams] with `order` [teams]."""
    found, counts = np.unique(sampled, axis=0, return_counts=True)
    taus = np.repeat([kendalltau(order, row).statistic for row in found], counts)
    taus = taus[~np.isnan(taus)]
    if not taus.size:
        return None
    low, high = np.percentile(taus, (2.5, 97.5))
    return RankCorrelation(float(taus.mean()), float(low), float(high))
