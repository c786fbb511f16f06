"""The tables that `score` prints on request: by stratum, lesions one to one, earlier scorings."""

from collections.abc import Iterable
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.scoring.looks import sentence
from evaluation.scoring.scores import Mean, Scores, Stratum
from imaging.fitted_tables import show_table


def show_more(scores: Scores, console: Console) -> None:
    """Print what there is: lesions one to one, the strata, the line of the log."""
    if scores.detection and scores.detection[0].true + scores.detection[0].predicted:
        show_table(_one_to_one(scores), console)
    shown = [s for s in scores.by_stratum if s.metric == "dsc"]
    for (column, of), group in groupby(shown, lambda s: (s.column, s.of)):
        show_table(_strata(column, of, group), console)
    if scores.by_stratum:
        console.print(Text("Differences from the first row, the reference. NSD: strata.csv."))
    console.print(Text(sentence(scores.looks)))


def _strata(column: str, of: str, strata: Iterable[Stratum]) -> Table:
    subject = "organs" if of == "organs" else of
    table = _table(f"DSC of {subject} by {column}")
    table.add_column(column)
    for name in ("cases", "mean (95 %)", "difference (95 %)"):
        table.add_column(name, justify="right")
    table.add_column("settled")
    for stratum in strata:
        change = stratum.difference
        cells = ("", "")
        if change is not None:
            as_mean = Mean(change.value, 0, change.low, change.high)
            cells = _text(as_mean, sign="+"), "yes" if change.settled else "no"
        table.add_row(Text(stratum.value), str(stratum.mean.count), _text(stratum.mean), *cells)
    return table


def _one_to_one(scores: Scores) -> Table:
    table = _table("Tumours one to one (intersection over union of a tenth)")
    table.add_column("lesions")
    for name in ("true", "with one of their own", "predicted", "false"):
        table.add_column(name, justify="right")
    for row in scores.detection:
        counts = (row.true, row.matched, row.predicted, row.false)
        table.add_row(row.size, *map(str, counts))
    return table


def _table(title: str) -> Table:
    return Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def _text(mean: Mean, sign: str = "") -> str:
    if mean.value is None:
        return "–"
    value, low, high = (
        "–" if x is None else f"{x:{sign}.3f}".replace("-", "−")
        for x in (mean.value, mean.low, mean.high)
    )
    return f"{value} ({low} to {high})"
