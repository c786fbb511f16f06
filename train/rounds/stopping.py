"""When to stop: what a round gained on the held-out cases, and the signs that it went wrong.

The authors end with the question and name the signs: falling Dice, growing variance, a network that
learns its labels' noise (arXiv 2310.01159, discussion). Each round is compared with the one before
it on the same cases, so a case that is hard for both says nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.errors import KitError
from imaging.records import read_record
from train.rounds.fuse import agreement
from train.rounds.plan import cases_of, consumers
from train.rounds.recipe import Round, Stop
from train.rounds.run import Run

SAMPLES = 2000
"""Bootstrap samples of held-out cases."""
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
class Verdict:
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


def decide(rounds: Sequence[Judged], stop: Stop) -> Verdict:
    """Say whether there should be a round after the last of `rounds`.

    It goes on unless the last round got worse (the interval of its gain lies below zero, or that of
    a class which fell by more than `stop.least_gain`), gained no more than `stop.least_gain`, or
    hardly changed its labels. One class alone is only believed if so many cases have it that all of
    them falling by chance, in any of the classes, has a probability under `CHANCE`: half to the
    power of the cases, times the classes. With fewer it is a sign and no reason.

    Args:
        rounds: Two or more, in their order.
        stop: The recipe's rule.

    Raises:
        KitError: The two last rounds have no held-out case and class in common.
    """
    before, last = rounds[-2:]
    classes, pairs = _paired(before, last)
    gains = pairs[1] - pairs[0]
    total, of_class = _intervals(gains)
    by_class = {
        name: (float(np.nanmean(gains[:, place])), *of_class[place])
        for place, name in enumerate(classes)
    }
    gain = float(np.nanmean(np.nanmean(gains, axis=0)))
    fell = [name for name, (mean, _, high) in by_class.items() if high < 0]
    signs = [f"{name} fell by {-by_class[name][0]:.3f}" for name in fell]
    signs += _variance_sign(*pairs)
    signs += _noise_sign(before, last, gain)
    counts = dict(zip(classes, (~np.isnan(gains)).sum(axis=0), strict=True))
    sure = [name for name in fell if len(classes) * 0.5 ** counts[name] < CHANCE]
    bad = [name for name in sure if -by_class[name][0] > max(stop.least_gain, 0)]
    reason = _reason_to_end(gain, total, bad, last.change, stop)
    best = max(rounds, key=lambda one: _mean(one.dsc))
    return Verdict(
        last.round,
        before.round,
        not reason,
        reason or f"better: mean DSC gained {gain:.4f}",
        before.round if reason.startswith("worse") and best is last else best.round,
        gain,
        total,
        by_class,
        last.change,
        tuple(signs),
    )


def _reason_to_end(
    gain: float, interval: Interval, fell: Sequence[str], change: float, stop: Stop
) -> str:
    """Return why the rounds should end, or ""; `fell` are the classes that surely did."""
    if interval[1] < 0:
        return f"worse: mean DSC fell by {-gain:.4f}"
    if fell:
        return f"worse: {', '.join(fell)} fell"
    if gain <= stop.least_gain:
        return f"no better: mean DSC gained {gain:.4f}, asked for are {stop.least_gain:g}"
    return f"settled: the labels changed by {change:.4f}" if change < stop.least_change else ""


def _paired(before: Judged, last: Judged) -> tuple[list[str], Values]:
    """Return the classes, and DSC [2, cases, classes], NaN where either round has none."""
    cases = sorted(before.dsc.keys() & last.dsc.keys())
    classes = sorted({name for case in cases for name in before.dsc[case].keys()})
    table = np.full((2, len(cases), len(classes)), np.nan)
    for side, one in enumerate((before, last)):
        for row, case in enumerate(cases):
            for column, name in enumerate(classes):
                table[side, row, column] = one.dsc[case].get(name, np.nan)
    table[:, np.isnan(table).any(axis=0)] = np.nan
    known = ~np.isnan(table[0]).all(axis=0)
    if not known.any():
        raise KitError(f"{before.round} and {last.round} have no held-out case in common")
    return [name for name, there in zip(classes, known, strict=True) if there], table[:, :, known]


def _intervals(gains: Values) -> tuple[Interval, list[Interval]]:
    """Return the 95 % intervals of the mean over classes, and of each class.

    A class with one case has no spread to draw from: its interval is all that a gain can be.
    """
    draws = np.random.default_rng(_SEED).integers(len(gains), size=(SAMPLES, len(gains)))
    there = ~np.isnan(gains)
    sums, counts = np.where(there, gains, 0)[draws].sum(axis=1), there[draws].sum(axis=1)
    with np.errstate(invalid="ignore"):
        means = sums / counts  # NaN where a sample has no case with the class
    of_class = np.nanpercentile(means, (2.5, 97.5), axis=0).T
    of_class[there.sum(axis=0) < 2] = -1.0, 1.0
    low, high = np.percentile(np.nanmean(means, axis=1), (2.5, 97.5))
    return (float(low), float(high)), [(float(one[0]), float(one[1])) for one in of_class]


def _variance_sign(before: Values, last: Values) -> list[str]:
    """Say so if cases differ more than before: twice the variance about the classes' means."""
    spread = [float(np.nanvar(table - np.nanmean(table, axis=0))) for table in (before, last)]
    if spread[1] <= 2 * spread[0]:
        return []
    was, now = (value**0.5 for value in spread)
    return [f"cases differ more: the deviation of their DSC went from {was:.3f} to {now:.3f}"]


def _noise_sign(before: Judged, last: Judged, gain: float) -> list[str]:
    """Say so if the network fits its own labels better, and the held-out ones worse."""
    if before.fit is None or last.fit is None or not (last.fit > before.fit and gain < 0):
        return []
    return [
        f"it learns its labels' noise: DSC with them rose from {before.fit:.3f} to {last.fit:.3f}, "
        f"held-out DSC fell by {-gain:.3f}"
    ]


def _mean(dsc: Dsc) -> float:
    """Return the mean over classes of the mean over cases."""
    classes: dict[str, list[float]] = {}
    for row in dsc.values():
        for name, value in row.items():
            classes.setdefault(name, []).append(value)
    return float(np.mean([np.mean(values) for values in classes.values()])) if classes else 0.0


def judged(run: Run, count: int) -> list[Judged]:
    """Return what is known of the first `count` rounds of a run, all of whose stages are done.

    Change and fit are looked up in `SAMPLED` cases at most, evenly spread over the list.

    Raises:
        KitError: A file of the run is missing or cannot be read.
    """
    found = []
    steps = run.recipe.rounds[:count]
    for before, step in zip((None, *steps), steps, strict=False):
        place = run.folder / step.name
        mine = _labels(run, step)
        theirs = _labels(run, before) if before else {}
        own = run.labels_of(step.name) if consumers(run.recipe, step.name) else {}
        change = changed(theirs, mine)
        dsc = load_dsc(place / "judge" / "judge.json")
        found.append(Judged(step.name, dsc, change, _agreement(own, mine)))
    return found


def _labels(run: Run, step: Round) -> dict[str, Path]:
    cases = cases_of(run.recipe, step, run.cases)
    return {case.case: run.fused(step, case) for case in cases}


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


def told(verdicts: Sequence[Verdict]) -> str:
    """Return stop.json's text."""
    return json.dumps({"verdicts": [asdict(verdict) for verdict in verdicts]}, indent=1) + "\n"
