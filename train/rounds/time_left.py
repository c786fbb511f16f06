"""How long a run will still take: as measured in it, and until then as `train estimate` says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from train.data.release import list_cases
from train.progress import CASE, EPOCH
from train.rounds.cost import RecipeCost
from train.rounds.hardware import A100
from train.rounds.run import Run, truths_in
from train.rounds.watch import DONE, Watched

_LABELLING = ("label", "judge", "score")


@dataclass(frozen=True)
class TimeLeft:
    """Seconds, and what of them was not measured."""

    seconds: float
    estimated: tuple[str, ...]
    """Of "training" and "labelling", what is taken from the recipe's estimate."""

    @property
    def text(self) -> str:
        """What is shown: "about 3 h 20 min left (training as `train estimate` says)"."""
        known = f"about {duration(self.seconds)} left"
        what = " and ".join(self.estimated)
        return f"{known} ({what} as `train estimate` says)" if what else known


def duration(seconds: float) -> str:
    """Return a time in words: "45 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


class Clock:
    """Tells the time left of one run."""

    def __init__(self, run: Run, slots: int) -> None:
        """Count the epochs and cases of every stage.

        Args:
            run: Its release is listed.
            slots: Parts of a labelling that run at once.
        """
        recipe, cases = run.recipe, list_cases(run.release)
        names = {case.case for case in cases}
        annotated = sum(case.label is not None for case in cases)
        validation = [case.case for case in cases if case.subset == "validation"]
        estimate = RecipeCost(recipe, names)
        self._labelled = {row.round: row.labelled for row in estimate.rounds}
        self._cases = {
            "judge": annotated // recipe.held_out if recipe.held_out else 0,
            "score": 0 if run.truth is None else len(truths_in(run.truth, validation)),
        }
        self._epochs, self._shards = recipe.training.epochs, recipe.shards
        train_s = estimate.train_hours(A100).most * 3600
        self._epoch_s = train_s / max(1, recipe.training.epochs)
        self._case_s = estimate.case_hours(A100).most * 3600
        self._slots = min(slots, recipe.shards)

    def left(self, rows: Sequence[Watched]) -> TimeLeft:
        """Return the time left when the stages are as in `rows`."""
        epoch_s, case_s = (_each_s(rows, unit) for unit in (EPOCH, CASE))
        seconds, estimated = 0.0, []
        for row in rows:
            if row.state == DONE:
                continue
            if row.stage.kind == "train":
                seconds += self._units_left(row) * (self._epoch_s if epoch_s is None else epoch_s)
                seconds += _preparing_s(rows) if row.logged.progress is None else 0.0
                estimated += ["training"] if epoch_s is None else []
            elif row.stage.kind in _LABELLING:
                at_once = self._slots if row.stage.kind == "label" else 1
                each_s = self._case_s if case_s is None else case_s
                seconds += self._units_left(row) * each_s / at_once
                estimated += ["labelling"] if case_s is None else []
            else:
                seconds += _kind_s(rows, row.stage.kind)
        return TimeLeft(seconds, tuple(dict.fromkeys(estimated)))

    def _units_left(self, row: Watched) -> int:
        """Return the epochs or cases that a stage has still to do."""
        stage, told = row.stage, row.logged.progress
        if told is not None and told.unit == (EPOCH if stage.kind == "train" else CASE):
            return told.total - told.done
        if stage.kind == "train":
            return self._epochs
        if stage.kind == "label":
            return math.ceil(self._labelled[stage.round] / self._shards)
        return self._cases[stage.kind]


def _each_s(rows: Sequence[Watched], unit: str) -> float | None:
    """Return the seconds of an epoch or a labelled case in this run, as the last stage told."""
    kinds = ("train",) if unit == EPOCH else _LABELLING
    told = [row.logged.progress for row in rows if row.stage.kind in kinds]
    known = [one.each_s for one in told if one and one.unit == unit and one.each_s is not None]
    return known[-1] if known else None


def _preparing_s(rows: Sequence[Watched]) -> float:
    """Return what a finished training took beside its epochs; 0 before any is known."""
    for row in rows:
        told, seconds = row.logged.progress, row.logged.seconds
        if row.stage.kind == "train" and row.state == DONE and told and told.each_s and seconds:
            return max(0.0, seconds - told.total * told.each_s)
    return 0.0


def _kind_s(rows: Sequence[Watched], kind: str) -> float:
    """Return the mean seconds of finished stages of a kind; 0 before any is known."""
    seconds = [row.logged.seconds for row in rows if row.stage.kind == kind]
    known = [one for one in seconds if one is not None]
    return sum(known) / len(known) if known else 0.0
