"""The table of differences under those of `compare` and `rank`."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from evaluation.comparison.differences import RANKS, DifferenceRow, LeftOut
from evaluation.open_table import numbers, open_table, with_interval
from imaging.fitted_tables import show_table


def show_differences(
    rows: Sequence[DifferenceRow], console: Console, left_out: Sequence[LeftOut] = ()
) -> None:
    """Print every difference with its interval, what may be said of it, and what has none."""
    if rows:
        _show_rows(rows, console)
    for one in left_out:
        console.print(Text(f"Not subtracted: {one.first}, {one.second}: {one.why}."))


def _show_rows(rows: Sequence[DifferenceRow], console: Console) -> None:
    table = open_table(
        "What is known of the differences",
        "first, second",
        "figure",
        *numbers("difference", "cases"),
        "first is",
        *numbers("more"),
        caption="first less second, percent points (ranks: less is better); 95 % bootstrap "
        "intervals, (–) where the cases are too few for one; more: cases that would settle it, "
        "if the difference is what it seems (power 80 %)",
    )
    before = None
    for row in rows:
        pair = f"{row.first}, {row.second}"
        change = row.difference
        cases = str(change.first_cases)
        if not change.paired:  # each side has its own
            cases += f", {change.second_cases}"
        more = f"{change.more_cases:,}" if change.more_cases else "–"  # none, or unknown
        name = Text("" if pair == before else pair)
        table.add_row(name, row.figure, _difference_text(row), cases, row.verdict, more)
        before = pair
    show_table(table, console)


def _difference_text(row: DifferenceRow) -> str:
    change, digits = row.difference, 2 if row.unit == RANKS else 1
    return with_interval(change.value, change.low, change.high, digits, sign=True)
