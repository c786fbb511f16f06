"""Progress and results on the terminal: on stderr, so that stdout stays free."""

import logging
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from inference.manifest import Manifest
from inference.pipeline import predict_folder
from inference.predictor import Settings, Watch
from inference.report import CaseReport, RunReport


def predict_on_screen(
    cases: dict[str, Path], outputs: Path, manifest: Manifest, settings: Settings
) -> RunReport:
    """Run `predict_folder` with a progress bar, a line a finished case, and a table at the end."""
    console = Console(stderr=True)
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.getLogger("inference").addHandler(handler)
    try:
        report = _with_progress(console, cases, outputs, manifest, settings)
    finally:
        logging.getLogger("inference").removeHandler(handler)
    if any(case.volumes_ml for case in report.cases):
        console.print(volumes_table(report, manifest))
    return report


def _with_progress(
    console: Console, cases: dict[str, Path], outputs: Path, manifest: Manifest, settings: Settings
) -> RunReport:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        whole = bar.add_task("cases", total=len(cases))
        windows = bar.add_task("windows", total=None)

        def done(case: CaseReport) -> None:
            bar.advance(whole)
            console.print(_line(case), soft_wrap=True, highlight=False, markup=False)

        watch = Watch(
            case=lambda name, count: bar.reset(windows, total=count, description=name),
            window=lambda: bar.advance(windows),
            done=done,
        )
        return predict_folder(cases, outputs, manifest, settings, watch)


def _line(case: CaseReport) -> str:
    if case.status == "done":
        told = f"{case.case}: done in {case.seconds['total']:.1f} s, {case.windows} windows"
    else:
        told = f"{case.case}: failed: {case.error}"
    return "; ".join((told, *case.warnings))


def volumes_table(report: RunReport, manifest: Manifest) -> Table:
    """Return a table of volumes in millilitres, a row an organ, a column a case.

    Below them what component rules took away, and what tissue was not looked at.
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
    table.add_row("not looked at", *(f"{case.outside_ml:.1f}" for case in shown))
    return table
