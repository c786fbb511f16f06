"""The table of differences under those of `compare` and `rank`."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.comparison.differences import RANKS, DifferenceRow
from evaluation.scoring.intervals import Difference
from imaging.fitted_tables import show_table


def show_differences(rows: Sequence[DifferenceRow], console: Console) -> None:
    """Print every difference with its interval, and what may be said of it; nothing if none."""
    if not rows:
        return
    table = Table(
        title="What is known of the differences",
        caption="first less second, percent points (ranks: less is better); 95 % bootstrap "
        "intervals; more: cases that would settle it, if the difference is what it seems "
        "(power 80 %)",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("first, second")
    table.add_column("figure")
    table.add_column("difference", justify="right")
    table.add_column("cases", justify="right")
    table.add_column("first is")
    table.add_column("more", justify="right")
    before = None
    for row in rows:
        pair = f"{row.first}, {row.second}"
        digits = 2 if row.unit == RANKS else 1
        table.add_row(
            Text("" if pair == before else pair),
            row.figure,
            difference_text(row.difference, digits),
            cases_text(row.difference),
            row.verdict,
            more_text(row.difference),
        )
        before = pair
    show_table(table, console)


def difference_text(difference: Difference, digits: int) -> str:
    """Return a difference with its interval: "+1.2 (−0.3 to +2.6)"."""
    ends = [difference.value, difference.low, difference.high]
    value, low, high = ("–" if x is None else f"{x:+.{digits}f}".replace("-", "−") for x in ends)
    return f"{value} ({low} to {high})" if difference.low is not None else f"{value} (–)"


def cases_text(difference: Difference) -> str:
    """Return the number of cases, of each side if they are not the same."""
    if difference.paired:
        return str(difference.first_cases)
    return f"{difference.first_cases}, {difference.second_cases}"


def more_text(difference: Difference) -> str:
    """Return the cases that are missing; a dash where nothing is, or where it is unknown."""
    return f"{difference.more_cases:,}" if difference.more_cases else "–"
