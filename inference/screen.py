"""Progress and results on the terminal: on stderr, so that stdout stays free."""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from imaging.errors import KitError, in_one_line
from imaging.files import passed_over, passed_over_message
from imaging.left_over import left_over_message
from imaging.terminal import tell, terminal, warn
from imaging.verbosity import Verbosity, verbosity
from inference.ct import Source
from inference.manifest import Manifest
from inference.pipeline import SUFFIX, Beside, find_cases, predict_folder
from inference.predictor import Progress
from inference.report import CaseReport, RunReport
from inference.settings import Settings


def predict_inputs(
    inputs: Path,
    outputs: Path,
    manifest: Manifest,
    settings: Settings,
    run_json: Path,
    beside: Beside | None = None,
    *,
    challenge: bool = False,
    series: tuple[str, ...] = (),
) -> RunReport:
    """Predict the CTs of a file or folder, name what is passed over, and write `run_json`.

    It is always written once the network is open. On the screen: the DICOM series, a progress bar
    (on a terminal), a line a finished case, and a table at the end. `challenge` leaves all but the
    lines out: nobody reads them there, and what draws them takes time to import.

    Args:
        inputs: A CT, or a folder of CTs in any format.
        outputs: Folder for `<case>.nii.gz`.
        manifest: The network and how to use it.
        settings: What the run changes.
        run_json: Where the report goes.
        beside: Writes other outputs of each case.
        challenge: Only `<case>_0000.nii.gz` in a folder are cases.
        series: UIDs or numbers of the DICOM series that are wanted; empty for all.

    Raises:
        KitError: Nothing can be done at all, or `run_json` cannot be written.
    """
    report = RunReport.of(manifest, asdict(settings))

    def predict(cases: Mapping[str, Source]) -> RunReport:
        if report.passed_over:
            warn(passed_over_message(report.passed_over, inputs))
        with _reported(report, run_json), _progress(len(cases), challenge) as progress:
            predict_folder(cases, outputs, manifest, settings, progress, report, beside)
        if not challenge:
            from inference.results_table import show_results

            show_results(terminal(stderr=True), report, manifest)
        if report.left_over:
            warn(left_over_message(report.left_over, outputs, "that this run did not make"))
        return report

    if challenge:
        cases = find_cases(inputs)
        report.passed_over = passed_over(inputs, SUFFIX)
        return predict(cases)
    from inference.inputs import found_inputs  # imported only where any format may come

    with found_inputs(inputs, outputs, series) as found:
        report.passed_over = found.passed_over
        if found.series:
            from inference.series_table import series_rows, show_series

            report.series = series_rows(found.series, found.cases)
            show_series(terminal(stderr=True), found.series, found.cases)
        return predict(found.cases)


@contextmanager
def _reported(report: RunReport, run_json: Path) -> Iterator[None]:
    """Write the report at the end of the block, also of a run that was ended in it."""
    try:
        yield
    except BaseException as ended:
        if report.cases:
            caught = isinstance(ended, Exception)
            report.ended = in_one_line(ended, "the run") if caught else "ended by a signal"
            with suppress(KitError):
                report.write(run_json)
        raise
    report.write(run_json)


class _Lines(logging.Handler):
    """Prints what the kit logs, such as an engine that was passed over, as warnings are."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        warn(record.getMessage())


@contextmanager
def _progress(count: int, challenge: bool) -> Iterator[Progress]:
    """Show a line a case, bars on a terminal, and the kit's warnings until the end of the block."""
    handler = _Lines()
    logging.getLogger("inference").addHandler(handler)
    try:
        if challenge or not sys.stderr.isatty():
            yield Progress(done=_done)
            return
        from inference.bars import bars

        with bars(count, _done) as progress:
            yield progress
    finally:
        logging.getLogger("inference").removeHandler(handler)


def _done(case: CaseReport) -> None:
    if case.warnings or case.status != "done":
        warn(case.summary)
    else:
        tell(case.summary)
    if verbosity() is Verbosity.VERBOSE:
        tell(case.details)
