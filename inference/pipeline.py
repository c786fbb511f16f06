"""Label all cases of a folder: prepare ahead, label, write; a failed case does not stop others."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from imaging.errors import KitError, in_one_line
from imaging.files import passed_over, passed_over_message
from imaging.left_over import left_over
from imaging.volumes import Volume, write_labels
from inference.ct import Source, header_of, read_ct
from inference.manifest import Manifest
from inference.predictor import UNSEEN, Progress, Segmentation
from inference.preparing import Prepared
from inference.report import CaseReport, RunReport, now_s, process_start_s
from inference.segmentation import open_preparer, with_engine
from inference.settings import Settings

SUFFIX = "_0000.nii.gz"
Beside = Callable[[Segmentation, Callable[[], Volume]], None]
"""Writes other outputs of a case, whose label map is written; called with what reads the CT."""


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
        found = f"; {passed_over_message(passed, inputs)}" if passed else ""
        raise KitError(f"inputs folder {inputs} holds no <case>{SUFFIX}; put a CT there{found}")
    return cases


def predict_folder(
    cases: Mapping[str, Source],
    outputs: Path,
    manifest: Manifest,
    settings: Settings,
    progress: Progress = UNSEEN,
    report: RunReport | None = None,
    beside: Beside | None = None,
) -> RunReport:
    """Label every case; one that fails gets a background map and the others go on.

    The first CT is read and prepared while the engine starts, each other while the one before it is
    labelled. Maps of these cases that an earlier run left, and what it wrote beside them, are
    removed before the first case.

    Args:
        cases: Files and DICOM series by case name.
        outputs: Folder for `<case>.nii.gz`; made if missing.
        manifest: The network and how to use it; its weights are checked first.
        settings: What the run changes.
        progress: Called as the work goes on.
        report: Filled; by default a new one.
        beside: Writes other outputs; a case of which one cannot be written has failed, but keeps
            its map.

    Raises:
        KitError: Nothing can be done at all: weights, engine or output folder.
    """
    report = report or RunReport.of(manifest, asdict(settings))
    report.left_over = _prepare_folder(cases, outputs)
    start_s = time.perf_counter()
    report.start_s["imports"] = round(now_s() - process_start_s(), 4)
    reports = [CaseReport(case, "not reached") for case in cases]
    with open_preparer(manifest, settings) as preparer, _reader() as reader:

        def ahead(of: CaseReport) -> Future[Prepared]:
            return reader.submit(preparer.prepare_ct, cases[of.case], of)

        waiting = deque([ahead(reports[0])])
        with with_engine(preparer) as predictor:
            report.engine = predictor.engine.description
            report.start_s["engine"] = round(time.perf_counter() - start_s, 4)
            report.cases = reports
            _remove_old(outputs, cases)
            begun_s = process_start_s()  # starting counts for the first case
            for done, following in zip(reports, [*reports[1:], None], strict=True):
                waiting[0].exception()  # at most one CT is held while another is labelled
                if following is not None:
                    waiting.append(ahead(following))
                take = partial(_taken, waiting)
                label = partial(predictor.segment_case, take, done, progress, begun_s)
                _one_case(label, cases[done.case], _target(outputs, done.case), done, beside)
                progress.done(done)
                begun_s = now_s()
    return report


@contextmanager
def _reader() -> Iterator[ThreadPoolExecutor]:
    """Yield the thread that reads and prepares CTs; a run that is ended does not wait for it."""
    reader = ThreadPoolExecutor(1)
    try:
        yield reader
    finally:
        reader.shutdown(wait=False, cancel_futures=True)


def _taken(waiting: deque[Future[Prepared]]) -> Prepared:
    """Take the next CT out: its memory ends with its use."""
    return waiting.popleft().result()


def _one_case(
    label: Callable[[], Segmentation],
    source: Source,
    target: Path,
    report: CaseReport,
    beside: Beside | None,
) -> None:
    written = False
    try:
        with report.timed():
            found = replace(label(), source=source)
            with report.stage("write"):
                write_labels(found.labels, found.header, target)
            written = True
            if beside is not None:
                with report.stage("outputs"):
                    beside(found, partial(read_ct, source, CaseReport(report.case)))
    except Exception as error:  # noqa: BLE001  # the other cases go on
        report.error = in_one_line(error, source.name)
        if not written:
            report.volumes_ml = {}
            _write_background(source, target, report)


def _write_background(source: Source, target: Path, report: CaseReport) -> None:
    """Write an empty map for a failed case: the official scorer stops at a missing file."""
    try:
        header = header_of(source)
        write_labels(np.zeros(header.shape, dtype=np.uint8), header, target)
    except Exception:  # noqa: BLE001  # the case already has an error
        return
    report.warnings += ("an empty label map was written in its place",)


def _target(outputs: Path, case: str) -> Path:
    return outputs / f"{case}.nii.gz"


def _files(cases: Mapping[str, Source]) -> list[Path]:
    return [source for source in cases.values() if isinstance(source, Path)]


def _prepare_folder(cases: Mapping[str, Source], outputs: Path) -> tuple[str, ...]:
    """Make the outputs folder; return the cases of other runs whose maps lie in it."""
    _refuse_inputs_as_outputs(cases, outputs)
    _make_folder(outputs)
    return left_over(outputs, ".nii.gz", cases, _files(cases))


def _refuse_inputs_as_outputs(cases: Mapping[str, Source], outputs: Path) -> None:
    """Refuse to write a label map over a CT: case "a" beside a case "a_0000" in one folder."""
    inputs = {path.parent.resolve() / path.name for path in _files(cases)}
    inputs |= {path.resolve() for path in _files(cases)}
    for case in cases:
        target = _target(outputs.resolve(), case)
        if target in inputs:
            raise KitError(
                f"the label map of {case} would be written over the CT {target}; "
                "give another outputs folder"
            )


def _remove_old(outputs: Path, cases: Iterable[str]) -> None:
    """Remove what an earlier run left of these cases.

    A file that cannot be removed is reported when it is replaced.
    """
    for case in cases:
        with suppress(OSError):
            _target(outputs, case).unlink(missing_ok=True)
    if any(outputs.iterdir()):
        from inference.outputs.names import remove_old  # not in an empty folder, as the challenge's

        remove_old(outputs, cases)


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
