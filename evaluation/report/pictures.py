"""Pictures of a case where truth and prediction differ most: three planes of one scale."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib import patheffects, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageColor

from evaluation.report.scene import Scene
from imaging.axis import from_corner
from imaging.components import connected
from inference.tools.show import VIEWS, cut, cut_mm

TRUTH_COLOR, PRED_COLOR = "#ffffff", "#ffb000"
_OUTLINES = ((TRUTH_COLOR, "solid"), (PRED_COLOR, (0, (3.6, 2.2))))
"""Of the truth and of the prediction: two shades, and one is dashed, so that grey tells them."""
_WIDTH_PX, _HEIGHT_PX, _MOST_PX_MM = 1040, 460, 5.0
"""Room for the three planes beside each other, and the finest scale."""
_DPI = 100
_TEXT_PX, _LETTER_PX, _LINE_PX = 11, 6.4, 14
_GREYS, _SHADES = 200, 56
"""Colours of a picture: greys, and shades of the prediction's."""
_LEAST_HUE = 24
"""How much more red than blue no grey has."""
_BARS_MM = (1, 2, 5, 10, 20, 50, 100)
_BAR_SHARE = 0.4
"""The scale bar is the longest that takes no more of any picture's width."""
_OUTLINED = [patheffects.Stroke(linewidth=2.6, foreground="black"), patheffects.Normal()]


@dataclass(frozen=True)
class Picture:
    """One plane."""

    name: str
    sides: tuple[str, str]
    """Letters at its left and right edge."""
    png: bytes
    width_px: int
    height_px: int
    bar_mm: int
    """Length of the scale bar."""
    bar_percent: float
    """The same as a part of the picture's width."""


def draw_planes(scene: Scene) -> list[Picture]:
    """Draw the axial, coronal and sagittal plane through the scene's place.

    Superior is up, the patient's right on the left; a pixel is as many millimetres in all three.
    """
    z_mm, y_mm, x_mm = (n * mm for n, mm in zip(scene.gray.shape, scene.spacing_mm, strict=True))
    px_mm = min(_WIDTH_PX / (2 * x_mm + y_mm), _HEIGHT_PX / max(y_mm, z_mm), _MOST_PX_MM)
    fitting = [mm for mm in _BARS_MM if mm <= _BAR_SHARE * min(x_mm, y_mm)]
    with style.context("default"):
        return [_picture(scene, axis, px_mm, max(fitting, default=1)) for axis in range(3)]


def _picture(scene: Scene, axis: int, px_mm: float, bar_mm: int) -> Picture:
    index = scene.place[axis]
    gray, truth, pred = (cut(part, axis, index) for part in (scene.gray, scene.truth, scene.pred))
    row_px, column_px = (mm * px_mm for mm in cut_mm(scene.spacing_mm, axis))
    width, height = (
        max(1, round(count * px))
        for count, px in zip(gray.shape[::-1], (column_px, row_px), strict=True)
    )
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(
        gray, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="bilinear",
        extent=(0, width, height, 0),
    )  # fmt: skip
    masks = [(organ, truth == label, pred == label) for organ, label in scene.organs.items()]
    for _, *pair in masks:
        for mask, (color, dashes) in zip(pair, _OUTLINES, strict=True):
            _outline(axes, mask, (row_px, column_px), color, dashes)
    seen = [(organ, a | b) for organ, a, b in masks if a.any() or b.any()]
    for organ, x, y in name_places(seen, (row_px, column_px), (width, height)):
        axes.text(
            x, y, organ, color="white", fontsize=_TEXT_PX * 72 / _DPI, ha="center", va="top",
            path_effects=_OUTLINED,
        )  # fmt: skip
    axes.set(xlim=(0, width), ylim=(height, 0))
    name, sides = VIEWS[axis]
    percent = round(100 * bar_mm * px_mm / width, 2)
    return Picture(name, sides, _png(figure), width, height, bar_mm, percent)


def _outline(
    axes: Axes, mask: NDArray[np.bool_], size_px: tuple[float, float], color: str, dashes: object
) -> None:
    """Draw the line around what is inside, closed at the picture's edge too."""
    if not mask.any():
        return
    rows, columns = (
        from_corner(np.arange(-1.0, count + 1), px)
        for count, px in zip(mask.shape, size_px, strict=True)
    )
    line = axes.contour(
        columns, rows, np.pad(mask, 1), levels=[0.5], colors=color, linestyles=[dashes],
        linewidths=1.4,
    )  # fmt: skip
    line.set_path_effects(_OUTLINED)


def name_places(
    organs: list[tuple[str, NDArray[np.bool_]]],
    size_px: tuple[float, float],
    picture_px: tuple[int, int],
) -> Iterator[tuple[str, float, float]]:
    """Yield each organ with the place of its name: under its largest part and over no other name.

    Args:
        organs: Names and bool [rows, columns]; none is empty.
        size_px: Height and width of a voxel in the picture.
        picture_px: Width and height of the picture.

    Yields:
        The name, the middle of its upper edge in pixels from the left and from the top.
    """
    width, height = picture_px
    wanted = []
    for organ, mask in organs:
        parts = connected(mask, 4)
        rows, columns = np.nonzero(parts.numbers == parts.sizes.argmax())
        half = len(organ) * _LETTER_PX / 2
        x = from_corner(float(columns.mean()), size_px[1])
        x = float(np.clip(x, half, max(half, width - half)))
        wanted.append((float(rows.max() + 1.2) * size_px[0], x, half, organ))
    written: list[tuple[float, float, float]] = []
    for y, x, half, organ in sorted(wanted):
        taken = [at for at, middle, reach in written if abs(x - middle) < half + reach]
        rows_px = sorted(range(height - _LINE_PX + 1), key=lambda at: abs(at - y)) or [0]
        free = (at for at in rows_px if all(abs(at - other) >= _LINE_PX for other in taken))
        written.append((next(free, rows_px[0]), x, half))
        yield organ, x, written[-1][0]


def _png(figure: Figure) -> bytes:
    """Return the figure as a PNG of 256 colours, which takes a third of the bytes.

    The colours are greys and shades of the prediction's; a palette that is chosen by their
    frequency may lose a thin line's.
    """
    painted, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(painted, format="png", dpi=_DPI)
    red, green, blue = np.moveaxis(np.asarray(Image.open(painted).convert("RGB"), np.int16), 2, 0)
    colored = red - blue > _LEAST_HUE
    greys, shades = green * (_GREYS - 1) / 255, _GREYS + red * (_SHADES - 1) / 255
    image = Image.fromarray(np.where(colored, shades, greys).round().astype(np.uint8))
    image.putpalette(_palette())
    image.save(packed, format="PNG", optimize=True)
    return packed.getvalue()


def _palette() -> bytes:
    """Return the RGB of the 256 colours."""
    greys = np.linspace(0, 255, _GREYS)[:, np.newaxis].repeat(3, axis=1)
    shades = np.linspace(0, 1, _SHADES)[:, np.newaxis] * ImageColor.getrgb(PRED_COLOR)
    return np.concatenate([greys, shades]).round().astype(np.uint8).tobytes()
