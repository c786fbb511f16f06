"""An efficiency run for people: progress on stderr, the table, and every file that it leaves."""

import platform
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from evaluation.efficiency.energy import EnergyMeter
from evaluation.efficiency.figure import draw_case
from evaluation.efficiency.protocol import (
    CaseMeasurement,
    Protocol,
    Subject,
    evaluate,
)
from evaluation.efficiency.results import (
    CaseEfficiency,
    Efficiency,
    EfficiencyRun,
    TogetherRun,
)
from evaluation.efficiency.sampling import INTERVAL_S, MIB
from evaluation.efficiency.together import run_together
from evaluation.open_table import numbers
from evaluation.profiles.profile import Profile
from imaging.fitted_tables import show_table
from imaging.machine import cpu_name
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
    profile: Profile | None = None,
    warm: bool = False,
) -> Efficiency:
    """Time `subject` on every case; write and print what came of it.

    Args:
        cases: CTs by case.
        output: Gets efficiency.json, efficiency.csv, predictions/, figures/, samples/ and logs/.
        subject: What is timed.
        settings: Repeats and limits.
        team: Whose it is.
        split: Which cases these are.
        profile: The challenge whose limits `settings` has.
        warm: Run all cases in one process, too.

    Raises:
        KitError: `output` cannot be written.
    """
    console = terminal(stderr=True)
    if subject.no_gpu is not None:
        warn(f"no GPU columns: {subject.no_gpu}")
    measured = _with_progress(console, cases, output, subject, settings)
    together = None
    if warm:
        with console.status("all cases in one process"):
            together = run_together(cases, output, subject, settings.timeout_s, measured)
    report = Efficiency(
        team=team,
        split=split,
        command=subject.words(),
        image=None if subject.image is None else subject.image.digest,
        circumstances=_circumstances(subject, settings),
        limits=settings.limits,
        cases=tuple(one.efficiency for one in measured),
        profile=None if profile is None else profile.name,
        together=together,
    )
    report.write(output / "efficiency.json")
    report.write_official(output / "efficiency.csv")
    figures = output / "figures"
    figures.mkdir(exist_ok=True)
    for case, samples in ((one.efficiency, one.samples) for one in measured):
        draw_case(case, samples, settings.limits, subject.no_gpu, figures / f"{case.case}.png")
    show_table(efficiency_table(report), terminal())
    for line in _more_lines(report, profile):
        terminal().print(Text(line))
    return report


def _circumstances(subject: Subject, settings: Protocol) -> dict[str, str | int | float | None]:
    """Return what the figures depend on: the machine, versions, settings."""
    gpu, unread = subject.gpu, EnergyMeter(subject.gpu).unread
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_name(),
        "cores": psutil.cpu_count(),
        "ram_mib": round(psutil.virtual_memory().total / MIB),
        "gpu": None if gpu is None else gpu.name,
        "gpu_index": subject.gpu_index,
        "driver": None if gpu is None else gpu.driver,
        "no_gpu": subject.no_gpu,
        "no_cpu_joules": unread.get("cpu"),
        "no_gpu_joules": unread.get("gpu"),
        "python": platform.python_version(),
        "psutil": psutil.__version__,
        "interval_s": INTERVAL_S,
        "timeout_s": settings.timeout_s,
        "repeat": settings.repeat,
    }


def _more_lines(report: Efficiency, profile: Profile | None) -> Iterator[str]:
    """Say what the table has no column for: energy, all cases in one process, what is unknown."""
    for part, name in (("cpu", "processors of the whole machine"), ("gpu", "GPU")):
        found = [c.figures[f"{part}_joules"].median for c in report.cases
                 if f"{part}_joules" in c.figures]  # fmt: skip
        why = report.circumstances.get(f"no_{part}_joules")
        if found:
            each, total = f"{median(found):,.1f} J a case (median)", f"{sum(found):,.1f} J in all"
            yield f"Energy, {name}: {each}, {total}"
        else:
            yield f"Energy, {name}: {why or 'no run was measured'}"
    if (run := report.together) is not None:
        yield _together_line(run)
    if profile is not None:
        yield f"{profile.title}. Not confirmed: {'; '.join(profile.left_out)}."


def _together_line(run: TogetherRun) -> str:
    """Say what the first and the later cases of one process took."""
    line = f"All cases in one process: {run.seconds:.2f} s"
    if run.first_s is not None:
        line += f"; the first map after {run.first_s:.2f} s"
    if run.later_s:
        low, high = min(run.later_s), max(run.later_s)
        line += f", later ones {median(run.later_s):.2f} s each (median; {low:.2f}–{high:.2f})"
    if run.other_maps:
        line += f"; other maps than alone: {', '.join(run.other_maps)}"
    return f"{line}; failed: {run.error}" if run.error else line


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

        def starts(case: str, number: int) -> None:
            bar.update(task, description=f"{case}, run {number}")

        return evaluate(cases, output, subject, settings, starts, done)


def _line(case: str, run: EfficiencyRun) -> str:
    line = f"{case}, run {run.number}: {run.seconds:.2f} s"
    if run.left_running:
        line += f"; left running, and ended: {', '.join(run.left_running)}"
    if run.error is None:
        return line
    return "\n".join((f"{line}: failed: {run.error}", run.stderr_tail)).strip()


def efficiency_table(report: Efficiency) -> Table:
    """Return a table with a row a case: medians, the range of the seconds, and the result."""
    measured = {name for case in report.cases for name in case.figures}
    shown = {column: name for column, name in SHOWN.items() if name in measured}
    seconds = Column("s", justify="right", no_wrap=True)
    title = Text(f"efficiency of {report.team}")
    table = Table("case", seconds, *numbers(*shown), "result", title=title)
    for case in report.cases:
        cells = [_median(case, name) for name in shown.values()]
        table.add_row(Text(case.case), _seconds(case), *cells, Text(case.verdict))
    return table


def _seconds(case: CaseEfficiency) -> str:
    spread = case.figures["seconds"]
    middle = f"{spread.median:.2f}"
    return middle if len(case.runs) == 1 else f"{middle} ({spread.min:.2f}–{spread.max:.2f})"


def _median(case: CaseEfficiency, name: str) -> str:
    return f"{case.figures[name].median:,.0f}" if name in case.figures else ""
