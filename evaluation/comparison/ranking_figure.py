"""How sure a ranking is, in one picture that reads in grey."""

from pathlib import Path

from matplotlib.figure import Figure

from evaluation.comparison.ranking import Ranking
from evaluation.figures import save_png
from imaging.words import number_of

_LARGEST_POINTS2 = 1200
_INCHES = 0.75
_LEAST_NAMED = 0.005
"""A share that would read 0 % gets no number."""


def draw_ranking(ranking: Ranking, path: Path) -> None:
    """Draw a row a team and a column a place: the larger the blob, the more likely the place.

    Args:
        ranking: The ranking to plot.
        path: PNG file.
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
