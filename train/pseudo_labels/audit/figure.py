"""Plot every class's volumes against those of the labelled cases."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure

from imaging.organs import ORGANS
from train.pseudo_labels.audit.ranking import Normal, Ranked

_STYLE: dict[str, Any] = {
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "flare23",  # ids of the SVG's parts, else chosen at random
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_NAMED = 2
"""Outliers of a class that are named."""


def draw_volumes(ranked: Sequence[Ranked], normals: Mapping[str, Normal]) -> str:
    """Draw a row a class: what annotators drew as a bar and a line, the round's cases as points.

    Returns:
        SVG, the same for the same cases.
    """
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(9, 5.2), layout="constrained")
        axes = figure.subplots()
        for row, organ in enumerate(ORGANS):
            if ml := normals[organ].ml:
                axes.barh(row, ml[-1] - ml[0], left=ml[0], height=0.7, color="0.87", linewidth=0)
                axes.plot([normals[organ].median_ml] * 2, [row - 0.35, row + 0.35], color="0.4")
            named = 0
            for case in ranked:
                if (volume := case.measured.ml.get(organ)) is None:
                    continue
                odd = organ in case.outliers
                axes.plot(
                    volume, row, "o", color="#c04000" if odd else "0.2", markersize=5 if odd else 2
                )
                if odd and named < _NAMED:
                    named += 1
                    small = volume < normals[organ].median_ml
                    beside = (-5 if small else 5, 3 - 8 * (named % 2))
                    axes.annotate(
                        case.measured.case, (volume, row), xytext=beside,
                        textcoords="offset points", ha="right" if small else "left",
                        fontsize=7, color="#c04000",
                    )  # fmt: skip
        axes.set(xscale="log", xlabel="ml", yticks=range(len(ORGANS)), yticklabels=list(ORGANS))
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
