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
from imaging.hounsfield import Hu
from imaging.label_maps import read_label_map
from imaging.organs import COLORS, ORGANS, OTHER_COLOR
from imaging.overlap import Labels, label_counts
from imaging.volumes import Volume, place_in
from inference.ct import read_one

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
_COLOR_OF = np.array([COLORS.get(label, OTHER_COLOR) for label in range(256)], np.uint8)
_BRIGHT, _DIM, _DARK = (235, 235, 235), (120, 120, 120), (16, 16, 18)


@dataclass(frozen=True)
class Plane:
    """One slice of the picture: rows downwards, columns to the right."""

    title: str
    sides: tuple[str, str]
    """Letters at the left and right edge."""
    hu: Hu
    labels: Labels
    spacing_mm: tuple[float, float]
    """Distance of rows and of columns."""


def overlay_png(ct: Path, labels: Path, out: Path) -> tuple[str, ...]:
    """Draw the map in file `labels` over a CT into the PNG file `out`.

    Args:
        ct: The CT, in any format that `predict` reads.
        labels: The map.
        out: The picture.

    Returns:
        Warnings about the CT.

    Raises:
        KitError: A file cannot be read, or there are several CTs.
        GeometryError: The map does not lie on the CT's voxels.
        KitError: The picture cannot be written.
    """
    volume = read_one(ct)
    found = read_label_map(labels)
    if reason := found.elsewhere_than(place_in(ct.name, volume.header), volume.header.shape):
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
    hu = cast(Hu, turn.apply(volume.hu))
    picture = overlay(hu, turn.apply(labels), turn.grid(volume.grid), case, organs)
    made_by = PngInfo()
    made_by.add_text("Software", KIT)
    with replacing(out) as partial:
        Image.fromarray(picture).save(partial, format="PNG", pnginfo=made_by)


def overlay(
    hu: Hu, labels: Labels, grid: Grid, case: str, organs: dict[str, int] = ORGANS
) -> NDArray[np.uint8]:
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
    z_mm, y_mm, x_mm = (n * mm for n, mm in zip(grid.shape, grid.spacing_mm, strict=True))
    px_mm = max(x_mm / _WIDTH_PX, y_mm / _WIDTH_PX, z_mm / _HEIGHT_PX)
    images = [_draw_plane(plane, px_mm) for plane in planes_of(hu, labels, grid)]
    volumes_ml = (label_counts(labels) * grid.voxel_ml).tolist()
    names = {label: f"label {label}" for label, ml in enumerate(volumes_ml) if label and ml}
    names |= {label: name for name, label in organs.items()}
    rows = [(label, names[label], volumes_ml[label]) for label in sorted(names)]
    legend_px = _ROW_PX * (1 + len(rows))
    height = _TITLE_PX + max(*(image.height for image in images), legend_px) + _GAP_PX
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
    _draw_legend(draw, left, rows)
    return np.asarray(canvas)


def planes_of(hu: Hu, labels: Labels, grid: Grid) -> list[Plane]:
    """Return the axial, coronal and sagittal plane that show the most organs."""
    planes = []
    for axis, (name, sides) in enumerate(VIEWS):
        index = busiest_slice(labels, axis)
        parts = cut(hu, axis, index), cut(labels, axis, index)
        planes.append(Plane(f"{name} {index}", sides, *parts, cut_mm(grid.spacing_mm, axis)))
    return planes


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
        pixels[line] = _COLOR_OF[labels[line]]
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


def _draw_legend(draw: ImageDraw.ImageDraw, left: int, rows: list[tuple[int, str, float]]) -> None:
    """Draw a row of each label, its name and its volume in millilitres."""
    for row, (label, name, ml) in enumerate(rows):
        top = _TITLE_PX + row * _ROW_PX
        color, ink = (COLORS.get(label, OTHER_COLOR), _BRIGHT) if ml else (_DARK, _DIM)
        draw.rectangle((left, top + 3, left + 13, top + 16), color)
        draw.text((left + 22, top), name, ink, _font())
        draw.text((left + _LEGEND_PX - _GAP_PX, top), f"{ml:.1f} ml", ink, _font(), anchor="ra")


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT_PX)
