"""What a case will take, said before it is run, and the step that keeps it within limits."""

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

from imaging.geometry import Shape
from inference.sliding_window import Window, window_count

STEPS = (0.6, 0.7, 0.8, 0.9, 1.0)
"""What is tried where the manifest's own step takes too long; a wider one is less exact."""
_MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What a case may take; None is no limit."""

    seconds: float | None = None
    memory_mib: float | None = None


@dataclass(frozen=True)
class Choice:
    """One step between windows, and the whole case with it."""

    step: float
    windows: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What a case will take."""

    spent_s: float
    """Already: starting, reading, preparing."""
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


def choose(
    shape: Shape, window: Window, spent_s: float, window_s: float, after_s: float, limits: Limits
) -> tuple[tuple[Choice, ...], Choice]:
    """Return every step from the window's own on, and the first within the time limit.

    Where none is, the widest.

    Args:
        shape: Of the working image (Z, Y, X).
        window: As the manifest has it.
        spent_s: Seconds already gone.
        window_s: Of one window.
        after_s: Of what follows the network.
        limits: What the case may take.
    """
    steps = (window.step, *(step for step in STEPS if step > window.step))
    choices = []
    for step in steps:
        count = window_count(shape, Window(window.patch, step, window.blending, window.flips))
        choices.append(Choice(step, count, round(spent_s + count * window_s + after_s, 3)))
    fits = (c for c in choices if limits.seconds is None or c.seconds <= limits.seconds)
    return tuple(choices), next(fits, choices[-1])


def memory_mib(now_mib: float, native: Shape, region: Shape, working: Shape, window: Window,
               classes: int) -> float:  # fmt: skip
    """Return the most memory that a prepared case will still need, in MiB.

    The label map is held to the end. Beside it, first the logits of one patch's depth over the
    whole plane, twice (summed, and handed on), and one window's; then, in their place, the
    components of what was looked at (32-bit).

    Args:
        now_mib: Resident now, with the image prepared and the engine open.
        native: Shape of the CT.
        region: Shape of what is looked at, in voxels of the CT.
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


def process_start_s() -> float:
    """Return when this process started, on the clock of `now_s`.

    predict.sh says when its own work, such as making the environment, was done: a process that
    replaces another one has the other's start.
    """
    fields = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
    start_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # starttime, proc(5)
    try:
        told_s = float(os.environ.get("FLARE23_START_S", ""))
    except ValueError:
        return start_s
    return told_s if start_s < told_s <= now_s() else start_s


def now_s() -> float:
    """Return seconds since the machine started: the clock that tells when a process did."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
