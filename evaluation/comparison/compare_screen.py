"""`compare` for people: what was measured, then a table for every reported result."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.comparison.compare import (
    NOT_MEASURED,
    Comparison,
    caveats,
    check_reached,
    comparisons,
    figure_name,
    write_comparison,
)
from evaluation.comparison.differences import between_teams, from_reported, write_differences
from evaluation.comparison.differences_screen import show_differences
from evaluation.comparison.measured import TeamResults, check_names, check_split, load_measured
from evaluation.comparison.reported import METRICS, find_reported
from imaging.files import make_folder
from imaging.fitted_tables import show_table
from imaging.terminal import terminal

_HEADLINES = (
    ("dsc_percent", "organs"),
    ("nsd_percent", "organs"),
    ("dsc_percent", "tumour"),
    ("nsd_percent", "tumour"),
    ("seconds", "mean"),
    ("gpu_auc_mib_s", "mean"),
)


def compare_on_screen(
    results: Sequence[Path],
    reported: Sequence[str],
    required: Sequence[str],
    split: str | None,
    output: Path | None,
) -> None:
    """Print measured beside reported figures, write them into `output`, check the required ones.

    Raises:
        KitError: Something cannot be read, or a figure falls short of a required one.
    """
    if split is not None:
        check_split(split)
    tables = {name: find_reported(name) for name in (*reported, *required)}
    teams = [load_measured(path, split) for path in results]
    check_names(team.team for team in teams)
    rows = comparisons(tables.values(), teams)
    scores = [team.scores for team in teams if team.scores is not None]
    between, left_out = between_teams(scores)
    differences = between + from_reported(rows, scores)
    if output is not None:
        make_folder(output)
        write_comparison(rows, teams, output)
        write_differences(differences, output, left_out)
    _show(rows, teams, terminal())
    show_differences(differences, terminal(), left_out)
    for name in required:
        check_reached(rows, tables[name].name)


def _show(rows: Sequence[Comparison], teams: Sequence[TeamResults], console: Console) -> None:
    show_table(_measured(teams), console)
    for caveat, names in caveats(teams).items():
        console.print(Text(f"Note on {', '.join(names)}: {caveat}."))
    for _, group in groupby(rows, lambda row: (row.reported_by, row.split, row.source, row.note)):
        show_table(_result(list(group)), console)


def _measured(teams: Sequence[TeamResults]) -> Table:
    table = Table("measured", title="Measured")
    for team in teams:
        table.add_column(Text(f"{team.team}\n{team.split or 'split unknown'}"), justify="right")
    for metric, of in _HEADLINES:
        figures = [team.figures.get(metric, {}).get(of) for team in teams]
        cells = [str(figure.value) if figure else "–" for figure in figures]
        table.add_row(f"{figure_name(metric, of)}, {METRICS[metric].unit}", *cells)
    return table


def _result(rows: Sequence[Comparison]) -> Table:
    """Return the table of one reported result: a row a figure, a column a team."""
    first = rows[0]
    flag = "" if first.verified else ", UNVERIFIED"
    title = Text(f"{first.reported_by}, {first.split}{flag}", style="bold")
    caption = Text("\n".join(filter(None, (first.source, first.note))))
    table = Table("figure", title=title, caption=caption, min_width=60)
    table.add_column("reported", justify="right")
    shared = {
        team: _shared_reason(rows, team) for team in dict.fromkeys(r.measured_by for r in rows)
    }
    for team, reason in shared.items():
        table.add_column(Text(f"{team}\n{reason}" if reason else team), justify="right")
    for (metric, of, reported), group in groupby(rows, lambda r: (r.metric, r.of, r.reported)):
        name = f"{figure_name(metric, of)}, {METRICS[metric].unit}"
        cells = [_cell(row, shared[row.measured_by]) for row in group]
        table.add_row(Text(name), str(reported), *(Text(cell) for cell in cells))
    return table


def _shared_reason(rows: Sequence[Comparison], team: str) -> str | None:
    """Return why none of a team's figures can be compared, where it is the same for all."""
    reasons = {row.why_not for row in rows if row.measured_by == team} - {NOT_MEASURED}
    return reasons.pop() if len(reasons) == 1 else None


def _cell(row: Comparison, shared: str | None) -> str:
    if row.measured is None:
        return "–"
    if row.difference is not None:
        return f"{row.measured}  {row.difference:+}"
    return f"{row.measured}" if row.why_not == shared else f"{row.measured}  {row.why_not}"
