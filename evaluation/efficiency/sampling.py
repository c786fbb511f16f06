"""What a machine does while a command runs, sampled as the official daemon does it.

The daemon takes a sample, sleeps 0.1 s and begins again, so that its true period is 0.1 s and the
time that a sample takes. Here every sample carries the moment at which it was taken.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import psutil

from imaging.errors import KitError
from imaging.tables import write_csv

INTERVAL_S = 0.1
"""How long the official daemon sleeps between samples, and what its areas take as the period."""
MIB = 1 << 20

Probe = Callable[[], float | None]
"""Returns mebibytes, or None where there is nothing to measure (yet)."""


@dataclass(frozen=True)
class MemorySample:
    """One sample of the machine's load."""

    seconds: float
    """Since the start of the command."""
    gpu_mib: float | None
    """Of the whole card."""
    cpu_percent: float
    """By the official formula, which is too high: see `official_cpu_percent`."""
    cpu_busy_percent: float
    """Share of all cores' time that was neither idle nor waiting for a disk."""
    ram_mib: float
    """Of the whole host, as `official_ram_mib` has it."""
    own_ram_mib: float | None
    """Of the command and its descendants, or of its container."""


class CpuTimes(NamedTuple):
    """The three kinds of processor seconds that the official script reads, all cores added."""

    user: float
    system: float
    idle: float


def cpu_times() -> CpuTimes:
    """Return the host's processor seconds since it started."""
    now = psutil.cpu_times()
    return CpuTimes(now.user, now.system, now.idle)


def official_cpu_percent(before: CpuTimes, now: CpuTimes) -> float:
    """Return "Used %" between two readings as the official script has it.

    It adds 0.1 to the denominator, where all cores of a machine with C of them spend 0.1 C seconds
    in a period: an idle machine counts as 100 / (C + 1) % used.
    """
    total = sum(now) - sum(before)
    return 100.0 - 100.0 * (now.idle - before.idle) / (total + 0.1)


def official_ram_mib() -> float:
    """Return psutil's `virtual_memory().used` as it was in 2023.

    Newer versions of psutil count total minus available memory instead.
    """
    memory = psutil.virtual_memory()
    return float(memory.total - memory.free - memory.cached - memory.buffers) / MIB


class MemorySampler:
    """Samples in a thread from `__enter__` to `__exit__`; the first sample is there at once.

    What stops the thread is raised by `__exit__`, as a KitError whatever it was.
    """

    def __init__(
        self, gpu_mib: Probe, own_ram_mib: Probe, tick: Callable[[], None] = lambda: None
    ) -> None:
        """Take the probes, and what else is called at every sample."""
        self._gpu_mib = gpu_mib
        self._own_ram_mib = own_ram_mib
        self._tick = tick
        self._samples: list[MemorySample] = []
        self._error: KitError | None = None
        self._started = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def between(self, start_s: float, end_s: float) -> tuple[MemorySample, ...]:
        """Return the samples up to `end_s`, their seconds counted from `start_s`.

        Both are readings of `time.perf_counter`. The first sample may lie just before the start.
        """
        taken = [sample for sample in self._samples if sample.seconds <= end_s]
        return tuple(replace(sample, seconds=sample.seconds - start_s) for sample in taken)

    def _run(self) -> None:
        try:
            before = cpu_times()
            psutil.cpu_percent()  # the first answer of a thread means nothing
            self._stop.wait(INTERVAL_S)
            while not self._stop.is_set():
                before = self._take(before)
                self._started.set()
                self._stop.wait(INTERVAL_S)
        except Exception as error:  # noqa: BLE001  # a thread that ends by itself says nothing
            unexpected = KitError(f"sampling ended with {type(error).__name__}: {error}")
            self._error = error if isinstance(error, KitError) else unexpected
        finally:
            self._started.set()

    def _take(self, before: CpuTimes) -> CpuTimes:
        seconds, gpu_mib, now = time.perf_counter(), self._gpu_mib(), cpu_times()
        self._samples.append(
            MemorySample(
                seconds=seconds,
                gpu_mib=gpu_mib,
                cpu_percent=official_cpu_percent(before, now),
                cpu_busy_percent=psutil.cpu_percent(),
                ram_mib=official_ram_mib(),
                own_ram_mib=self._own_ram_mib(),
            )
        )
        self._tick()
        return now


def write_samples(runs: dict[int, tuple[MemorySample, ...]], path: Path) -> None:
    """Write a case's samples as CSV, a row a sample, by the number of the run."""
    names = [field.name for field in fields(MemorySample)]
    rows = [
        [number, *map(_cell, asdict(sample).values())]
        for number, samples in runs.items()
        for sample in samples
    ]
    write_csv(path, ["run", *names], rows, line_end="\n")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
