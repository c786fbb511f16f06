"""`rank` for people: the table, the notes, and the files."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.comparison.contest import load_contest
from evaluation.comparison.differences import between_places, write_differences
from evaluation.comparison.differences_screen import show_differences
from evaluation.comparison.ranking import Ranking, rank_teams
from evaluation.comparison.ranking_figure import draw_ranking
from imaging.files import make_folder
from imaging.fitted_tables import show_table
from imaging.terminal import terminal
from imaging.words import number_of


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
    draw_ranking(ranking, output / "rank.png")
    _show(ranking, terminal())
    show_differences(differences, terminal())


def _show(ranking: Ranking, console: Console) -> None:
    title = f"Ranks on {number_of(len(ranking.cases), 'case')}; 1 is the best"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("team")
    table.add_column("place", justify="right")
    table.add_column("mean rank", justify="right")
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
