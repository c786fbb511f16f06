"""Label a case within its limits: its first windows say whether there is time for all of them.

No window is computed only to be timed. Where the case will take too long it begins anew, with less
augmentation or wider steps, and the windows until then are lost.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import as_shape
from inference.lattices import laid_lattices, ordered_windows, resizing_s
from inference.limits import (
    Choice,
    Costs,
    assumed_after_s,
    candidates,
    choose,
    memory_of,
    over_memory,
    over_time,
)
from inference.predictor import Predictor, Progress
from inference.preparing import Prepared
from inference.report import CaseReport, now_s
from inference.sliding_window import window_count

TIMED_WINDOWS = 2
"""They follow the first, which is not timed: an engine's first call is slower than the rest."""


class _TooLong(Exception):  # noqa: N818  # not an error: the case goes on, with another choice
    """The case will take too long; `choice` is what is best for it."""

    def __init__(self, choice: Choice) -> None:
        super().__init__(choice)
        self.choice = choice


def label_within_limits(
    predictor: Predictor,
    prepared: Prepared,
    report: CaseReport,
    progress: Progress,
    begun_s: float,
) -> NDArray[np.uint8]:
    """Label a prepared CT, without augmentation or with a wider step where the limits require it.

    What is left out, and limits that cannot be kept, are added to the report's warnings.

    Args:
        predictor: The network, with its settings.
        prepared: The CT.
        report: Of the case; it has the seconds of reading and preparing.
        progress: Called with every window.
        begun_s: When the case began, on the clock of `now_s`.

    Raises:
        KitError: The network cannot be used.
    """
    known = report.warnings
    while True:
        report.warnings = known + _left_out(predictor, prepared)
        watch = _Watch(predictor, prepared, report, begun_s, progress.window)
        try:
            return predictor.label(prepared, report, replace(progress, window=watch.window))
        except _TooLong as found:
            chosen = found.choice
        prepared = replace(prepared, tta=chosen.tta, step=chosen.step)


def _left_out(predictor: Predictor, prepared: Prepared) -> tuple[str, ...]:
    """Say what of the predictor's augmentation and step a case does without."""
    warnings = []
    if prepared.tta != predictor.tta:
        warnings.append(f"tta {prepared.tta} instead of {predictor.tta}, for the time limit")
    if prepared.step != predictor.window.step:
        step = predictor.window.step
        warnings.append(f"step {prepared.step:g} instead of {step:g}, for the time limit")
    return tuple(warnings)


class _Watch:
    """Counts and times a case's windows, and ends a case that will take too long."""

    def __init__(
        self,
        predictor: Predictor,
        prepared: Prepared,
        report: CaseReport,
        begun_s: float,
        show: Callable[[], None],
    ) -> None:
        self._predictor = predictor
        self._prepared = prepared
        self._report = report
        self._begun_s = begun_s
        self._show = show
        self._shape = as_shape(prepared.image)
        self._used = predictor.window_of(prepared.tta, prepared.step)
        self._timed = min(1 + TIMED_WINDOWS, window_count(self._shape, self._used))
        self._done = 0
        self._since_s = now_s()

    def window(self) -> None:
        """Take note of a window.

        Raises:
            _TooLong: Another choice keeps the time limit, or misses it by less.
        """
        self._show()
        self._done += 1
        if self._done == self._timed and self._predictor.settings.time_limit_s is not None:
            self._keep_time(self._predictor.settings.time_limit_s)
        if self._done == 1:
            self._since_s = now_s()
            needed = memory_of(self._predictor, self._prepared, self._used)
            self._report.warnings += over_memory(self._predictor, needed)

    def _keep_time(self, limit_s: float) -> None:
        window_s, more_s = self._window_costs()
        costs = Costs(now_s() - self._begun_s, window_s, more_s, assumed_after_s(self._report))
        tried = candidates(self._predictor)
        now = (self._prepared.tta, self._used)
        left = tried[tried.index(now) :]
        choices, chosen = choose(self._shape, left, costs, limit_s, self._done)
        if chosen is not choices[0]:
            raise _TooLong(chosen)
        self._report.warnings += over_time(chosen, limit_s)

    def _window_costs(self) -> tuple[float, float]:
        """Return the seconds of a plain window, and what one of another size takes more."""
        count = max(1, self._done - 1)
        window_s = (now_s() - self._since_s) / count / len(self._used.flips)
        if len(self._used.lattices) == 1:
            return window_s, 0.0
        laid = laid_lattices(self._shape, self._used)
        timed = ordered_windows(laid)[: self._done][-count:]
        classes = len(self._predictor.manifest.labels) + 1
        logits = np.zeros((classes, *self._used.patch), np.float32)
        more_s = resizing_s(self._used, logits)
        share = sum(laid[number].scaled for _, number in timed) / count
        return max(0.0, window_s - share * more_s), more_s
