"""Figures of matplotlib as files: PNG, or SVG that is the same for the same data."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure

from imaging.files import replacing

_SVG_STYLE: dict[str, Any] = {
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "flare23",  # ids of the SVG's parts, else random
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def save_png(figure: Figure, path: Path, dpi: int) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises:
        KitError: The file cannot be written.
    """
    with replacing(path) as partial:
        figure.savefig(partial, dpi=dpi, format="png")


def svg_of(draw: Callable[[], Figure]) -> str:
    """Return the figure that `draw` makes as SVG, in the style of the kit's pages."""
    buffer = io.StringIO()
    with style.context(["default", _SVG_STYLE]):
        draw().savefig(buffer, format="svg", metadata=_NO_METADATA)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
