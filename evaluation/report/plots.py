"""Plots of the report, as SVG that is the same for the same scores."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.scores import CaseScores
from inference.organs import ORGANS

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "flare23",  # ids of the SVG's parts, else drawn at random
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_JITTER = 0.14


def organ_boxes(cases: Sequence[CaseScores]) -> str:
    """Draw DSC and NSD of every organ over the cases: boxes, every case a point. Returns SVG."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 5.4), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, metric in zip(panels, ("dsc", "nsd"), strict=True):
            _draw_boxes(axes, _values(cases, metric), metric.upper())
        panels[0].set_yticks(range(len(ORGANS)), list(ORGANS))
        panels[0].invert_yaxis()
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _values(cases: Sequence[CaseScores], metric: str) -> dict[str, list[float]]:
    return {
        organ: [
            value
            for case in cases
            if organ in case.labels
            if (value := getattr(case.labels[organ], metric)) is not None
        ]
        for organ in ORGANS
    }


def _draw_boxes(axes: Axes, values: Mapping[str, list[float]], title: str) -> None:
    rng = np.random.default_rng(0)
    for row, found in enumerate(values.values()):
        if not found:
            axes.text(0.01, row, "no case", va="center", color="0.35")
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
        axes.plot(found, heights, "o", color="0.15", alpha=0.45, markersize=3, markeredgewidth=0)
        axes.text(1.03, row, f"n = {len(found)}", va="center", fontsize=7, color="0.3")
    axes.set_xlim(-0.02, 1.0)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.grid(axis="x", color="0.85", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
