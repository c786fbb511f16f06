"""What an efficiency run found: one value that saves and reads itself as efficiency.json."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.integrate import trapezoid

from evaluation.efficiency.sampling import INTERVAL_S
from evaluation.options import HOUR_S
from evaluation.profiles.profile import Profile
from evaluation.result_files import read_results, write_results
from imaging.tables import write_csv

COLUMNS: dict[str, tuple[str, int]] = {
    "Time": ("seconds", 2),
    "MaxGPU_Mem": ("gpu_mib.peak", 0),
    "AUC_GPU_Time": ("gpu_mib.auc_official", 0),
    "MaxCPU_Utilization": ("cpu_percent.peak", 2),
    "AUC_CPU_Time": ("cpu_percent.auc_official", 2),
    "MaxRAM": ("ram_mib.peak", 2),
    "AUC_RAM_Time": ("ram_mib.auc_official", 0),
}
"""Official column, the figure it shows and its digits (JunMa11/FLARE, load_json.py)."""


@dataclass(frozen=True)
class ChallengeLimits:
    """What the challenge tolerates before it counts; None: nothing is known, and all counts."""

    seconds: float | None = 15.0
    gpu_mib: float | None = 4096.0
    ram_mib: float | None = None
    """Of the command itself: no more is there."""


def limits_of(
    profile: Profile | None, time_limit: float | None, memory_limit: float | None
) -> ChallengeLimits:
    """Return the limits that the options and a profile say; the options come first."""
    limits = ChallengeLimits()
    if profile is not None:
        known = profile.limits
        ram_mib = None if known.ram_gib is None else 1024 * known.ram_gib
        limits = ChallengeLimits(known.seconds, known.gpu_mib, ram_mib)
    if time_limit is not None:
        limits = replace(limits, seconds=time_limit)
    return limits if memory_limit is None else replace(limits, gpu_mib=memory_limit)


def timeout_of(profile: Profile | None, timeout_s: float | None) -> float:
    """Return when a run is killed: by the option, by a profile, or after an hour."""
    known = None if profile is None else profile.limits.timeout_s
    return timeout_s or known or HOUR_S


@dataclass(frozen=True)
class Load:
    """One curve over time, in three figures."""

    peak: float
    auc_official: float
    """Sum of the samples times 0.1 s, whatever their true period."""
    auc: float
    """Integral over the true times, from the start of the command to its end."""


def load_of(seconds: Sequence[float], values: Sequence[float], end_s: float) -> Load:
    """Return the figures of a curve that was sampled at `seconds` until `end_s`.

    Between two samples it is taken as straight, before the first and after the last as level.
    """
    times = np.clip([0.0, *seconds, end_s], 0.0, end_s)
    heights = np.array([values[0], *values, values[-1]], dtype=float)
    return Load(max(values), sum(values) * INTERVAL_S, float(trapezoid(heights, times)))


@dataclass(frozen=True)
class EfficiencyRun:
    """One command or container on one case."""

    number: int
    """From 1 on."""
    seconds: float
    """From before the start to after the end, or until it was killed."""
    exit_status: int | None
    """None where it did not start or was killed at the time limit."""
    error: str | None = None
    """Why it counts as failed."""
    stderr_tail: str = ""
    """Of a failed run."""
    pred_sha256: str | None = None
    """Of the label map that it left; None where it left none."""
    left_running: tuple[str, ...] = ()
    """Processes that it left when it ended, and that were ended for it."""
    samples: int = 0
    joules: dict[str, float] = field(default_factory=dict)
    """Of the whole machine's processors ("cpu") and the GPU ("gpu"), as far as they are told."""
    loads: dict[str, Load] = field(default_factory=dict)
    """By what was sampled: `gpu_mib`, `gpu_over_mib` (above the tolerance), `cpu_percent` (official
    formula), `cpu_busy_percent`, `ram_mib` (host), `own_ram_mib`; without what was not seen.
    """

    def figures(self, limits: ChallengeLimits) -> dict[str, float]:
        """Return every figure of this run by name, also how far it is over the limits."""
        over_s = max(0.0, self.seconds - (limits.seconds or 0.0))
        figures = {"seconds": self.seconds, "over_seconds": over_s}
        figures |= {f"{part}_joules": joules for part, joules in self.joules.items()}
        for name, load in self.loads.items():
            figures |= {f"{name}.{key}": value for key, value in asdict(load).items()}
        return figures


@dataclass(frozen=True)
class Spread:
    """One figure over the repeats of a case."""

    median: float
    min: float
    max: float
    iqr: float
    """Distance of the quartiles."""


@dataclass(frozen=True)
class CaseEfficiency:
    """One case with all its runs."""

    case: str
    file: str
    runs: tuple[EfficiencyRun, ...]
    figures: dict[str, Spread]
    """Over the runs that `counted` returns."""
    verdict: str
    within_limits: bool
    """No run failed, and all that was measured is within the limits."""

    @property
    def failed(self) -> tuple[EfficiencyRun, ...]:
        """Runs that count as failed."""
        return tuple(run for run in self.runs if run.error)

    @property
    def counted(self) -> tuple[EfficiencyRun, ...]:
        """Runs that the figures are of."""
        return runs_that_count(self.runs)


def runs_that_count(runs: tuple[EfficiencyRun, ...]) -> tuple[EfficiencyRun, ...]:
    """Return the runs that succeeded, or all where none did."""
    return tuple(run for run in runs if run.error is None) or runs


def case_efficiency(
    case: str, file: str, runs: tuple[EfficiencyRun, ...], limits: ChallengeLimits
) -> CaseEfficiency:
    """Sum up the runs of one case."""
    tables = [run.figures(limits) for run in runs_that_count(runs)]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    figures = {name: _spread([table[name] for table in tables]) for name in shared}
    failed = [run for run in runs if run.error]
    excess = _excess(figures, limits)
    if failed:
        share = f"{len(failed)} of {len(runs)} runs " if len(runs) > 1 else ""
        verdict = f"{share}failed: {failed[0].error}"
    elif excess:
        verdict = "; ".join(excess)
    elif limits == ChallengeLimits(None, None, None):
        verdict = "no limit is known"
    else:
        verdict = "; ".join(("within limits", *_unjudged(figures, limits)))
    return CaseEfficiency(case, file, runs, figures, verdict, not failed and not excess)


def _unjudged(figures: dict[str, Spread], limits: ChallengeLimits) -> Iterator[str]:
    """Say what nothing was judged by."""
    if limits.seconds is None:
        yield "no limit of time is known"
    if limits.gpu_mib is None:
        yield "none of GPU memory is known"
    elif "gpu_mib.peak" not in figures:
        yield "GPU not measured"


def _excess(figures: dict[str, Spread], limits: ChallengeLimits) -> list[str]:
    """Say by how much the medians are over the limits."""
    checks = (
        ("seconds", limits.seconds, 2, "s", "s"),
        ("gpu_mib.peak", limits.gpu_mib, 0, "MiB", "MiB of GPU memory"),
        ("own_ram_mib.peak", limits.ram_mib, 0, "MiB", "MiB of RAM"),
    )
    return [
        f"{by:.{digits}f} {unit} over {limit:g} {what}"
        for figure, limit, digits, unit, what in checks
        if limit is not None and figure in figures and (by := figures[figure].median - limit) > 0
    ]


def _spread(values: list[float]) -> Spread:
    low, median, high = np.percentile(values, [25, 50, 75])
    return Spread(float(median), min(values), max(values), float(high - low))


@dataclass(frozen=True)
class TogetherRun:
    """All cases in one process or container, which labels them one after the other."""

    seconds: float
    """From before the start to after the end."""
    map_seconds: dict[str, float]
    """By case, in the order in which the maps were written: since the one before; the first since
    the start."""
    error: str | None = None
    """Why it counts as failed."""
    other_maps: tuple[str, ...] = ()
    """Cases whose map is not the one that they had alone."""

    @property
    def first_s(self) -> float | None:
        """Seconds until the first map, the start of everything among them."""
        return next(iter(self.map_seconds.values()), None)

    @property
    def later_s(self) -> tuple[float, ...]:
        """Seconds of every later case."""
        return tuple(self.map_seconds.values())[1:]


@dataclass(frozen=True)
class Efficiency:
    """Everything that one run of `evaluation efficiency` found."""

    team: str
    split: str | None
    """Which cases, in the words of evaluation/reported; None where the user did not say."""
    command: tuple[str, ...]
    image: str | None
    """Digest of the image; None where a command was timed."""
    circumstances: dict[str, str | int | float | None]
    """Machine, versions and settings that the figures depend on."""
    limits: ChallengeLimits
    cases: tuple[CaseEfficiency, ...]
    profile: str | None = None
    """The challenge whose limits these are; None where nobody named one."""
    together: TogetherRun | None = None
    """All cases in one process; only with --warm."""

    @property
    def failed(self) -> tuple[CaseEfficiency, ...]:
        """Cases with a run that failed."""
        return tuple(case for case in self.cases if case.failed)

    def write(self, path: Path) -> None:
        """Write efficiency.json at `path`, whole or not at all."""
        write_results("efficiency", asdict(self), path)

    def write_official(self, path: Path) -> None:
        """Write the CSV of the official script: a row a case, medians of the repeats.

        What was not measured is empty. A failed case has the figures that it had, as there.
        """
        rows = [
            [case.file, *(_cell(case, *column) for column in COLUMNS.values())]
            for case in self.cases
        ]
        write_csv(path, ["Name", *COLUMNS], rows)


def _cell(case: CaseEfficiency, figure: str, digits: int) -> str:
    return str(np.round(case.figures[figure].median, digits)) if figure in case.figures else ""


def load_efficiency(path: Path) -> Efficiency:
    """Read what `Efficiency.write` wrote.

    Raises:
        KitError: The file is no efficiency.json of this schema.
    """
    return read_results("efficiency", Efficiency, path, "measure with this kit")
