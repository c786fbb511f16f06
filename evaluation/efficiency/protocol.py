"""The official efficiency protocol: one case at a time, a fresh process or container for each."""

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.efficiency.containers import ContainerJob, DockerImage, open_image, run_flags
from evaluation.efficiency.energy import EnergyMeter
from evaluation.efficiency.nvml import GpuMemory, NoGpuError, find_gpu
from evaluation.efficiency.outputs import digest, elsewhere, printable, tail, take, work_folder
from evaluation.efficiency.processes import CommandJob, Workspace, check_command, wait
from evaluation.efficiency.results import (
    CaseEfficiency,
    ChallengeLimits,
    EfficiencyRun,
    Load,
    case_efficiency,
    load_of,
)
from evaluation.efficiency.sampling import MemorySample, MemorySampler, write_samples
from evaluation.options import HOUR_S
from imaging.errors import KitError, VolumeError
from imaging.label_maps import read_label_map

TAIL_CHARACTERS = 2000


@dataclass(frozen=True)
class Protocol:
    """How often, how long, and what is tolerated."""

    repeat: int = 1
    timeout_s: float = HOUR_S
    limits: ChallengeLimits = field(default_factory=ChallengeLimits)


@dataclass(frozen=True)
class Subject:
    """What is timed: a command of the user's, or an image."""

    command: tuple[str, ...] = ()
    image: DockerImage | None = None
    gpu: GpuMemory | None = None
    no_gpu: str | None = None
    """Why there is no GPU."""

    def job(self, workspace: Workspace) -> CommandJob | ContainerJob:
        """Return one fresh run of it."""
        if self.image is not None:
            return ContainerJob(self.image, workspace, self.gpu_index)
        return CommandJob(self.command, workspace, None if self.gpu is None else self.gpu.uuid)

    @property
    def gpu_index(self) -> int | None:
        """Physical index of the card."""
        return None if self.gpu is None else self.gpu.index

    def gpu_mib(self) -> float | None:
        """Return the memory in use on the card."""
        return None if self.gpu is None else self.gpu.used_mib()

    def words(self) -> tuple[str, ...]:
        """Return the command line, also that of the container."""
        if self.image is None:
            return self.command
        return tuple(run_flags(self.image.team, Workspace(Path()), self.gpu_index))


def subject_of(command: tuple[str, ...], image: str | None, gpu_index: int) -> Subject:
    """Find the GPU, load the image, look for the command.

    Raises:
        KitError: The image or the command is not there, or there are GPUs, but not `gpu_index`.
    """
    gpu, no_gpu = None, None
    try:
        gpu = find_gpu(gpu_index)
    except NoGpuError as error:
        no_gpu = str(error)
    if image is not None:
        return Subject((), open_image(image), gpu, no_gpu)
    check_command(command)
    return Subject(command, None, gpu, no_gpu)


@dataclass(frozen=True)
class CaseMeasurement:
    """One case with what was sampled."""

    efficiency: CaseEfficiency
    samples: dict[int, tuple[MemorySample, ...]]
    """By the number of the run."""


def evaluate(
    cases: dict[str, Path],
    output: Path,
    subject: Subject,
    settings: Protocol,
    starts: Callable[[str, int], None] = lambda case, number: None,
    done: Callable[[str, EfficiencyRun], None] = lambda case, run: None,
) -> tuple[CaseMeasurement, ...]:
    """Run every case `settings.repeat` times, all cases once before any case again.

    Args:
        cases: CTs by case.
        output: Gets predictions/, samples/ and logs/.
        subject: What is timed.
        settings: Repeats and limits.
        starts: Called before every run, with its case and number.
        done: Called after every run.

    Raises:
        KitError: `output` cannot be written.
    """
    _prepare(output, cases)
    runs: dict[str, list[EfficiencyRun]] = {case: [] for case in cases}
    samples: dict[str, dict[int, tuple[MemorySample, ...]]] = {case: {} for case in cases}
    for number in range(1, settings.repeat + 1):
        for case, ct in cases.items():
            starts(case, number)
            run, samples[case][number] = _run(case, ct, number, output, subject, settings)
            runs[case].append(run)
            write_samples(samples[case], output / "samples" / f"{case}.csv")
            done(case, run)
    return tuple(
        CaseMeasurement(
            case_efficiency(case, ct.name, tuple(runs[case]), settings.limits), samples[case]
        )
        for case, ct in cases.items()
    )


def _prepare(output: Path, cases: dict[str, Path]) -> None:
    try:
        for name in ("predictions", "samples", "logs"):
            (output / name).mkdir(parents=True, exist_ok=True)
        for case in cases:
            (output / "predictions" / f"{case}.nii.gz").unlink(missing_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise KitError(f"cannot write into {output}: {error.strerror}") from error


def _run(
    case: str, ct: Path, number: int, output: Path, subject: Subject, settings: Protocol
) -> tuple[EfficiencyRun, tuple[MemorySample, ...]]:
    logs = output.resolve() / "logs"
    out, err = (logs / f"{case}_run{number}.{stream}.txt" for stream in ("stdout", "stderr"))
    err.unlink(missing_ok=True)
    with work_folder(output) as folder:
        workspace = Workspace(folder)
        timed, sha256 = TimedRun(), None
        try:
            workspace.fill(ct)
            timed = time_run(subject, workspace, (out, err), settings.timeout_s)
            pred = workspace.outputs / f"{case}.nii.gz"
            sha256, wrong = _result(pred, ct, output / "predictions")
            error = failure_of(timed, settings.timeout_s) or (
                wrong and f"exit status 0, but {wrong}"
            )
        except (KitError, OSError) as refused:
            error = str(refused)
    run = EfficiencyRun(
        number=number,
        seconds=timed.seconds,
        exit_status=timed.exit_status,
        error=error,
        stderr_tail=tail(err, TAIL_CHARACTERS) if error else "",
        pred_sha256=sha256,
        left_running=timed.left_running,
        samples=len(timed.samples),
        joules=timed.joules,
        loads=_loads(timed, settings.limits),
    )
    return run, timed.samples


@dataclass(frozen=True)
class TimedRun:
    """What the clock, the samples and the counters of energy say of one run."""

    seconds: float = 0.0
    exit_status: int | None = None
    """None where it did not start or was killed at the time limit."""
    started: float = 0.0
    """Seconds since 1970, as files have them."""
    joules: dict[str, float] = field(default_factory=dict)
    samples: tuple[MemorySample, ...] = ()
    left_running: tuple[str, ...] = ()


def time_run(
    subject: Subject, workspace: Workspace, logs: tuple[Path, Path], timeout_s: float
) -> TimedRun:
    """Run a subject in a workspace to its end, or until `timeout_s`.

    Args:
        subject: What is timed.
        workspace: Filled with CTs.
        logs: Files of its stdout and stderr.
        timeout_s: When it is killed.
    """
    job, meter = subject.job(workspace), EnergyMeter(subject.gpu)
    with (
        logs[0].open("wb") as stdout,
        logs[1].open("wb") as stderr,
        contextlib.closing(job),
        MemorySampler(subject.gpu_mib, job.own_ram_mib, meter.tick) as sampler,
    ):
        before, started, start_s = meter.joules(), time.time(), time.perf_counter()
        process = job.start(stdout, stderr)
        ended = wait(process, timeout_s)
        end_s = time.perf_counter()
        used = meter.joules()
    return TimedRun(
        seconds=end_s - start_s,
        exit_status=process.returncode if ended else None,
        started=started,
        joules={part: joules - before[part] for part, joules in used.items() if part in before},
        samples=sampler.between(start_s, end_s),
        left_running=job.left_running,
    )


def _loads(timed: TimedRun, limits: ChallengeLimits) -> dict[str, Load]:
    loads = {}
    for name in ("gpu_mib", "cpu_percent", "cpu_busy_percent", "ram_mib", "own_ram_mib"):
        seen = [
            (sample.seconds, value)
            for sample in timed.samples
            if (value := getattr(sample, name)) is not None
        ]
        if not seen:
            continue
        seconds, values = zip(*seen, strict=True)
        loads[name] = load_of(seconds, values, timed.seconds)
        if name == "gpu_mib":
            above = [max(0.0, value - (limits.gpu_mib or 0.0)) for value in values]
            loads["gpu_over_mib"] = load_of(seconds, above, timed.seconds)
    return loads


def _result(pred: Path, ct: Path, folder: Path) -> tuple[str | None, str | None]:
    """Keep what a run left as its label map; return the digest if it is one, and what is wrong."""
    if not os.path.lexists(pred):
        found = sorted(printable(path.name) for path in pred.parent.iterdir())
        what = f"only {', '.join(found[:3])}" if found else "nothing"
        return None, f"{what} in outputs instead of {pred.name}"
    try:
        kept = take(pred, folder)
    except KitError as refused:
        return None, str(refused)
    not_of = f"{pred.name} is no label map of {ct.name}"
    try:
        labels = read_label_map(kept)
    except VolumeError as error:
        return None, f"{not_of}: {error}"
    problem = elsewhere(labels, ct)
    return digest(kept), problem and f"{not_of}: {problem}"


def failure_of(timed: TimedRun, timeout_s: float) -> str | None:
    """Say why a run failed by its exit status; None where it did not."""
    status = timed.exit_status
    if status is None:
        return f"killed after {timeout_s:g} s, the time limit of --timeout"
    if status != 0:
        # a shell and Docker tell of signal N as 128 + N
        number = -status if status < 0 else status - 128
        names = {s.value: s.name for s in signal.Signals}
        return f"exit status {status}" + (f" ({names[number]})" if number in names else "")
    return None
