"""Plot every class's volumes against those of the labelled cases."""

from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.figures import svg_of
from imaging.organs import ORGANS
from train.pseudo_labels.audit.ranking import Normal, Ranked

_NAMED = 2
"""Outliers of a class that are named."""
_MOST_POINTS = 300
"""Cases up to which every point is drawn as one."""


def draw_volumes(ranked: Sequence[Ranked], normals: Mapping[str, Normal]) -> str:
    """Draw a row a class: what annotators drew as a bar and a line, the round's cases as points.

    Returns:
        SVG, the same for the same cases.
    """
    return svg_of(partial(_draw, ranked, normals))


def _draw(ranked: Sequence[Ranked], normals: Mapping[str, Normal]) -> Figure:
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots()
    for row, organ in enumerate(ORGANS):
        if ml := normals[organ].ml:
            axes.barh(row, ml[-1] - ml[0], left=ml[0], height=0.7, color="0.87", linewidth=0)
            axes.plot([normals[organ].median_ml] * 2, [row - 0.35, row + 0.35], color="0.4")
        _draw_cases(axes, row, organ, ranked, normals[organ])
    axes.set(xscale="log", xlabel="ml", yticks=range(len(ORGANS)), yticklabels=list(ORGANS))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    return figure


def _draw_cases(axes: Axes, row: int, organ: str, ranked: Sequence[Ranked], normal: Normal) -> None:
    """Draw the cases' volumes of one organ, and name the first outliers."""
    there = [(case, case.measured.ml[organ]) for case in ranked if organ in case.measured.ml]
    odd = [(case, volume) for case, volume in there if organ in case.outliers]
    usual = [volume for case, volume in there if organ not in case.outliers]
    for volumes, color, size in ((usual, "0.2", 2), ([ml for _, ml in odd], "#c04000", 5)):
        # As a picture where there are many: 4,000 cases are 56,000 points, each a line of the page.
        picture = len(ranked) > _MOST_POINTS
        axes.plot(
            volumes, [row] * len(volumes), "o", color=color, markersize=size, rasterized=picture
        )
    for place, (case, volume) in enumerate(odd[:_NAMED], start=1):
        small = volume < normal.median_ml
        beside = (-5 if small else 5, 3 - 8 * (place % 2))
        axes.annotate(
            case.measured.case, (volume, row), xytext=beside,
            textcoords="offset points", ha="right" if small else "left",
            fontsize=7, color="#c04000",
        )  # fmt: skip
