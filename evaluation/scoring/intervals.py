"""Bootstrap 95 % intervals of means and of differences of means, and what would settle them.

Percentile intervals are too narrow for few cases: the bootstrap's spread is that of n cases, not
of n - 1, and the normal's, not Student's. So the percentiles are moved outwards until they would
be right for normal data: the expanded percentiles of T. C. Hesterberg, "What Teachers Should Know
about the Bootstrap", arXiv 1411.5279 (short form: The American Statistician 69, 2015, 371-386), as
his R package `resample` has them (ExpandProbs): z(p') sqrt((n - 1) / n) = t(p, n - 1).

No sample's mean lies outside of the cases it is made of, so of two or three cases even the moved
percentiles end at the least and the greatest. With so few cases there is no interval (`enough`).
"""

from dataclasses import dataclass
from itertools import count
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
RESAMPLES = 2000
POWER = 0.8
_SEED = 23
_LEVEL = 0.95
_SPREAD_OF = 2
"""With fewer cases nothing is known of the spread."""


@dataclass(frozen=True)
class Difference:
    """A difference of two means, and how sure it is."""

    value: float
    low: float | None
    """Lower end of the 95 % interval; None where the cases are too few for one."""
    high: float | None
    first_cases: int
    second_cases: int
    paired: bool
    """The same cases on both sides: what counts is the difference case by case."""
    cases_needed: int | None = None
    """Cases (on each side, if unpaired) with which a difference of this size would be seen in 80 %
    of studies; None where the two are equal or nothing is known of the spread."""

    @property
    def settled(self) -> bool:
        """Tell whether 0 lies outside the interval."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    @property
    def more_cases(self) -> int | None:
        """Return how many cases more it takes; 0 where it is settled, None where unknown."""
        if self.settled:
            return 0
        if self.cases_needed is None:
            return None
        return max(1, self.cases_needed - min(self.first_cases, self.second_cases))

    def verdict(self, *, more_is_better: bool = True) -> str:
        """Return "better" or "worse" of the first; "not settled" where 0 is in the interval."""
        if not self.settled:
            return "not settled"
        return "better" if (self.value > 0) == more_is_better else "worse"


def paired_difference(first: Floats, second: Floats) -> Difference:
    """Return the mean of first minus second, case by case.

    Args:
        first: float64 [cases].
        second: float64 of the same cases in the same order.
    """
    change = np.asarray(first - second, np.float64)
    counts = len(change), len(change)
    return _difference([change], float(change.mean()), _resampled(change, 0), counts, paired=True)


def unpaired_difference(first: Floats, second: Floats) -> Difference:
    """Return the mean of first minus that of second, which are of different cases.

    Args:
        first: float64 [cases].
        second: float64 [other cases].
    """
    value = float(first.mean() - second.mean())
    sampled = _resampled(first, 0) - _resampled(second, 1)
    return _difference([first, second], value, sampled, (len(first), len(second)), paired=False)


def against_a_figure(values: Floats, figure: float) -> Difference:
    """Return the mean of `values` minus a figure of which no case is known.

    The interval is that of the mean alone, as if the figure were exact.
    """
    return paired_difference(values, np.full(len(values), figure))


def _difference(
    groups: list[Floats], value: float, sampled: Floats, counts: tuple[int, int], *, paired: bool
) -> Difference:
    """Return a difference of the means of `groups`, or of one group from 0, with its interval."""
    if min(counts) < _SPREAD_OF:
        return Difference(value, None, None, *counts, paired)
    needed = _needed(value, sum(float(group.var(ddof=1)) for group in groups), len(groups))
    if not enough(*map(len, groups)):
        return Difference(value, None, None, *counts, paired, needed)
    return Difference(value, *_ends(sampled, *_spread(groups)), *counts, paired, needed)


def enough(*counts: int) -> bool:
    """Tell whether so many cases, in one or two groups, can show anything at a level of 5 %.

    Where there is nothing to show, all n differences have one sign by chance in 2 of 2ⁿ draws (the
    sign test), and all n cases of a group lie on one side of the other's m in 2 of the
    (n + m)!/(n! m!) ways to share them out (the rank-sum test). Nothing is a clearer sign than
    that, so it must be rarer than 5 %: six cases, or four in each of two groups.

    Args:
        counts: Cases of one group, whose differences from something are known; or of two groups.
    """
    ways = comb(sum(counts), counts[0]) if len(counts) > 1 else 2 ** counts[0]
    return 2 / ways <= 1 - _LEVEL


def _needed(value: float, variance: float, groups: int) -> int | None:
    """Return the cases for a power of 80 % at a two-sided level of 5 %.

    n = (z(0.975) + z(0.8))² · variance / value²: the normal approximation; for two groups the
    variance is the sum of both and n is of each. Source: powerandsamplesize.com, "Compare 2 Means"
    (kappa = 1, alpha halved), which names Chow, Shao and Wang, Sample Size Calculations in Clinical
    Research, 2nd edition 2008, page 58. At least as many as there must be for an interval.
    """
    if abs(value) < 1e-12:
        return None
    z = special.ndtri((1 + _LEVEL) / 2) + special.ndtri(POWER)
    least = next(n for n in count(1) if enough(*[n] * groups))
    return max(least, int(np.ceil(z**2 * variance / value**2)))


def _resampled(values: Floats, stream: int) -> Floats:
    """Return the means of RESAMPLES samples with replacement."""
    size = len(values)
    rng = np.random.default_rng((_SEED, stream))
    draws = rng.multinomial(size, np.full(size, 1 / size), RESAMPLES)
    return np.asarray(draws @ values / size, np.float64)


def _spread(groups: list[Floats]) -> tuple[float, float]:
    """Return the degrees of freedom (Welch), and the bootstrap's error as a share of the usual."""
    counts = [len(group) for group in groups]
    squares = [float(group.var(ddof=1)) / len(group) for group in groups]
    total = sum(squares)
    if total <= 0:
        return 1.0, 1.0
    parts = zip(squares, counts, strict=True)
    freedom = total**2 / sum(square**2 / (n - 1) for square, n in parts)
    shrunk = sum(s * (n - 1) / n for s, n in zip(squares, counts, strict=True))
    return freedom, float(np.sqrt(shrunk / total))


def _ends(sampled: Floats, freedom: float, shrunk: float) -> tuple[float, float]:
    """Return the ends of the interval, by the expanded percentiles."""
    outside = float(special.ndtr(special.stdtrit(freedom, (1 - _LEVEL) / 2) / shrunk))
    low, high = np.quantile(sampled, (outside, 1 - outside))
    return float(low), float(high)
