"""The report of a run: run.json, and a line and a table column for each case."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import inference
from imaging.machine import cpu_name, peak_memory_mib
from imaging.records import write_json
from imaging.words import number_of
from inference.manifest import Manifest

SCHEMA = 1


@dataclass
class CaseReport:
    """One case, also one that failed."""

    case: str
    status: str = "failed"
    """"done", "failed", or "not reached" by a run that was ended."""
    error: str | None = None
    warnings: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()
    input_spacing_mm: tuple[float, ...] = ()
    region: tuple[tuple[int, int], ...] = ()
    """First and last + 1 voxel of the region of interest, in the network's axes (Z, Y, X)."""
    outside_ml: float = 0.0
    """Tissue outside of the body's box, if the region of interest is that or the organs'."""
    localiser: str | None = None
    """What it says: "organs" (the region is their box), "no organ", or "unsure" (the region is the
    body's box); None if it was not asked."""
    certainty: float | None = None
    """The localiser's, 0 to 1."""
    blank_slices: tuple[tuple[int, int], ...] = ()
    """First and last + 1 slice of each gap that shows nothing, in the network's axes."""
    working_shape: tuple[int, ...] = ()
    engine: str = ""
    """The one that labelled it: another than the run's, if that failed before."""
    step: float | None = None
    tta: str | None = None
    """Test-time augmentation that was used: a time limit may leave less than was requested."""
    windows: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mib: float = 0.0
    """Of the process up to the end of this case."""
    volumes_ml: dict[str, float] = field(default_factory=dict)
    removed_ml: dict[str, float] = field(default_factory=dict)
    """Volume that component rules removed, of each label that has a rule."""
    empty: tuple[str, ...] = ()
    """Labels without a voxel."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add to a stage's seconds, also where it fails."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            spent_s = time.perf_counter() - start_s
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent_s, 4)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time the whole case; it is done if the block completes, else failed."""
        start_s = time.perf_counter()
        self.status = "failed"
        try:
            yield
            self.status = "done"
        finally:
            self.seconds["total"] = round(time.perf_counter() - start_s, 4)
            self.peak_memory_mib = round(peak_memory_mib(), 1)

    @property
    def summary(self) -> str:
        """The outcome of the case, in one line."""
        if self.status == "done":
            windows = number_of(self.windows, "window")
            line = f"{self.case}: done in {self.seconds['total']:.1f} s, {windows}"
        else:
            line = f"{self.case}: failed: {self.error}"
        return "; ".join((line, *self.warnings))

    @property
    def _how(self) -> str:
        augmentation = "" if self.tta in (None, "none") else f", tta {self.tta}"
        return f"step {self.step}{augmentation}, {self.peak_memory_mib:.0f} MiB"

    @property
    def details(self) -> str:
        """Grids, the step between windows and the seconds of every stage, in one line."""
        shapes = (self.input_shape, self.working_shape)
        grids = " to ".join("×".join(map(str, shape)) for shape in shapes)
        spent = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in self.seconds.items())
        return f"  {grids} voxels, {self._how}; {spent}"


@dataclass
class RunReport:
    """All cases of a run, with everything that its figures depend on."""

    manifest: str
    manifest_sha256: str
    settings: dict[str, object]
    engine: dict[str, str | int] = field(default_factory=dict)
    cases: list[CaseReport] = field(default_factory=list)
    start_s: dict[str, float] = field(default_factory=dict)
    """Seconds spent before the first case, by step."""
    passed_over: dict[str, str] = field(default_factory=dict)
    """Files in the inputs folder that are no case, and why."""
    series: list[dict[str, object]] = field(default_factory=list)
    """DICOM series that were found, and what became of each."""
    left_over: tuple[str, ...] = ()
    """Cases of other runs whose maps lie in the outputs folder."""
    ended: str | None = None
    """What ended the run before its last case."""

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        settings: dict[str, object],
        passed_over: dict[str, str] | None = None,
    ) -> "RunReport":
        """Return the report of a run that begins."""
        return cls(manifest.name, manifest.sha256, settings, passed_over=passed_over or {})

    @property
    def failed(self) -> list[CaseReport]:
        """Cases without a prediction."""
        return [case for case in self.cases if case.status != "done"]

    def write(self, path: Path) -> None:
        """Write run.json at `path`, whole or not at all."""
        table = {
            "schema": SCHEMA,
            "kit": inference.__version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cpu": cpu_name(),
            **asdict(self),
        }
        write_json(table, path, indent=2)


def process_start_s() -> float:
    """Return when this process started, on the clock of `now_s`.

    predict.sh gives the time at which its own work, such as installing the environment, was done:
    a process that replaces another keeps the other's start time.
    """
    fields = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
    start_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")  # starttime, proc(5)
    try:
        given_s = float(os.environ.get("FLARE23_START_S", ""))
    except ValueError:
        return start_s
    return given_s if start_s < given_s <= now_s() else start_s


def now_s() -> float:
    """Return seconds since the machine started, the clock of process start times."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
