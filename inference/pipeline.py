"""Cases from file to file: read ahead, label, write; one that fails does not stop the others."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from imaging.errors import KitError, VolumeError, in_one_line
from imaging.files import passed_over, told_of
from imaging.machine import peak_memory_mib
from imaging.volumes import Volume, read_header, read_volume, write_labels
from inference.engines import EngineOptions, open_engine, weights_of
from inference.limits import now_s, process_start_s
from inference.manifest import Manifest, verify_weights
from inference.predictor import Predictor, Prepared, Settings, Watch
from inference.report import CaseReport, RunReport

SUFFIX = "_0000.nii.gz"
Reading = list[Future[tuple[Volume, float]]]
"""A CT that is being read, and its seconds; taken out, so that its memory ends with its use."""


def find_cases(inputs: Path) -> dict[str, Path]:
    """Return the files of a folder by case, sorted: `<case>_0000.nii.gz`.

    Raises:
        KitError: There is no such folder, or no case in it.
    """
    if not inputs.is_dir():
        what = "is not a folder" if inputs.exists() else "does not exist"
        raise KitError(f"inputs folder {inputs} {what}; make it and put CTs there")
    cases = {p.name.removesuffix(SUFFIX): p for p in sorted(inputs.glob(f"[!.]*{SUFFIX}"))}
    if not cases:
        passed = passed_over(inputs, SUFFIX)
        found = f"; {told_of(passed, inputs)}" if passed else ""
        raise KitError(f"inputs folder {inputs} holds no <case>{SUFFIX}; put a CT there{found}")
    return cases


def predict_folder(
    cases: dict[str, Path],
    outputs: Path,
    manifest: Manifest,
    settings: Settings,
    watch: Watch | None = None,
    report: RunReport | None = None,
) -> RunReport:
    """Label every case; one that fails gets a background map and the others go on.

    Maps of these cases that an earlier run left are removed before the first case.

    Args:
        cases: Files by case name.
        outputs: Folder for `<case>.nii.gz`; made if missing.
        manifest: The network and how to use it; its weights are checked first.
        settings: What the run changes.
        watch: Told of progress.
        report: Filled; by default a new one.

    Raises:
        KitError: Nothing can be done at all: weights, engine or output folder.
    """
    watch = watch or Watch()
    report = report or RunReport.of(manifest, asdict(settings))
    _refuse_inputs_as_outputs(cases, outputs)
    _make_folder(outputs)
    start_s = time.perf_counter()
    with ThreadPoolExecutor(1) as reader:
        report.start_s["imports"] = round(now_s() - process_start_s(), 4)
        volumes = _read_ahead(reader, cases)
        for kind in weights_of(settings.engine, manifest):
            verify_weights(manifest, kind)
        options = EngineOptions(settings.threads, settings.precision)
        with open_engine(settings.engine, manifest, options) as engine:
            report.engine = engine.description
            report.start_s["engine"] = round(time.perf_counter() - start_s, 4)
            job = _Job(Predictor(manifest, engine, settings), settings, outputs, watch)
            report.cases = [CaseReport(case, "not reached") for case in cases]
            for case in cases:
                _remove_old(_target(outputs, case))
            begun_s = process_start_s()  # starting counts for the first case
            for done, (case, reading) in zip(report.cases, volumes, strict=True):
                _one_case(job, cases[case], reading, done, begun_s)
                watch.done(done)
                begun_s = now_s()
    return report


def _read_ahead(
    reader: ThreadPoolExecutor, cases: dict[str, Path]
) -> Iterator[tuple[str, Reading]]:
    """Start reading each case while the one before it is computed."""
    names = list(cases)
    coming: Reading = [reader.submit(_timed_read, cases[names[0]])]

    def pairs() -> Iterator[tuple[str, Reading]]:
        nonlocal coming
        for name, following in zip(names, [*names[1:], None], strict=True):
            current = coming
            if following is not None:
                current[0].exception()  # at most one volume waits while another is computed
                coming = [reader.submit(_timed_read, cases[following])]
            yield name, current

    return pairs()


def _timed_read(path: Path) -> tuple[Volume, float]:
    start_s = time.perf_counter()
    return read_volume(path), time.perf_counter() - start_s


@dataclass(frozen=True)
class _Job:
    """What all cases of a run share."""

    predictor: Predictor
    settings: Settings
    outputs: Path
    watch: Watch


def _one_case(job: _Job, path: Path, reading: Reading, report: CaseReport, begun_s: float) -> None:
    target = _target(job.outputs, report.case)
    start_s = time.perf_counter()
    report.status = "failed"
    try:
        volume, read_s = reading.pop().result()
        report.seconds["read"] = round(read_s, 4)
        if job.settings.strict and volume.warnings:
            raise VolumeError(f"{path.name}: {'; '.join(volume.warnings)}; refused by --strict")
        prepared, header = job.predictor.prepare(volume, report), volume.header
        del volume
        prepared = _within_limits(job, prepared, report, begun_s)
        labels = job.predictor.label(prepared, report, job.watch)
        with report.stage("write"):
            write_labels(labels, header, target)
        report.status = "done"
    except Exception as error:  # noqa: BLE001  # whatever it is, the other cases go on
        report.error = in_one_line(error, path.name)
        report.volumes_ml = {}
    finally:
        report.seconds["total"] = round(time.perf_counter() - start_s, 4)
        report.peak_memory_mib = round(peak_memory_mib(), 1)
    if report.status != "done":
        _write_background(path, target, report)


def _within_limits(job: _Job, prepared: Prepared, report: CaseReport, begun_s: float) -> Prepared:
    """Widen the step as far as the limits ask for; say so, and what will not be kept."""
    limits = job.settings.limits
    if limits.seconds is None and limits.memory_mib is None:
        return prepared
    before_s = report.seconds["read"] + report.seconds["prepare"]
    with report.stage("plan"):
        plan = job.predictor.plan(prepared, limits, now_s() - begun_s, before_s)
    if plan.chosen.step != prepared.step:
        told = f"step {plan.chosen.step:g} instead of {prepared.step:g}, for the time limit"
        report.warnings += (told,)
    report.warnings += plan.over
    return replace(prepared, step=plan.chosen.step)


def _write_background(path: Path, target: Path, report: CaseReport) -> None:
    """Write an empty map for a failed case: the official scorer stops at a missing file."""
    try:
        header = read_header(path)
        write_labels(np.zeros(header.shape, dtype=np.uint8), header, target)
    except Exception:  # noqa: BLE001  # the case has its reason already
        return
    report.warnings += ("an empty label map was written in its place",)


def _target(outputs: Path, case: str) -> Path:
    return outputs / f"{case}.nii.gz"


def _refuse_inputs_as_outputs(cases: dict[str, Path], outputs: Path) -> None:
    """Refuse to write a label map over a CT: case "a" beside a case "a_0000" in one folder."""
    inputs = {path.parent.resolve() / path.name for path in cases.values()}
    inputs |= {path.resolve() for path in cases.values()}
    for case in cases:
        target = _target(outputs.resolve(), case)
        if target in inputs:
            raise KitError(
                f"the label map of {case} would be written over the CT {target}; "
                "give another outputs folder"
            )


def _remove_old(target: Path) -> None:
    """Remove an earlier run's map; what cannot be removed cannot be replaced, and is said then."""
    with suppress(OSError):
        target.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise KitError(
            f"cannot write to {folder}: {error.strerror}; give another folder"
        ) from error
