"""Pictures of a case where truth and prediction differ most."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from evaluation.boxes import foreground_box
from evaluation.scores import CaseScores
from evaluation.scoring import SUFFIX, read_map
from inference.errors import GeometryError
from inference.geometry import Orientation, nearest_rotation
from inference.organs import ORGANS
from inference.volumes import read_volume

WINDOW_HU = (-160.0, 240.0)
_ORGANS_SHOWN = 3
_MARGIN_MM = 20.0
_TRUTH, _PRED = "#ffffff", "#ffb000"
_DPI = 110
_OUTLINED = [patheffects.Stroke(linewidth=2.6, foreground="black"), patheffects.Normal()]
_NAMES = {label: organ for organ, label in ORGANS.items()}
_WIDTH_INCH, _LEAST_INCH, _MOST_INCH = 9.6, 2.6, 6.5
_LINE_SHARE, _REACH_SHARE = 0.055, 0.45
"""Height and width of a name as shares of a panel."""
_ROOM_INCH = 0.9
"""For titles and the legend."""


@dataclass(frozen=True)
class Folders:
    """Where the files of the cases are."""

    truth: Path
    pred: Path
    images: Path | None


@dataclass(frozen=True)
class Scene:
    """One case, axes to the patient's Superior, Posterior, Left."""

    gray: NDArray[np.float32]
    """float32 [Z, Y, X] in 0..1."""
    truth: NDArray[np.uint8]
    pred: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


def worst_organs(case: CaseScores) -> list[str]:
    """Return the organs that were scored worst, worst first; none where all is perfect."""
    scored = [(score.dsc, organ) for organ, score in case.labels.items() if score.dsc is not None]
    return [organ for dsc, organ in sorted(scored) if dsc < 1][:_ORGANS_SHOWN]


def picture(case: CaseScores, organs: list[str], folders: Folders) -> bytes:
    """Draw the three planes in which `organs` differ most, as PNG.

    Raises:
        KitError: A file cannot be read.
    """
    scene = _cropped(_scene(case.case, folders), organs)
    figure, panels = _panels(scene)
    shown = [ORGANS[organ] for organ in organs]
    wrong = np.isin(scene.truth, shown) | np.isin(scene.pred, shown)
    wrong &= scene.truth != scene.pred
    for axis, axes in enumerate(panels):
        others = tuple({0, 1, 2} - {axis})
        _draw(axes, scene, axis, int(wrong.sum(axis=others).argmax()), shown)
    lines = [Line2D([], [], color=_TRUTH, lw=1.6), Line2D([], [], color=_PRED, lw=1.6, ls="--")]
    legend = figure.legend(
        lines, ["truth", "prediction"], loc="outside lower center", ncols=2, fontsize=9
    )
    legend.get_frame().set_facecolor("0.25")
    for text in legend.get_texts():
        text.set_color("white")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _scene(case: str, folders: Folders) -> Scene:
    truth, pred = (
        read_map(folder / f"{case}{SUFFIX}", "official") for folder in (folders.truth, folders.pred)
    )
    turn = Orientation.to("LPS", nearest_rotation(truth.place.direction))
    if folders.images is None:
        gray = np.full(truth.labels.shape, 0.3, np.float32)
    else:
        volume = read_volume(folders.images / f"{case}_0000.nii.gz")
        if volume.header.shape != truth.header.shape:
            raise GeometryError(f"{case}: the CT has other voxels than the truth")
        low, high = WINDOW_HU
        gray = np.clip((volume.hu - np.float32(low)) / np.float32(high - low), 0, 1)
    parts: list[NDArray[Any]] = [turn.apply(part) for part in (gray, truth.labels, pred.labels)]
    spacing_mm = turn.grid(truth.grid).spacing_mm
    return Scene(parts[0].astype(np.float32, copy=False), parts[1], parts[2], spacing_mm)


def _cropped(scene: Scene, organs: list[str]) -> Scene:
    """Cut out what is around `organs`."""
    shown = [ORGANS[organ] for organ in organs]
    seen = np.isin(scene.truth, shown) | np.isin(scene.pred, shown)
    box = foreground_box(seen.view(np.uint8))
    if box is None:
        return scene
    margins = [round(_MARGIN_MM / mm) for mm in scene.spacing_mm]
    place = tuple(
        slice(max(0, side.start - margin), side.stop + margin)
        for side, margin in zip(box, margins, strict=True)
    )
    return Scene(scene.gray[place], scene.truth[place], scene.pred[place], scene.spacing_mm)


def _panels(scene: Scene) -> tuple[Figure, list[Axes]]:
    """Return a figure with an axial, a coronal and a sagittal panel of one scale."""
    z_mm, y_mm, x_mm = (n * mm for n, mm in zip(scene.gray.shape, scene.spacing_mm, strict=True))
    widths_mm = [x_mm, x_mm, y_mm]
    height = _WIDTH_INCH / sum(widths_mm) * max(y_mm, z_mm) + _ROOM_INCH
    size = (_WIDTH_INCH, float(min(max(height, _LEAST_INCH), _MOST_INCH)))
    figure = Figure(figsize=size, layout="constrained")
    return figure, list(figure.subplots(1, 3, width_ratios=widths_mm))


def _draw(axes: Axes, scene: Scene, axis: int, index: int, shown: list[int]) -> None:
    """Draw one slice in millimetres, superior up, the patient's right on the left."""
    name, left, right = (("axial", "R", "L"), ("coronal", "R", "L"), ("sagittal", "A", "P"))[axis]
    down = slice(None) if axis == 0 else slice(None, None, -1)
    parts: tuple[NDArray[Any], ...] = scene.gray, scene.truth, scene.pred
    gray, truth, pred = (part.take(index, axis)[down] for part in parts)
    row_mm, column_mm = (mm for a, mm in enumerate(scene.spacing_mm) if a != axis)
    height_mm, width_mm = gray.shape[0] * row_mm, gray.shape[1] * column_mm
    axes.imshow(gray, cmap="gray", vmin=0, vmax=1, extent=(0, width_mm, height_mm, 0))
    columns = (np.arange(gray.shape[1]) + 0.5) * column_mm
    rows = (np.arange(gray.shape[0]) + 0.5) * row_mm
    for labels, color, style in ((truth, _TRUTH, "solid"), (pred, _PRED, "dashed")):
        for label in shown:
            inside = labels == label
            if inside.any() and min(inside.shape) > 1:
                axes.contour(
                    columns, rows, inside, levels=[0.5], colors=color, linestyles=style,
                    linewidths=1.4,
                ).set_path_effects(_OUTLINED)  # fmt: skip
    present = [(label, (truth == label) | (pred == label)) for label in shown]
    _write_names(axes, present, (row_mm, column_mm), (height_mm, width_mm))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"{left}    {name}    {right}", fontsize=9)


def _write_names(
    axes: Axes,
    organs: list[tuple[int, NDArray[np.bool_]]],
    spacing_mm: tuple[float, float],
    size_mm: tuple[float, float],
) -> None:
    """Write every organ's name under its outlines, and under a name that is there already."""
    places = []
    for label, inside in organs:
        rows, columns = np.nonzero(inside)
        if rows.size:
            under = (rows.max() + 1.5) * spacing_mm[0], columns.mean() * spacing_mm[1]
            places.append((*under, label))
    written: list[tuple[float, float]] = []
    line_mm, reach_mm = size_mm[0] * _LINE_SHARE, size_mm[1] * _REACH_SHARE
    for row_mm, column_mm, label in sorted(places):
        taken = [y for y, x in written if abs(x - column_mm) < reach_mm]
        at_mm = max([row_mm, *(y + line_mm for y in taken)])
        written.append((at_mm, column_mm))
        axes.text(
            column_mm, at_mm, _NAMES[label], color="white", fontsize=7, ha="center", va="top",
            path_effects=_OUTLINED, clip_on=True,
        )  # fmt: skip
