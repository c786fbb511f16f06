"""`rank` for people: the table, the notes, the picture, and the files."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.text import Text

from evaluation.comparison.contest import load_contest
from evaluation.comparison.differences import between_places, write_differences
from evaluation.comparison.differences_screen import show_differences
from evaluation.comparison.ranking import Ranking, rank_teams
from evaluation.figures import save_png
from evaluation.open_table import numbers, open_table
from imaging.files import make_folder
from imaging.fitted_tables import show_table
from imaging.terminal import terminal
from imaging.words import number_of

_LARGEST_POINTS2 = 1200
_INCHES = 0.75
_LEAST_NAMED = 0.005
"""A share that would read 0 % gets no number."""


def rank_on_screen(folders: Sequence[Path], output: Path, bootstrap: int) -> None:
    """Rank the teams, write rank.*, differences.* into `output`, print the tables.

    Raises:
        KitError: The results cannot be set against each other, or `output` cannot be written.
    """
    contest = load_contest(folders)
    make_folder(output)
    console = terminal(stderr=True)
    with console.status(f"{bootstrap} bootstrap samples"):
        ranking = rank_teams(contest, bootstrap)
    ranking.write(output)
    differences = between_places(contest, ranking)
    write_differences(differences, output)
    _draw(ranking, output / "rank.png")
    _show(ranking, terminal())
    show_differences(differences, terminal())


def _show(ranking: Ranking, console: Console) -> None:
    title = f"Ranks on {number_of(len(ranking.cases), 'case')}; 1 is the best"
    table = open_table(title, "team", *numbers("place", "mean rank"))
    for metric, weight in ranking.weights.items():
        name = metric if weight == 1 else f"{metric} ×{weight:g}"
        table.add_column(name, justify="right", min_width=max(map(len, name.split())))
    table.add_column("sure", justify="right")
    for s in ranking.standings:
        ranks = (f"{s.ranks[metric]:.2f}" for metric in ranking.weights)
        sure = f"{s.places[s.place - 1]:.0%}"
        table.add_row(Text(s.team), str(s.place), f"{s.mean_rank:.3f}", *ranks, sure)
    show_table(table, console)
    console.print(f"sure: in how many of {ranking.bootstrap} bootstrap samples it has this place")
    if ranking.tau is not None:
        console.print(
            f"Kendall's tau of their rankings to this one: mean {ranking.tau.mean:.2f}, 95 % from "
            f"{ranking.tau.low:.2f} to {ranking.tau.high:.2f}"
        )
    for note in ranking.notes:
        console.print(Text(f"Note: {note}."))


def _draw(ranking: Ranking, path: Path) -> None:
    """Draw a row a team and a column a place: the larger the blob, the more likely the place.

    It reads in grey.
    """
    standings = ranking.standings
    count = len(standings)
    figure = Figure(figsize=(3.5 + _INCHES * count, 1.6 + _INCHES * count), layout="constrained")
    axis = figure.subplots()
    for row, standing in enumerate(standings):
        for column, share in enumerate(standing.places, start=1):
            if share >= _LEAST_NAMED:
                axis.scatter(column, row, s=_LARGEST_POINTS2 * share, color="0.8", zorder=2)
                axis.text(column, row + 0.4, f"{share:.0%}", ha="center", va="center", fontsize=8)
        axis.scatter(standing.place, row, s=40, marker="x", color="0.0", zorder=3)
    axis.set_xlim(0.4, count + 0.6)
    axis.set_ylim(count - 0.3, -0.6)
    axis.set_xticks(range(1, count + 1))
    names = [f"{s.team} ({s.mean_rank:.2f})" for s in standings]
    axis.set_yticks(range(count), names, parse_math=False)
    axis.grid(color="0.92", zorder=0)
    axis.set_axisbelow(True)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_xlabel(
        f"place; ×: all {number_of(len(ranking.cases), 'case')}, "
        f"blobs: {number_of(ranking.bootstrap, 'bootstrap sample')}"
    )
    axis.set_ylabel("team (mean rank)")
    save_png(figure, path, dpi=120)
