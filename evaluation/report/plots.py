"""Plots of the report, as SVG that is the same for the same scores."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.figures import svg_of
from evaluation.scoring.scores import CaseScores

_SIZE_INCH = (4.4, 4.4)
_JITTER = 0.14


def organ_boxes(cases: Sequence[CaseScores], metric: str, names: Sequence[str]) -> str:
    """Draw `metric` of every label over the cases: boxes, every case a point. Returns SVG."""

    def draw() -> Figure:
        figure = Figure(figsize=_SIZE_INCH, layout="constrained")
        axes = figure.subplots()
        _draw_boxes(axes, _values(cases, metric, names))
        axes.set_xlabel(metric.upper(), fontweight="bold")
        return figure

    return svg_of(draw)


def _values(
    cases: Sequence[CaseScores], metric: str, names: Sequence[str]
) -> dict[str, list[float]]:
    return {
        organ: [value for case in cases if (value := case.value(organ, metric)) is not None]
        for organ in names
    }


def _draw_boxes(axes: Axes, values: Mapping[str, list[float]]) -> None:
    rng = np.random.default_rng(0)
    for row, found in enumerate(values.values()):
        axes.text(1.04, row, f"n = {len(found)}", va="center", fontsize=8, color="0.3")
        if not found:
            continue
        axes.boxplot(
            found,
            positions=[row],
            orientation="horizontal",
            widths=0.62,
            showfliers=False,
            manage_ticks=False,
            medianprops={"color": "black", "linewidth": 2},
            boxprops={"color": "0.3"},
            whiskerprops={"color": "0.3"},
            capprops={"color": "0.3"},
        )
        heights = row + rng.uniform(-_JITTER, _JITTER, len(found))
        axes.plot(
            found, heights, "o", color="0.15", alpha=0.45, markersize=3, markeredgewidth=0,
            clip_on=False,
        )  # fmt: skip
    axes.set_yticks(range(len(values)), list(values))
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.0)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.grid(axis="x", color="0.85", linewidth=0.6)
    axes.set_axisbelow(True)
