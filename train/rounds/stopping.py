"""Decide after each round whether to run another, by the gain on held-out cases.

The authors name the signs of failure: falling Dice, growing variance, a network that learns its
labels' noise (arXiv 2310.01159, discussion). Each round is compared with the one before it on the
same cases, so a case that is hard for both does not count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from imaging.errors import KitError
from imaging.records import read_record, write_json
from train.rounds.fuse import agreement
from train.rounds.graph import consumers
from train.rounds.recipe import Stop
from train.rounds.run import Run

SAMPLES = 2000
"""Bootstrap samples of held-out cases."""
_PARTS = 40
"""In which samples are drawn: 2,000 of 700 held-out cases at once are half a gigabyte."""
CHANCE = 0.05
"""Of ending the rounds for a class that fell in a few cases by chance."""
SAMPLED = 100
"""Cases whose labels are compared, at most."""
_SEED = 231001159
Dsc = Mapping[str, Mapping[str, float]]
"""By case and class."""
Interval = tuple[float, float]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class _Scored:
    dsc: Dsc


@dataclass(frozen=True)
class Decision:
    """What a round did, compared with the one before it."""

    round: str
    before: str
    go_on: bool
    reason: str
    use: str
    """The best round so far: the one to go back to where `go_on` is false."""
    gain: float
    """Of mean DSC: mean over the classes of the mean over the held-out cases."""
    interval: Interval
    """Bootstrap 95 % interval of `gain`, over cases."""
    by_class: dict[str, tuple[float, float, float]]
    """Each class's gain, and its interval."""
    change: float
    """Share by which the labels changed: one less their mean DSC with the round before's, which is
    0 for a case that the round before had not."""
    signs: tuple[str, ...]
    """Signs of failure."""


@dataclass(frozen=True)
class Judged:
    """What is known of one round."""

    round: str
    dsc: Dsc
    """Of its network on the held-out cases."""
    change: float
    """Of its labels since the round before."""
    fit: float | None
    """Mean DSC of its network with the labels that it was trained on; None if it labelled none."""


def decide(rounds: Sequence[Judged], stop: Stop) -> Decision:
    """Decide whether there should be a round after the last of `rounds`.

    There is none if the last round is worse than the one before (the interval of its gain lies
    below zero, or a class surely fell by more than `stop.least_gain`), if it gained no more than
    `stop.least_gain`, or if its labels changed by less than `stop.least_change`.

    Args:
        rounds: Two or more, in their order.
        stop: The recipe's rule.

    Raises:
        KitError: The two last rounds have no held-out case and class in common.
    """
    before, last = rounds[-2:]
    classes, dsc = paired(before, last)
    gains = dsc[1] - dsc[0]
    class_gains = np.nanmean(gains, axis=0)
    gain = float(class_gains.mean())
    interval, class_intervals = _intervals(gains)
    by_class = {
        name: (float(mean), *limits)
        for name, mean, limits in zip(classes, class_gains, class_intervals, strict=True)
    }
    falls = {name: -mean for name, (mean, _, high) in by_class.items() if high < 0}
    cases = dict(zip(classes, np.count_nonzero(~np.isnan(gains), axis=0), strict=True))
    sure = [name for name in falls if chance_of_fall(cases[name], len(classes)) < CHANCE]
    bad = [name for name in sure if falls[name] > max(stop.least_gain, 0)]
    worse = _worse(gain, interval, bad)
    reason = worse or _no_better(gain, last.change, stop)
    best = max(rounds, key=lambda one: _mean(one.dsc))
    signs = [f"{name} fell by {fall:.3f}" for name, fall in falls.items()]
    signs += _variance_sign(*dsc) + _noise_sign(before, last, gain)
    return Decision(
        round=last.round,
        before=before.round,
        go_on=not reason,
        reason=reason or f"better: mean DSC gained {gain:.4f}",
        use=before.round if worse and best is last else best.round,
        gain=gain,
        interval=interval,
        by_class=by_class,
        change=last.change,
        signs=tuple(signs),
    )


def chance_of_fall(cases: int, classes: int) -> float:
    """Return the chance that some class falls in all of its cases though nothing changed.

    At most: half to the power of its cases, times the classes that it might have been.
    """
    return float(classes * 0.5**cases)


def _worse(gain: float, interval: Interval, fell: Sequence[str]) -> str:
    """Return in what the round is worse, or ""; `fell` are the classes that surely fell."""
    if interval[1] < 0:
        return f"worse: mean DSC fell by {-gain:.4f}"
    return f"worse: {', '.join(fell)} fell" if fell else ""


def _no_better(gain: float, change: float, stop: Stop) -> str:
    """Return why another round would bring nothing, or ""."""
    if gain <= stop.least_gain:
        return f"no better: mean DSC gained {gain:.4f}, required is {stop.least_gain:g}"
    return f"settled: the labels changed by {change:.4f}" if change < stop.least_change else ""


def paired(before: Judged, last: Judged) -> tuple[list[str], Values]:
    """Return the classes that both rounds have, and DSC [2, cases, classes], NaN if one has none.

    Raises:
        KitError: They have no case and class in common.
    """
    cases = sorted(before.dsc.keys() & last.dsc.keys())
    classes = sorted({c for case in cases for c in before.dsc[case].keys() & last.dsc[case].keys()})
    if not classes:
        raise KitError(f"{before.round} and {last.round} have no held-out case in common")
    dsc = np.array(
        [
            [[of[case].get(c, np.nan) for c in classes] for case in cases]
            for of in (before.dsc, last.dsc)
        ]
    )
    dsc[:, np.isnan(dsc).any(axis=0)] = np.nan
    return classes, dsc


def _intervals(gains: Values) -> tuple[Interval, list[Interval]]:
    """Return the bootstrap 95 % intervals of the mean over classes, and of each class.

    A class with one case has no spread to draw from: its interval is all that a gain can be.
    """
    draws = np.random.default_rng(_SEED).integers(len(gains), size=(SAMPLES, len(gains)))
    means = np.concatenate([_means(gains[some]) for some in np.array_split(draws, _PARTS)])
    limits = np.nanpercentile(means, (2.5, 97.5), axis=0)
    limits[:, np.count_nonzero(~np.isnan(gains), axis=0) < 2] = [[-1.0], [1.0]]
    low, high = np.percentile(np.nanmean(means, axis=1), (2.5, 97.5))
    return (float(low), float(high)), [(float(one[0]), float(one[1])) for one in limits.T]


def _means(samples: Values) -> Values:
    """Return the mean over cases, [samples, classes] of [samples, cases, classes]."""
    with np.errstate(invalid="ignore"):  # NaN where a sample has no case with the class
        means: Values = np.nansum(samples, axis=1) / np.count_nonzero(~np.isnan(samples), axis=1)
    return means


def _variance_sign(before: Values, last: Values) -> list[str]:
    """Say so if cases differ more than before: twice the variance about the classes' means."""
    was, now = (float(np.nanvar(dsc - np.nanmean(dsc, axis=0))) for dsc in (before, last))
    if now <= 2 * was:
        return []
    return [
        f"cases differ more: the deviation of their DSC went from {was**0.5:.3f} to {now**0.5:.3f}"
    ]


def _noise_sign(before: Judged, last: Judged, gain: float) -> list[str]:
    """Say so if the network fits its own labels better, and the held-out ones worse."""
    if before.fit is None or last.fit is None or last.fit <= before.fit or gain >= 0:
        return []
    return [
        f"it learns its labels' noise: DSC with them rose from {before.fit:.3f} to {last.fit:.3f}, "
        f"held-out DSC fell by {-gain:.3f}"
    ]


def _mean(dsc: Dsc) -> float:
    """Return the mean over classes of the mean over cases."""
    names = {name for row in dsc.values() for name in row}
    means = [fmean(row[name] for row in dsc.values() if name in row) for name in names]
    return fmean(means or [0.0])


def judged_rounds(run: Run, count: int) -> list[Judged]:
    """Return what is known of the first `count` rounds of a run, all of whose stages are done.

    Change and fit are looked up in `SAMPLED` cases at most, evenly spread over the list.

    Raises:
        KitError: A file of the run is missing or cannot be read.
    """
    found = []
    steps = run.recipe.rounds[:count]
    for before, step in zip((None, *steps), steps, strict=False):
        place = run.folder / step.name
        mine = run.fused_labels(step)
        theirs = run.fused_labels(before) if before else {}
        own = run.labels_of(step.name) if consumers(run.recipe, step.name) else {}
        change = changed(theirs, mine)
        dsc = load_dsc(place / "judge" / "judge.json")
        found.append(Judged(step.name, dsc, change, _agreement(own, mine)))
    return found


def changed(before: Mapping[str, Path], now: Mapping[str, Path]) -> float:
    """Return by how much a round's label maps changed, 0 to 1; a case that is new is all change.

    Raises:
        KitError: A map cannot be read.
    """
    kept = len(before.keys() & now.keys()) / len(now)
    return 1 - kept * (_agreement(before, now) or 0.0)


def _agreement(first: Mapping[str, Path], second: Mapping[str, Path]) -> float | None:
    """Return the mean DSC of two sets of label maps; None where they have no case in common."""
    cases = sorted(first.keys() & second.keys())
    if not cases:
        return None
    few = cases[:: -(-len(cases) // SAMPLED)]
    return float(np.mean([agreement(first[case], second[case]) for case in few]))


def load_dsc(path: Path) -> Dsc:
    """Read a judge.json.

    Raises:
        KitError: It is not there, or is none.
    """
    return read_record(path, _Scored, "record of held-out cases").dsc


def write_decisions(decisions: Sequence[Decision], path: Path) -> None:
    """Write stop.json."""
    write_json({"verdicts": [asdict(decision) for decision in decisions]}, path)
