"""Progress and results on the terminal: on stderr, so that stdout stays free."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from imaging.errors import KitError, in_one_line
from imaging.files import passed_over, passed_over_message
from imaging.terminal import terminal, warn
from imaging.verbosity import Verbosity, verbosity
from inference.manifest import Manifest
from inference.pipeline import SUFFIX, find_cases, predict_folder
from inference.predictor import Progress, Settings
from inference.report import CaseReport, RunReport


def predict_inputs(
    inputs: Path, outputs: Path, manifest: Manifest, settings: Settings, run_json: Path
) -> RunReport:
    """Predict the cases of a folder, name the files passed over in it, and write `run_json`.

    It is always written once the network is open. On the screen: a progress bar, a line a
    finished case, and a table at the end.

    Raises:
        KitError: Nothing can be done at all, or `run_json` cannot be written.
    """
    cases = find_cases(inputs)
    report = RunReport.of(manifest, asdict(settings), passed_over(inputs, SUFFIX))
    console = terminal(stderr=True)
    if report.passed_over:
        warn(passed_over_message(report.passed_over, inputs))
    try:
        with _progress(console, len(cases)) as progress:
            predict_folder(cases, outputs, manifest, settings, progress, report)
        if any(case.volumes_ml for case in report.cases):
            console.print(volumes_table(report, manifest))
    except BaseException as ended:
        if report.cases:
            caught = isinstance(ended, Exception)
            report.ended = in_one_line(ended, "the run") if caught else "ended by a signal"
            with suppress(KitError):
                report.write(run_json)
        raise
    report.write(run_json)
    return report


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


def volumes_table(report: RunReport, manifest: Manifest) -> Table:
    """Return a table of volumes in millilitres, a row an organ, a column a case.

    Below them the volumes that component rules removed, and of tissue outside of the region.
    """
    shown = [case for case in report.cases if case.volumes_ml][:8]
    left_out = len([case for case in report.cases if case.volumes_ml]) - len(shown)
    title = "volumes (ml)" + (f", {left_out} more cases in run.json" if left_out else "")
    table = Table(title=title)
    table.add_column("organ")
    for case in shown:
        table.add_column(case.case, justify="right", overflow="fold")
    for organ in manifest.labels:
        volumes = ((organ in case.empty, case.volumes_ml[organ]) for case in shown)
        table.add_row(organ, *("empty" if empty else f"{ml:.1f}" for empty, ml in volumes))
    table.add_section()
    removed = (sum(case.removed_ml.values()) for case in shown)
    table.add_row("removed by rules", *(f"{ml:.1f}" for ml in removed))
    table.add_row("outside the region", *(f"{case.outside_ml:.1f}" for case in shown))
    return table
