"""Output of `train data`: progress, and tables of the cases and their problems."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from imaging.files import make_folder
from imaging.fitted_tables import show_table
from imaging.organs import ORGANS
from imaging.tables import write_csv
from imaging.terminal import terminal
from train.data.release import (
    Layout,
    Problem,
    Release,
    check_cases,
    list_cases,
    sorted_out,
    write_cases,
)
from train.progress import CASE, seen

_SHOWN = 20


def check_on_screen(folder: Path, layout: Layout, output: Path, jobs: int, *, deep: bool) -> int:
    """Check a release, write cases.json and problems.csv, print what was found.

    Returns:
        The number of problems.
    """
    found = list_cases(folder, layout)
    make_folder(output)
    checked = check_cases(folder, found, jobs, deep=deep)
    release = sorted_out(found, seen(checked, CASE, len(found)))
    write_cases(release.cases, output / "cases.json")
    write_csv(output / "problems.csv", Problem._fields, release.problems)
    _show(release)
    return len(release.problems)


def _show(release: Release) -> None:
    console = terminal()
    counts = Counter((case.subset, case.annotated) for case in release.cases)
    table = Table("subset", "cases", "annotated", title="Cases by what their annotators looked for")
    for (subset, labels), count in sorted(counts.items(), key=lambda row: (row[0][0], -row[1])):
        missing = [organ for organ, label in ORGANS.items() if label not in labels]
        text = ", ".join(organ for organ, k in ORGANS.items() if k in labels) or "nothing"
        if labels and len(missing) < len(labels):
            text = f"all but {', '.join(missing)}" if missing else "all 14"
        table.add_row(subset, str(count), text)
    show_table(table, console)
    with_warnings = [(case.case, "; ".join(case.doubts)) for case in release.cases if case.doubts]
    _list(console, "Used, with warnings", with_warnings, "cases.json")
    _list(console, "Left out", release.problems, "problems.csv")


def _list(console: Console, title: str, rows: Sequence[tuple[str, str]], file: str) -> None:
    """Print the first of `rows`; `file` has the others."""
    if not rows:
        return
    table = Table("case", "reason", title=f"{title}: {len(rows)}")
    for case, reason in rows[:_SHOWN]:
        table.add_row(case, reason)
    show_table(table, console)
    if (more := len(rows) - _SHOWN) > 0:
        console.print(f"and {more} more, in {file}")
