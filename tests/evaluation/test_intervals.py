"""Intervals of differences: by hand, and how often they hold what is known to be true."""

import math

import numpy as np
import pytest

from evaluation.scoring.intervals import (
    Difference,
    against_a_figure,
    paired_difference,
    unpaired_difference,
)
from tests.evaluation.coverage import coverage


def test_a_paired_difference_is_that_of_the_cases():
    first, second = np.array([9, 8, 7, 6, 5, 5]) / 10, np.array([8, 8, 6, 4, 3, 5]) / 10
    found = paired_difference(first, second)
    assert found.value == pytest.approx(0.1)  # (0.1 + 0 + 0.1 + 0.2 + 0.2 + 0) / 6
    assert found.low < 0.1 < found.high
    assert (found.first_cases, found.second_cases, found.paired) == (6, 6, True)


def test_the_same_change_in_every_case_is_certain():
    second = np.array([1.0, 3.0, 7.0, 2.0, 2.0, 5.0])
    found = paired_difference(second + 1, second)
    assert (found.value, found.low, found.high) == (1, 1, 1)
    assert found.verdict() == "better"
    assert found.verdict(more_is_better=False) == "worse"
    assert found.more_cases == 0


def test_pairs_know_more_than_two_groups():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 0.1, 40)
    first, second = 0.9 + hard, 0.88 + hard + rng.normal(0, 0.01, 40)
    assert paired_difference(first, second).settled
    assert not unpaired_difference(first, second).settled


def test_cases_needed_by_the_formula():
    # differences -1 and 3: mean 1, variance 8; (1.95996 + 0.84162)^2 * 8 / 1^2 = 62.79
    found = paired_difference(np.array([0.0, 3.0]), np.array([1.0, 0.0]))
    assert math.isclose(found.value, 1)
    assert found.cases_needed == 63
    assert not found.settled
    assert found.more_cases == 61


def test_cases_needed_of_two_groups_are_of_each():
    # means 1 and 3, variances 2 and 2; 7.8489 * 4 / 2^2 = 7.85
    found = unpaired_difference(np.array([0.0, 2.0]), np.array([2.0, 4.0]))
    assert found.value == -2
    assert found.cases_needed == 8
    assert found.more_cases == 6


def test_a_difference_of_nothing_needs_no_number_of_cases():
    found = paired_difference(np.array([1.0, 2.0]), np.array([2.0, 1.0]))
    assert (found.value, found.cases_needed, found.more_cases) == (0, None, None)
    assert found.verdict() == "not settled"


def test_one_case_has_no_interval():
    for found in (
        paired_difference(np.array([1.0]), np.array([0.0])),
        unpaired_difference(np.array([1.0]), np.array([0.0, 0.5])),
    ):
        assert (found.low, found.high, found.cases_needed) == (None, None, None)
        assert found.verdict() == "not settled"


@pytest.mark.parametrize("counts", [(5,), (3, 4), (2, 7), (1, 38)])
def test_with_few_cases_nothing_is_settled(counts):
    """As clear as it can be, but chance alone would show it in more than one of twenty draws."""
    first, *others = (np.arange(n, dtype=np.float64) for n in counts)
    found = unpaired_difference(first + 100, *others) if others else against_a_figure(first, -100)
    assert (found.low, found.high, found.verdict()) == (None, None, "not settled")


@pytest.mark.parametrize("counts", [(6,), (4, 4), (3, 5), (2, 8), (2, 40)])
def test_with_one_more_it_can_be(counts):
    first, *others = (np.arange(n, dtype=np.float64) for n in counts)
    found = unpaired_difference(first + 100, *others) if others else against_a_figure(first, -100)
    assert found.low > 0
    assert found.verdict() == "better"


def test_those_that_are_needed_suffice_for_an_interval():
    # mean 10, variance 2: (1.95996 + 0.84162)^2 * 2 / 10^2 = 0.16
    found = paired_difference(np.array([9.0, 11.0]), np.zeros(2))
    assert (found.cases_needed, found.more_cases) == (6, 4)
    groups = unpaired_difference(np.array([9.0, 11.0]), np.array([0.0, 1.0]))
    assert (groups.cases_needed, groups.more_cases) == (4, 2)


def test_a_figure_counts_as_exact():
    values = np.array([90.0, 80.0, 85.0, 91.0, 79.0, 85.0])
    found = against_a_figure(values, 84.0)
    assert found.value == pytest.approx(1)
    mean = against_a_figure(values, 0.0)
    assert mean.high - mean.low == pytest.approx(found.high - found.low)


def test_an_end_on_zero_is_not_settled():
    assert not Difference(1.0, 0.0, 2.0, 5, 5, True).settled
    assert Difference(1.0, 0.1, 2.0, 5, 5, True).settled


@pytest.mark.parametrize("paired", [True, False])
def test_intervals_hold_a_known_difference_as_often_as_they_say(paired):
    # 300 draws: 95 % +- 2.5 (two standard errors); the 1,000 of docs/compare.md take a minute
    assert 0.925 <= coverage(300, paired=paired) <= 0.98
