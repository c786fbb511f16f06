"""What is to be seen of a case: the surroundings of the organs that were scored worst."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.scoring.boxes import box_in_any, hull, label_boxes
from evaluation.scoring.folders import SUFFIX, read_map
from evaluation.scoring.scores import CaseScores
from evaluation.scoring.surfaces import Mask
from imaging.errors import GeometryError, KitError
from imaging.geometry import Box, Orientation, Shape, SpacingMm, nearest_rotation
from imaging.label_maps import LabelMap
from imaging.organs import ORGANS
from imaging.volumes import read_place, read_volume
from inference.tools.show import WINDOW_HU

Place = tuple[int, int, int]

ORGANS_SHOWN = 3
_MARGIN_MM = 30.0
_BACKGROUND, _DARKEST, _LIGHTEST = 0.1, 0.3, 0.6
"""Shades where there is no CT."""


@dataclass(frozen=True)
class Folders:
    """Where the files of the cases are."""

    truth: Path
    pred: Path
    images: Path | None


@dataclass(frozen=True)
class Scene:
    """A box of one case, axes to the patient's Superior, Posterior, Left."""

    gray: NDArray[np.float32]
    """float32 [Z, Y, X] from 0 to 1: the CT in a soft-tissue window, or the truth in shades."""
    truth: NDArray[np.uint8]
    pred: NDArray[np.uint8]
    spacing_mm: SpacingMm
    place: Place
    """The voxel of the box where the worst organ is most wrong."""
    stored: Place
    """The same voxel in the truth's file."""
    organs: dict[str, int]
    """Labels of the worst organs near the planes through `place`, worst first."""
    remark: str | None
    """Why there is no CT though it was requested."""


def worst_organs(case: CaseScores) -> tuple[str, ...]:
    """Return the organs with the lowest DSC, lowest first; none where all is perfect."""
    scored = ((score.dsc, organ) for organ, score in case.labels.items())
    wrong = [(dsc, organ) for dsc, organ in scored if dsc is not None and dsc < 1]
    return tuple(organ for _, organ in sorted(wrong, key=lambda row: row[0])[:ORGANS_SHOWN])


def read_scene(
    case: CaseScores, folders: Folders, rules: str, labels: Mapping[str, int] = ORGANS
) -> Scene:
    """Read what is around the worst organs of a case.

    Args:
        case: One that has scores.
        folders: Where its files are.
        rules: By which it was scored: its files are read by the same.
        labels: Of all organs.

    Raises:
        KitError: A label map cannot be read, or there is nothing to see.
    """
    truth, pred = (
        read_map(folder / f"{case.case}{SUFFIX}", rules) for folder in (folders.truth, folders.pred)
    )
    reason = pred.elsewhere_than(truth.place, truth.header.shape)
    if reason and (rules == "fixed" or pred.header.shape != truth.header.shape):
        raise GeometryError(f"{case.case}{SUFFIX}: {reason}")
    turn = Orientation.to("LPS", nearest_rotation(truth.place.direction))
    grid = turn.grid(truth.grid)
    maps: list[NDArray[Any]] = [turn.apply(found.labels) for found in (truth, pred)]
    boxes = _boxes(maps, {organ: labels[organ] for organ in worst_organs(case)})
    if not boxes:
        raise GeometryError(f"{case.case}: neither map has any of its worst organs")
    worst, box = next(iter(boxes.items()))
    masks = [found[box] == labels[worst] for found in maps]
    place = _moved(most_wrong_place(masks[0], masks[1], grid.spacing_mm), box, 1)
    near = {organ: found for organ, found in boxes.items() if _meets(found, place)}
    around = _widened(list(near.values()), grid.spacing_mm)
    hu, remark = _hounsfield(truth, case.case, folders.images)
    shown, wrong = (np.ascontiguousarray(found[around]) for found in maps)
    return Scene(
        gray=_shades(shown) if hu is None else _windowed(turn.apply(hu)[around]),
        truth=shown,
        pred=wrong,
        spacing_mm=grid.spacing_mm,
        place=_moved(place, around, -1),
        stored=_stored(place, turn, grid.shape),
        organs={organ: labels[organ] for organ in near},
        remark=remark,
    )


def most_wrong_place(truth: Mask, pred: Mask, spacing_mm: SpacingMm) -> Place:
    """Return the voxel [Z, Y, X] where two masks differ most.

    It is the deepest point of the difference in the axial slice that has most of it. Where they do
    not differ: the same of the truth itself.
    """
    wrong = truth ^ pred
    if not wrong.any():
        wrong = truth
    z = int(np.count_nonzero(wrong, axis=(1, 2)).argmax())
    depth_mm = ndimage.distance_transform_edt(np.pad(wrong[z], 1), sampling=spacing_mm[1:])
    y, x = np.unravel_index(int(depth_mm.argmax()), depth_mm.shape)
    return z, int(y) - 1, int(x) - 1


def _boxes(maps: list[NDArray[Any]], organs: Mapping[str, int]) -> dict[str, Box]:
    """Return the box of each organ that one of the maps has."""
    found = [label_boxes(labels, max(organs.values(), default=0)) for labels in maps]
    boxes = {organ: box_in_any(label, *found) for organ, label in organs.items()}
    return {organ: box for organ, box in boxes.items() if box is not None}


def _meets(box: Box, place: Place) -> bool:
    """Tell whether one of the planes through `place` may cut the box."""
    return any(side.start <= index < side.stop for side, index in zip(box, place, strict=True))


def _widened(boxes: list[Box], spacing_mm: SpacingMm) -> Box:
    """Return the box around `boxes`, with a margin that may reach beyond the array's end."""
    margins = [round(_MARGIN_MM / mm) for mm in spacing_mm]
    z, y, x = (
        slice(max(0, side.start - margin), side.stop + margin)
        for side, margin in zip(hull(*boxes), margins, strict=True)
    )
    return z, y, x


def _moved(place: Place, box: Box, sign: int) -> Place:
    """Count a place inside `box` from the array's corner (1), or the other way round (-1)."""
    z, y, x = (index + sign * side.start for index, side in zip(place, box, strict=True))
    return z, y, x


def _stored(place: Place, turn: Orientation, shape: Shape) -> Place:
    """Return where a voxel of a turned array of `shape` is in the stored one."""
    found = [0, 0, 0]
    for axis, flipped, index, count in zip(turn.order, turn.flipped, place, shape, strict=True):
        found[axis] = count - 1 - index if flipped else index
    return found[0], found[1], found[2]


def _hounsfield(
    truth: LabelMap, case: str, images: Path | None
) -> tuple[NDArray[Any] | None, str | None]:
    """Return the case's CT, or why there is none; neither where nobody gave CTs."""
    if images is None:
        return None, None
    path = images / f"{case}_0000.nii.gz"
    try:
        volume = read_volume(path)
        reason = truth.elsewhere_than(read_place(path), volume.header.shape)
    except KitError as error:
        return None, str(error)
    return (None, f"{path.name}: not this truth's CT: {reason}") if reason else (volume.hu, None)


def _windowed(hu: NDArray[Any]) -> NDArray[np.float32]:
    low, high = WINDOW_HU
    return ((hu.astype(np.float32) - low) / (high - low)).clip(0, 1)


def _shades(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Paint labels in shades that differ between neighbours in the list of organs."""
    shades = np.full(256, _BACKGROUND, np.float32)
    count = len(ORGANS)
    shades[1 : count + 1] = np.linspace(_DARKEST, _LIGHTEST, count)[np.arange(count) * 5 % count]
    return shades[labels]
