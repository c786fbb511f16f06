"""An efficiency run for people: progress on stderr, the table, and every file that it leaves."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from evaluation.efficiency.figure import draw_case
from evaluation.efficiency.protocol import (
    CaseMeasurement,
    Protocol,
    RunProgress,
    Subject,
    circumstances,
    evaluate,
)
from evaluation.efficiency.results import CaseEfficiency, Efficiency, EfficiencyRun
from imaging.fitted_tables import show_table
from imaging.terminal import terminal, warn

SHOWN = {
    "GPU MiB": "gpu_mib.peak",
    "GPU MiB·s": "gpu_mib.auc_official",
    "CPU %·s": "cpu_percent.auc_official",
    "RAM MiB": "ram_mib.peak",
    "own RAM MiB": "own_ram_mib.peak",
}
"""Column of the table and the figure in it."""


def evaluate_on_screen(
    cases: dict[str, Path],
    output: Path,
    subject: Subject,
    settings: Protocol,
    *,
    team: str,
    split: str | None,
) -> Efficiency:
    """Time `subject` on every case; write and print what came of it.

    Args:
        cases: CTs by case.
        output: Gets efficiency.json, efficiency.csv, predictions/, figures/, samples/ and logs/.
        subject: What is timed.
        settings: Repeats and limits.
        team: Whose it is.
        split: Which cases these are.

    Raises:
        KitError: `output` cannot be written.
    """
    console = terminal(stderr=True)
    if subject.no_gpu is not None:
        warn(f"no GPU columns: {subject.no_gpu}")
    measured = _with_progress(console, cases, output, subject, settings)
    report = Efficiency(
        team=team,
        split=split,
        command=subject.words(),
        image=None if subject.image is None else subject.image.digest,
        circumstances=circumstances(subject, settings),
        limits=settings.limits,
        cases=tuple(one.efficiency for one in measured),
    )
    report.write(output / "efficiency.json")
    report.write_official(output / "efficiency.csv")
    figures = output / "figures"
    figures.mkdir(exist_ok=True)
    for one in measured:
        path = figures / f"{one.efficiency.case}.png"
        draw_case(one.efficiency, one.samples, settings.limits, subject.no_gpu, path)
    show_table(efficiency_table(report), terminal())
    return report


def _with_progress(
    console: Console, cases: dict[str, Path], output: Path, subject: Subject, settings: Protocol
) -> tuple[CaseMeasurement, ...]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    # two refreshes a second: the measuring process should do little else
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, refresh_per_second=2
    ) as bar:
        task = bar.add_task("runs", total=len(cases) * settings.repeat)

        def done(case: str, run: EfficiencyRun) -> None:
            bar.advance(task)
            console.print(_line(case, run), soft_wrap=True, highlight=False, markup=False)

        watch = RunProgress(
            start=lambda case, number: bar.update(task, description=f"{case}, run {number}"),
            done=done,
        )
        return evaluate(cases, output, subject, settings, watch)


def _line(case: str, run: EfficiencyRun) -> str:
    line = f"{case}, run {run.number}: {run.seconds:.2f} s"
    if run.left_running:
        line += f"; left running, and ended: {', '.join(run.left_running)}"
    if run.error is None:
        return line
    return "\n".join((f"{line}: failed: {run.error}", run.stderr_tail)).strip()


def efficiency_table(report: Efficiency) -> Table:
    """Return a table with a row a case: medians, the range of the seconds, and the result."""
    table = Table(title=Text(f"efficiency of {report.team}"))
    table.add_column("case")
    table.add_column("s", justify="right", no_wrap=True)
    measured = {name for case in report.cases for name in case.figures}
    shown = {column: name for column, name in SHOWN.items() if name in measured}
    for column in shown:
        table.add_column(column, justify="right")
    table.add_column("result")
    for case in report.cases:
        cells = [_median(case, name) for name in shown.values()]
        table.add_row(Text(case.case), _seconds(case), *cells, Text(case.verdict))
    return table


def _seconds(case: CaseEfficiency) -> str:
    spread = case.figures["seconds"]
    median = f"{spread.median:.2f}"
    return median if len(case.runs) == 1 else f"{median} ({spread.min:.2f}–{spread.max:.2f})"


def _median(case: CaseEfficiency, name: str) -> str:
    return f"{case.figures[name].median:,.0f}" if name in case.figures else ""
