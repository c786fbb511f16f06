"""A picture of a label map over its CT: three planes, contours, legend.

Radiological convention: the patient's right is on the left of the picture, superior is up. Every
plane has one scale in millimetres, so proportions are right whatever the voxel size.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from imaging.errors import GeometryError, KitError
from imaging.files import KIT, replacing
from imaging.geometry import Grid, Orientation, SpacingMm
from imaging.label_maps import read_label_map
from imaging.organs import COLORS, ORGANS
from imaging.overlap import label_counts
from imaging.volumes import Volume, read_place, read_volume

Picture = NDArray[np.uint8]
Hounsfield = NDArray[np.int16] | NDArray[np.float32]
Labels = NDArray[np.uint8]

WINDOW_HU = (-160.0, 240.0)
"""Level 40, width 400: soft tissue."""
VIEWS = (("axial", ("R", "L")), ("coronal", ("R", "L")), ("sagittal", ("A", "P")))
"""Name, and letters at the left and right edge, of a slice across axis 0, 1, 2."""
_WIDTH_PX, _HEIGHT_PX = 640, 1000
"""Largest extent of a plane; the scale is as fine as both allow."""
_LINE_PX = 2
_GAP_PX = 12
_TEXT_PX = 15
_ROW_PX = 22
_TITLE_PX = 34
_LEGEND_PX = 270
_OTHER_COLOR = (200, 200, 200)
_BRIGHT, _DIM, _DARK = (235, 235, 235), (120, 120, 120), (16, 16, 18)


@dataclass(frozen=True)
class Plane:
    """One slice of the picture: rows downwards, columns to the right."""

    title: str
    sides: tuple[str, str]
    """Letters at the left and right edge."""
    hu: Hounsfield
    labels: Labels
    spacing_mm: tuple[float, float]
    """Distance of rows and of columns."""


def overlay_png(ct: Path, labels: Path, out: Path) -> tuple[str, ...]:
    """Draw the map in file `labels` over the file `ct` into the PNG file `out`.

    Returns:
        Warnings about the CT.

    Raises:
        VolumeError: A file cannot be read.
        GeometryError: The map does not lie on the CT's voxels.
        KitError: The picture cannot be written.
    """
    volume = read_volume(ct)
    found = read_label_map(labels)
    if reason := found.elsewhere_than(read_place(ct), volume.header.shape):
        raise GeometryError(f"{labels.name}: {reason}; give the map of this CT")
    if out.suffix.lower() != ".png":
        raise KitError(f"{out.name}: pictures are written as PNG; name it .png")
    case = labels.name.removesuffix(".gz").removesuffix(".nii")
    write_overlay(volume, found.labels, case, out)
    return volume.warnings


def write_overlay(
    volume: Volume, labels: Labels, case: str, out: Path, organs: dict[str, int] = ORGANS
) -> None:
    """Draw `labels` (uint8 [Z, Y, X]) over their CT into the PNG file `out`.

    Args:
        volume: The CT as stored.
        labels: On its voxels.
        case: Goes into the title.
        out: The file.
        organs: Values by name, for the legend.

    Raises:
        KitError: The picture cannot be written.
    """
    turn = Orientation.to("LPS", volume.direction)
    hu = cast(Hounsfield, turn.apply(volume.hu))
    turned = np.asarray(turn.apply(labels), np.uint8)
    picture = overlay(hu, turned, turn.grid(volume.grid), case, organs)
    made_by = PngInfo()
    made_by.add_text("Software", KIT)
    with replacing(out) as partial:
        Image.fromarray(picture).save(partial, format="PNG", pnginfo=made_by)


def overlay(
    hu: Hounsfield, labels: Labels, grid: Grid, case: str, organs: dict[str, int] = ORGANS
) -> Picture:
    """Draw the three planes that show the most organs.

    Args:
        hu: int16 or float32 [Z, Y, X] in Hounsfield units, axes to Superior, Posterior, Left.
        labels: uint8 [Z, Y, X].
        grid: Their voxels.
        case: Goes into the title.
        organs: Values by name: those of the legend, beside what else is labelled.

    Returns:
        uint8 [rows, columns, RGB].
    """
    planes = planes_of(hu, labels, grid)
    _, y_mm, x_mm = (n * mm for n, mm in zip(grid.shape, grid.spacing_mm, strict=True))
    z_mm = grid.shape[0] * grid.spacing_mm[0]
    px_mm = max(x_mm / _WIDTH_PX, y_mm / _WIDTH_PX, z_mm / _HEIGHT_PX)
    images = [_draw_plane(plane, px_mm) for plane in planes]
    counts = label_counts(labels)
    known = np.isin(np.arange(counts.size), list(organs.values()))
    wanted_px = _ROW_PX * (1 + np.count_nonzero(counts[1:] | known[1:]))
    height = _TITLE_PX + max(*(image.height for image in images), int(wanted_px)) + _GAP_PX
    width = sum(image.width + _GAP_PX for image in images) + _GAP_PX + _LEGEND_PX
    canvas = Image.new("RGB", (width, height), _DARK)
    draw = ImageDraw.Draw(canvas)
    sizes = " x ".join(map(str, grid.shape[::-1]))
    spacing = " x ".join(f"{mm:.3g}" for mm in grid.spacing_mm[::-1])
    draw.text((_GAP_PX, 9), f"{case}   {sizes} voxels of {spacing} mm", _BRIGHT, _font())
    left = _GAP_PX
    for image in images:
        canvas.paste(image, (left, _TITLE_PX))
        left += image.width + _GAP_PX
    _draw_legend(draw, left, (counts * grid.voxel_ml).astype(np.float64), organs)
    return np.asarray(canvas)


def planes_of(hu: Hounsfield, labels: Labels, grid: Grid) -> tuple[Plane, Plane, Plane]:
    """Return the axial, coronal and sagittal plane that show the most organs."""
    planes = []
    for axis, (name, sides) in enumerate(VIEWS):
        index = busiest_slice(labels, axis)
        title, spacing_mm = f"{name} {index}", cut_mm(grid.spacing_mm, axis)
        plane = Plane(title, sides, cut(hu, axis, index), cut(labels, axis, index), spacing_mm)
        planes.append(plane)
    return planes[0], planes[1], planes[2]


def cut(volume: NDArray[Any], axis: int, index: int) -> NDArray[Any]:
    """Return a slice of the picture: rows downwards, columns to the right.

    Args:
        volume: [Z, Y, X], axes to Superior, Posterior, Left.
        axis: The axis that the slice is across.
        index: Its place there.
    """
    plane: NDArray[Any] = np.moveaxis(volume, axis, 0)[index]
    return plane if axis == 0 else plane[::-1]


def cut_mm(spacing_mm: SpacingMm, axis: int) -> tuple[float, float]:
    """Return the distance of rows and of columns in a slice across `axis`."""
    row_mm, column_mm = (mm for other, mm in enumerate(spacing_mm) if other != axis)
    return row_mm, column_mm


def busiest_slice(labels: Labels, axis: int) -> int:
    """Return the slice with the most different labels, then the most labelled voxels.

    The middle slice where there is no label at all.
    """
    rows = np.moveaxis(labels, axis, 0)
    counts = np.stack([label_counts(row)[1:] for row in rows])
    if not counts.any():
        return len(rows) // 2
    kinds, areas = np.count_nonzero(counts, axis=1), counts.sum(axis=1)
    return int(np.lexsort((areas, kinds))[-1])


def edges(labels: Labels) -> NDArray[np.bool_]:
    """Return the labelled pixels [rows, columns] that touch another label: a line on the inside."""
    padded = np.pad(labels, 1, mode="edge")
    middle = padded[1:-1, 1:-1]
    differs = np.zeros(labels.shape, dtype=np.bool_)
    for near in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        differs |= near != middle
    return differs & (labels > 0)


def _draw_plane(plane: Plane, px_mm: float) -> Image.Image:
    rows, columns = plane.labels.shape
    size = (
        max(1, round(columns * plane.spacing_mm[1] / px_mm)),
        max(1, round(rows * plane.spacing_mm[0] / px_mm)),
    )
    low, high = WINDOW_HU
    grey = ((plane.hu - low) / (high - low)).clip(0, 1) * 255
    image = Image.fromarray(grey.round().astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    labels = np.asarray(
        Image.fromarray(np.ascontiguousarray(plane.labels)).resize(size, Image.Resampling.NEAREST)
    )
    pixels = np.repeat(np.asarray(image)[:, :, np.newaxis], 3, axis=2)
    rest = labels
    for _ in range(_LINE_PX):
        line = edges(rest)
        pixels[line] = _colors()[labels[line]]
        rest = np.where(line, 0, rest).astype(np.uint8)
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    middle = size[1] / 2
    for at, text, anchor in (
        ((6.0, 4.0), plane.title, "la"),
        ((6.0, middle), plane.sides[0], "lm"),
        ((size[0] - 6.0, middle), plane.sides[1], "rm"),
    ):
        draw.text(at, text, _BRIGHT, _font(), anchor, stroke_width=2, stroke_fill=_DARK)
    return image


def _draw_legend(
    draw: ImageDraw.ImageDraw, left: int, volumes_ml: NDArray[np.float64], organs: dict[str, int]
) -> None:
    names = {value: name for name, value in organs.items()}
    shown = np.flatnonzero((volumes_ml > 0) | np.isin(np.arange(volumes_ml.size), list(names)))
    for row, label in enumerate(label for label in shown.tolist() if label):
        top = _TITLE_PX + row * _ROW_PX
        color = COLORS.get(label, _OTHER_COLOR)
        ink = _BRIGHT if volumes_ml[label] else _DIM
        draw.rectangle((left, top + 3, left + 13, top + 16), color if volumes_ml[label] else _DARK)
        draw.text((left + 22, top), names.get(label, f"label {label}"), ink, _font())
        volume = f"{volumes_ml[label]:.1f} ml"
        draw.text((left + _LEGEND_PX - _GAP_PX, top), volume, ink, _font(), anchor="ra")


def _colors() -> NDArray[np.uint8]:
    table = np.full((256, 3), _OTHER_COLOR, dtype=np.uint8)
    for label, color in COLORS.items():
        table[label] = color
    return table


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT_PX)
