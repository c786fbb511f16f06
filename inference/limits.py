"""Estimate the time and memory of a case, and choose what keeps it within limits.

What is given up first is test-time augmentation, then the step between windows is widened.
`inference.within_limits` does it while a case is labelled.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import Shape, as_shape
from imaging.machine import resident_mib
from imaging.slab_components import SLAB_SLICES
from inference.engines import Engine, infer_many
from inference.lattices import resizing_s
from inference.predictor import Predictor
from inference.preparing import Prepared
from inference.report import CaseReport
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
    """One window as it is, in one flip; measured."""
    resizing_s: float
    """What a window of another size takes more, measured; 0 if there is none."""
    after_s: float
    """After the network: restoring labels, cleaning, writing."""

    def of(self, shape: Shape, window: Window, done: int = 0) -> float:
        """Return the seconds of the whole case.

        Args:
            shape: Of the working image (Z, Y, X).
            window: How windows are laid and shown.
            done: Windows that are computed already; their seconds are spent.
        """
        count = window_count(shape, window)
        others = count - window_count(shape, replace(window, lattices=(PLAIN,)))
        network_s = count * len(window.flips) * self.window_s + others * self.resizing_s
        return round(self.spent_s + network_s * (1 - done / count) + self.after_s, 3)


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


def estimate_case(
    predictor: Predictor, prepared: Prepared, report: CaseReport, spent_s: float
) -> Estimate:
    """Estimate a prepared case from the time of one window.

    Args:
        predictor: The network, with its settings.
        prepared: The CT.
        report: Of the case; it has the seconds of reading and preparing.
        spent_s: Seconds since the case began.
    """
    start_s = time.perf_counter()
    window_s, more_s = _measured_s(predictor, prepared)
    spent_s += time.perf_counter() - start_s
    costs = Costs(spent_s, window_s, more_s, assumed_after_s(report))
    limit_s = predictor.settings.time_limit_s
    choices, chosen = choose(as_shape(prepared.image), candidates(predictor), costs, limit_s)
    used = predictor.window_of(chosen.tta, chosen.step)
    needed = memory_of(predictor, prepared, used)
    over = over_memory(predictor, needed)
    if limit_s is not None:
        over = over_time(chosen, limit_s) + over
    return Estimate(costs, needed, choices, chosen, over)


def assumed_after_s(report: CaseReport) -> float:
    """Return what a case is assumed to take after the network: as long as reading and preparing.

    These steps touch the same voxels, and took no longer on any measured CT.
    """
    return report.seconds.get("read", 0.0) + report.seconds["prepare"]


def over_time(chosen: Choice, limit_s: float) -> tuple[str, ...]:
    """Return a message if a choice does not keep the time limit."""
    if chosen.seconds <= limit_s:
        return ()
    return (f"{chosen.seconds:.1f} s expected, the limit is {limit_s:g} s",)


def over_memory(predictor: Predictor, needed_mib: float) -> tuple[str, ...]:
    """Return a message if a case will need more memory than the settings' limit."""
    limit_mib = predictor.settings.memory_limit_mib
    if limit_mib is None or needed_mib <= limit_mib:
        return ()
    return (f"{needed_mib:,.0f} MiB expected, the limit is {limit_mib:,.0f} MiB",)


def memory_of(predictor: Predictor, prepared: Prepared, window: Window) -> float:
    """Return the most memory that a case will need, in MiB, as `memory_mib` does."""
    z, y, x = (part.stop - part.start for part in prepared.box)
    classes = len(predictor.manifest.labels) + 1
    grid, image = prepared.grid.shape, as_shape(prepared.image)
    return memory_mib(resident_mib(), grid, (z, y, x), image, window, classes)


def candidates(predictor: Predictor) -> list[tuple[str, Window]]:
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
    shape: Shape,
    tried: Iterable[tuple[str, Window]],
    costs: Costs,
    limit_s: float | None,
    done: int = 0,
) -> tuple[tuple[Choice, ...], Choice]:
    """Return every choice, and the first within the time limit; if there is none, the shortest.

    Args:
        shape: Of the working image (Z, Y, X).
        tried: Augmentations, and the windows with them, best first.
        costs: What the case's parts take.
        limit_s: What the case may take; None is no limit.
        done: Windows of the first choice that are computed already.
    """
    choices = tuple(
        Choice(tta, window.step, window_count(shape, window), costs.of(shape, window, computed))
        for (tta, window), computed in zip(tried, chain((done,), repeat(0)), strict=False)
    )
    fits = (c for c in choices if limit_s is None or c.seconds <= limit_s)
    return choices, next(fits, min(choices, key=lambda choice: choice.seconds))


def memory_mib(now_mib: float, native: Shape, region: Shape, working: Shape, window: Window,
               classes: int) -> float:  # fmt: skip
    """Return the most memory that a prepared case will still need, in MiB.

    The label map is held to the end. Beside it, first the logits of one window's depth over the
    whole plane, twice (summed, and passed on), and one window's; then, in their place, the numbers
    of the components in a slab of the region of interest (32-bit).

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
    components = 4 * min(region[0], SLAB_SLICES) * region[1] * region[2]
    return now_mib + (math.prod(native) + max(logits, components)) / _MIB
