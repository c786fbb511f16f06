"""Estimate the time and memory of a case, and choose what keeps it within limits.

What is given up first is test-time augmentation, then the step between windows is widened.
"""

import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import Shape, as_shape
from inference.engines import Engine, infer_many
from inference.lattices import resizing_s
from inference.predictor import Predictor, Prepared
from inference.report import CaseReport, now_s
from inference.sliding_window import PLAIN, Window, window_count

STEPS = (0.6, 0.7, 0.8, 0.9, 1.0)
"""Steps to try if the manifest's own step takes too long; a wider one is less exact."""
_MIB = 1 << 20


@dataclass(frozen=True)
class Costs:
    """What the parts of a case take, in seconds."""

    spent_s: float
    """Already spent: starting, reading, preparing, measuring."""
    window_s: float
    """One window as it is, measured."""
    resizing_s: float
    """What a window of another size takes more, measured; 0 if there is none."""
    after_s: float
    """After the network: restoring labels, cleaning, writing."""

    def of(self, shape: Shape, window: Window) -> float:
        """Return the seconds of the whole case.

        Args:
            shape: Of the working image (Z, Y, X).
            window: How windows are laid and shown.
        """
        plain = window_count(shape, replace(window, lattices=(PLAIN,)))
        others = window_count(shape, window) - plain
        network_s = (plain + others) * len(window.flips) * self.window_s + others * self.resizing_s
        return round(self.spent_s + network_s + self.after_s, 3)


@dataclass(frozen=True)
class Choice:
    """One test-time augmentation, one step between windows, and the whole case with them."""

    tta: str
    step: float
    windows: int
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """The estimated time and memory of a case."""

    costs: Costs
    memory_mib: float
    choices: tuple[Choice, ...]
    """From what was requested to no augmentation and the widest step."""
    chosen: Choice
    """The first within the time limit, or the last."""
    over: tuple[str, ...]
    """Limits that will not be kept."""


def within_limits(
    predictor: Predictor, prepared: Prepared, report: CaseReport, begun_s: float
) -> Prepared:
    """Leave out augmentation and widen the step as far as the settings' limits require.

    What is left out, and limits that cannot be kept, are added to the report's warnings.

    Args:
        predictor: The network, with its settings.
        prepared: The CT.
        report: Of the case; it has the seconds of reading and preparing.
        begun_s: When the case began, on the clock of `now_s`.
    """
    with report.stage("estimate"):
        found = estimate_case(predictor, prepared, report, now_s() - begun_s)
    chosen = found.chosen
    if chosen.tta != prepared.tta:
        warning = f"tta {chosen.tta} instead of {prepared.tta}, for the time limit"
        report.warnings += (warning,)
    if chosen.step != prepared.step:
        warning = f"step {chosen.step:g} instead of {prepared.step:g}, for the time limit"
        report.warnings += (warning,)
    report.warnings += found.over
    return replace(prepared, tta=chosen.tta, step=chosen.step)


def estimate_case(
    predictor: Predictor, prepared: Prepared, report: CaseReport, spent_s: float
) -> Estimate:
    """Estimate a prepared case from the time of one window.

    The steps after the network are assumed to take as long as reading and preparing: they touch the
    same voxels, and took no longer on any measured CT.

    Args:
        predictor: The network, with its settings.
        prepared: The CT.
        report: Of the case; it has the seconds of reading and preparing.
        spent_s: Seconds since the case began.
    """
    start_s = time.perf_counter()
    window_s, more_s = _measured_s(predictor, prepared)
    spent_s += time.perf_counter() - start_s
    after_s = report.seconds.get("read", 0.0) + report.seconds["prepare"]
    costs = Costs(spent_s, window_s, more_s, after_s)
    shape, settings = as_shape(prepared.image), predictor.settings
    choices, chosen = choose(shape, _tried(predictor), costs, settings.time_limit_s)
    z, y, x = (part.stop - part.start for part in prepared.box)
    classes = len(predictor.manifest.labels) + 1
    used = predictor.window_of(chosen.tta, chosen.step)
    needed = memory_mib(resident_mib(), prepared.grid.shape, (z, y, x), shape, used, classes)
    over = []
    if settings.time_limit_s is not None and chosen.seconds > settings.time_limit_s:
        over.append(f"{chosen.seconds:.1f} s expected, the limit is {settings.time_limit_s:g} s")
    if settings.memory_limit_mib is not None and needed > settings.memory_limit_mib:
        limit = f"the limit is {settings.memory_limit_mib:,.0f} MiB"
        over.append(f"{needed:,.0f} MiB expected, {limit}")
    return Estimate(costs, needed, choices, chosen, tuple(over))


def _tried(predictor: Predictor) -> list[tuple[str, Window]]:
    """Return what a time limit may leave, from what was requested on, best first."""
    step, names = predictor.window.step, [predictor.tta]
    if predictor.tta != "none":
        from inference.augmentation import lesser  # imported only if there is one

        names += lesser(predictor.tta, predictor.manifest.window.mirror_axes)
    wider = (("none", wide) for wide in STEPS if wide > step)
    tried = (*((name, step) for name in names), *wider)
    return [(name, predictor.window_of(name, wide)) for name, wide in tried]


def _measured_s(predictor: Predictor, prepared: Prepared) -> tuple[float, float]:
    """Time one window, and what one of another size takes more."""
    window = predictor.window
    starts = (max(0, (n - p) // 2) for n, p in zip(prepared.image.shape, window.patch, strict=True))
    middle = tuple(slice(n, n + p) for n, p in zip(starts, window.patch, strict=True))
    part = prepared.image[middle]
    patch = np.zeros((1, 1, *window.patch), dtype=np.float32)
    z, y, x = part.shape
    patch[0, 0, :z, :y, :x] = part
    window_s = seconds_a_patch(predictor.engine, patch, 2)
    if len(window.lattices) == 1:
        return window_s, 0.0
    return window_s, resizing_s(window, predictor.engine.infer(patch)[0])


def seconds_a_patch(engine: Engine, patch: NDArray[np.float32], count: int) -> float:
    """Return the seconds per patch in a series of patches.

    The first patch is not timed: an engine's first call is slower than the rest. An engine that
    computes ahead is faster in a series than with single patches.

    Args:
        engine: The network.
        patch: float32 [1, 1, Z, Y, X].
        count: Patches that are timed.
    """
    answers = infer_many(engine, [patch] * (count + 1))
    next(answers)
    start_s = time.perf_counter()
    timed = sum(1 for _ in answers)
    return (time.perf_counter() - start_s) / timed


def choose(
    shape: Shape, tried: Iterable[tuple[str, Window]], costs: Costs, limit_s: float | None
) -> tuple[tuple[Choice, ...], Choice]:
    """Return every choice, and the first within the time limit; the last, if there is none.

    Args:
        shape: Of the working image (Z, Y, X).
        tried: Augmentations, and the windows with them, best first.
        costs: What the case's parts take.
        limit_s: What the case may take; None is no limit.
    """
    choices = tuple(
        Choice(tta, window.step, window_count(shape, window), costs.of(shape, window))
        for tta, window in tried
    )
    fits = (c for c in choices if limit_s is None or c.seconds <= limit_s)
    return choices, next(fits, choices[-1])


def memory_mib(now_mib: float, native: Shape, region: Shape, working: Shape, window: Window,
               classes: int) -> float:  # fmt: skip
    """Return the most memory that a prepared case will still need, in MiB.

    The label map is held to the end. Beside it, first the logits of one window's depth over the
    whole plane, twice (summed, and passed on), and one window's; then, in their place, the
    components of the region of interest (32-bit).

    Args:
        now_mib: Resident now, with the image prepared and the engine open.
        native: Shape of the CT.
        region: Shape of the region of interest, in voxels of the CT.
        working: Shape of the image.
        window: How it is moved.
        classes: Outputs of the network.
    """
    size = window.largest
    _, y, x = (max(n, p) for n, p in zip(working, size, strict=True))
    slab = 4 * classes * (size[0] + 1) * y * x
    logits = 2 * slab + 4 * classes * math.prod(window.patch)
    return now_mib + (math.prod(native) + max(logits, 4 * math.prod(region))) / _MIB


def resident_mib() -> float:
    """Return the memory that this process has now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB
