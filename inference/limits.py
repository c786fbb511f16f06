"""Estimate the time and memory of a case, and choose the step that keeps it within limits."""

import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import Shape, as_shape
from inference.engines import Engine, infer_many
from inference.predictor import Predictor, Prepared
from inference.report import CaseReport, now_s
from inference.sliding_window import Window, window_count

STEPS = (0.6, 0.7, 0.8, 0.9, 1.0)
"""Steps to try if the manifest's own step takes too long; a wider one is less exact."""
_MIB = 1 << 20


@dataclass(frozen=True)
class Choice:
    """One step between windows, and the whole case with it."""

    step: float
    windows: int
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """The estimated time and memory of a case."""

    spent_s: float
    """Seconds already spent: starting, reading, preparing."""
    window_s: float
    """One window with its flips, measured."""
    after_s: float
    """After the network: restoring labels, cleaning, writing."""
    memory_mib: float
    choices: tuple[Choice, ...]
    """From the manifest's step to the widest."""
    chosen: Choice
    """The first within the time limit, or the widest."""
    over: tuple[str, ...]
    """Limits that will not be kept."""


def within_limits(
    predictor: Predictor, prepared: Prepared, report: CaseReport, begun_s: float
) -> Prepared:
    """Widen the step as far as the settings' limits require.

    A wider step, and limits that no step keeps, are added to the report's warnings.

    Args:
        predictor: The network, with its settings.
        prepared: The CT.
        report: Of the case; it has the seconds of reading and preparing.
        begun_s: When the case began, on the clock of `now_s`.
    """
    with report.stage("estimate"):
        found = estimate_case(predictor, prepared, report, now_s() - begun_s)
    if found.chosen.step != prepared.step:
        warning = f"step {found.chosen.step:g} instead of {prepared.step:g}, for the time limit"
        report.warnings += (warning,)
    report.warnings += found.over
    return replace(prepared, step=found.chosen.step)


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
    window_s = _window_s(predictor, prepared)
    spent_s += time.perf_counter() - start_s
    after_s = report.seconds.get("read", 0.0) + report.seconds["prepare"]
    shape, window, settings = as_shape(prepared.image), predictor.window, predictor.settings
    choices, chosen = choose_step(shape, window, spent_s, window_s, after_s, settings.time_limit_s)
    z, y, x = (part.stop - part.start for part in prepared.box)
    classes = len(predictor.manifest.labels) + 1
    needed = memory_mib(resident_mib(), prepared.grid.shape, (z, y, x), shape, window, classes)
    over = []
    if settings.time_limit_s is not None and chosen.seconds > settings.time_limit_s:
        over.append(f"{chosen.seconds:.1f} s expected, the limit is {settings.time_limit_s:g} s")
    if settings.memory_limit_mib is not None and needed > settings.memory_limit_mib:
        limit = f"the limit is {settings.memory_limit_mib:,.0f} MiB"
        over.append(f"{needed:,.0f} MiB expected, {limit}")
    return Estimate(spent_s, window_s, after_s, needed, choices, chosen, tuple(over))


def _window_s(predictor: Predictor, prepared: Prepared) -> float:
    """Time one window with its flips."""
    window = predictor.window
    starts = (max(0, (n - p) // 2) for n, p in zip(prepared.image.shape, window.patch, strict=True))
    middle = tuple(slice(n, n + p) for n, p in zip(starts, window.patch, strict=True))
    part = prepared.image[middle]
    patch = np.zeros((1, 1, *window.patch), dtype=np.float32)
    z, y, x = part.shape
    patch[0, 0, :z, :y, :x] = part
    return seconds_a_patch(predictor.engine, patch, 2) * len(window.flips)


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


def choose_step(
    shape: Shape,
    window: Window,
    spent_s: float,
    window_s: float,
    after_s: float,
    limit_s: float | None,
) -> tuple[tuple[Choice, ...], Choice]:
    """Return every step from the window's own on, and the first within the time limit.

    If there is none, the widest.

    Args:
        shape: Of the working image (Z, Y, X).
        window: As the manifest has it.
        spent_s: Seconds already gone.
        window_s: Of one window.
        after_s: Of what follows the network.
        limit_s: What the case may take; None is no limit.
    """
    steps = (window.step, *(step for step in STEPS if step > window.step))
    choices = []
    for step in steps:
        count = window_count(shape, Window(window.patch, step, window.blending, window.flips))
        choices.append(Choice(step, count, round(spent_s + count * window_s + after_s, 3)))
    fits = (c for c in choices if limit_s is None or c.seconds <= limit_s)
    return tuple(choices), next(fits, choices[-1])


def memory_mib(now_mib: float, native: Shape, region: Shape, working: Shape, window: Window,
               classes: int) -> float:  # fmt: skip
    """Return the most memory that a prepared case will still need, in MiB.

    The label map is held to the end. Beside it, first the logits of one patch's depth over the
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
    _, y, x = (max(n, p) for n, p in zip(working, window.patch, strict=True))
    slab = 4 * classes * (window.patch[0] + 1) * y * x
    logits = 2 * slab + 4 * classes * math.prod(window.patch)
    return now_mib + (math.prod(native) + max(logits, 4 * math.prod(region))) / _MIB


def resident_mib() -> float:
    """Return the memory that this process has now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB
