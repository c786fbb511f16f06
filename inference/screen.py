"""Progress and results on the terminal: on stderr, so that stdout stays free."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from imaging.errors import KitError, in_one_line
from imaging.files import passed_over, passed_over_message
from imaging.terminal import terminal, warn
from imaging.verbosity import Verbosity, verbosity
from inference.ct import Source
from inference.manifest import Manifest
from inference.pipeline import SUFFIX, Beside, find_cases, predict_folder
from inference.predictor import Progress, Settings
from inference.report import CaseReport, RunReport
from inference.results_table import show_results


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

    It is always written once the network is open. On the screen: the DICOM series, a progress bar,
    a line a finished case, and a table at the end.

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
    console = terminal(stderr=True)
    report = RunReport.of(manifest, asdict(settings))

    def predict(cases: Mapping[str, Source]) -> RunReport:
        if report.passed_over:
            warn(passed_over_message(report.passed_over, inputs))
        with _reported(report, run_json), _progress(console, len(cases)) as progress:
            predict_folder(cases, outputs, manifest, settings, progress, report, beside)
        show_results(console, report, manifest, outputs)
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
            show_series(console, found.series, found.cases)
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


@contextmanager
def _progress(console: Console, count: int) -> Iterator[Progress]:
    """Show progress bars and the kit's warnings until the end of the block."""
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.getLogger("inference").addHandler(handler)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    try:
        with Bars(*columns, TimeElapsedColumn(), console=console, transient=True) as bars:
            whole = bars.add_task("cases", total=count)
            windows = bars.add_task("windows", total=None)

            def done(case: CaseReport) -> None:
                bars.advance(whole)
                if case.warnings or case.status != "done":
                    warn(case.summary)
                else:
                    console.print(case.summary, soft_wrap=True, highlight=False)
                if verbosity() is Verbosity.VERBOSE:
                    console.print(case.details, soft_wrap=True, highlight=False)

            yield Progress(
                case=lambda name, count: bars.reset(windows, total=count, description=name),
                window=lambda: bars.advance(windows),
                done=done,
            )
    finally:
        logging.getLogger("inference").removeHandler(handler)
