"""How often the intervals of `compare` hold a difference that is known.

`python -m tests.evaluation.coverage` draws 1,000 times, paired and unpaired (docs/compare.md).
"""

import numpy as np

from evaluation.comparison.differences import between_teams
from evaluation.scoring.scores import CaseScores, LabelScore, Scores
from imaging.organs import ORGANS

KNOWN = 2.0
"""The true difference of the mean organ DSC, in percent points."""
CASES = 50


def coverage(draws, *, paired, seed=0):
    """Return the share of draws whose interval holds the true difference."""
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(draws):
        hard = rng.beta(2, 14, CASES)  # skewed: a few cases are hard for everybody
        other = hard if paired else rng.beta(2, 14, CASES)
        first = _team("a", 0.97 - hard + rng.normal(0, 0.03, CASES))
        second = _team("b", 0.95 - other + rng.normal(0, 0.03, CASES), 0 if paired else CASES)
        (row,) = [row for row in between_teams([first, second])[0] if row.figure == "organ DSC"]
        assert row.difference.paired == paired
        held += row.difference.low <= KNOWN <= row.difference.high
    return held / draws


def _team(name, values, first=0):
    """Return scores of which only the liver's DSC is known."""
    cases = tuple(
        CaseScores(
            f"case{first + n}", dict.fromkeys(ORGANS, LabelScore()) | {"liver": LabelScore(v)}
        )
        for n, v in enumerate(values)
    )
    return Scores(name, None, "official", 0.2, "fail", cases)


if __name__ == "__main__":
    for paired in (True, False):
        held = coverage(1000, paired=paired)
        print("paired" if paired else "unpaired", f"{held:.1%}")  # noqa: T201
