"""Read what a page shows: a CT, its label map and perhaps the truth."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from imaging.errors import GeometryError
from imaging.geometry import Box, Grid, Orientation, foreground_box
from imaging.hounsfield import Hu
from imaging.label_maps import read_label_map
from imaging.organs import COLORS, ORGANS, OTHER_COLOR
from imaging.overlap import Labels, dice_by_label, joint_counts, label_counts
from imaging.volumes import place_in
from inference.ct import Source, case_name, opened_ct, read_ct
from inference.region import Cells, body_box
from inference.report import CaseReport

NAMES = ("prediction", "truth")
MARGIN_MM = 30.0
"""What is shown above and below the organs."""


@dataclass(frozen=True)
class Organ:
    """One row of the page's list."""

    label: int
    name: str
    color: tuple[int, int, int]
    """RGB in 0..255."""
    volumes_ml: tuple[float, ...]
    """Of each map."""
    dsc: float | None
    """Of the two maps; None where one of them has none of the organ, or there is one map."""


@dataclass(frozen=True)
class ViewedCase:
    """A CT and its label maps, axes to the patient's Right, Anterior, Superior."""

    name: str
    hu: NDArray[Any]
    """int16 or float32 [Z, Y, X]."""
    maps: dict[str, Labels]
    """uint8 [Z, Y, X], one or two, by name: "prediction" and "truth", or what a report compares."""
    grid: Grid
    turn: Orientation
    """From the file's axes to these."""
    box: Box
    """The part that is shown."""
    warnings: tuple[str, ...] = ()
    other_labels: Mapping[int, str] = field(default_factory=dict)
    """Names of labels that are not FLARE23's."""

    @property
    def organs(self) -> list[Organ]:
        """Return FLARE23's organs, and every other label that a map has."""
        counts = [label_counts(found) for found in self.maps.values()]
        dsc = self._dsc()
        names = {label: organ for organ, label in ORGANS.items()} | dict(self.other_labels)
        for label in np.flatnonzero(sum(counts)).tolist():
            names.setdefault(label, f"label {label}")
        return [
            Organ(
                label,
                organ,
                COLORS.get(label, OTHER_COLOR),
                tuple(float(found[label] * self.grid.voxel_ml) for found in counts),
                dsc[label] if all(found[label] for found in counts) else None,
            )
            for label, organ in names.items()
            if label and (label in COLORS or any(found[label] for found in counts))
        ]

    def _dsc(self) -> list[float | None]:
        if len(self.maps) < 2:
            return [None] * 256
        first, second = (np.ascontiguousarray(found) for found in self.maps.values())
        return cast(list[float | None], dice_by_label(joint_counts(first, second)).tolist())


def read_viewed(
    ct: Source,
    labels: Path,
    truth: Path | None = None,
    names: tuple[str, str] = NAMES,
    other_labels: Mapping[int, str] | None = None,
) -> ViewedCase:
    """Read a CT with one or two label maps.

    Args:
        ct: The CT, in any format that `predict` reads.
        labels: The map that is painted.
        truth: The map that it is compared with.
        names: What the page calls the two maps.
        other_labels: Names of labels that are not FLARE23's.

    Raises:
        KitError: A file cannot be read, or there are several CTs.
        GeometryError: A map does not lie on the CT's voxels.
    """
    with opened_ct(ct) as source:
        name_of_case = case_name(source)
        volume = read_ct(source, CaseReport(name_of_case))
    place, turn = place_in(ct.name, volume.header), Orientation.to("RAS", volume.direction)
    maps: dict[str, Labels] = {}
    for name, path in zip(names, (labels, truth), strict=True):
        if path is not None:
            found = read_label_map(path)
            if reason := found.elsewhere_than(place, volume.header.shape):
                raise GeometryError(f"{path.name}: {reason}; give a map of {ct.name}")
            maps[name] = turn.apply(found.labels)
    hu, grid = turn.apply(cast(NDArray[np.int16], volume.hu)), turn.grid(volume.grid)
    box = shown_box(hu, [*maps.values()], grid)
    return ViewedCase(name_of_case, hu, maps, grid, turn, box, volume.warnings, other_labels or {})


def shown_box(hu: Hu, maps: list[Labels], grid: Grid) -> Box:
    """Return the part worth showing: the organs with a margin above and below, the body around.

    Args:
        hu: [Z, Y, X].
        maps: uint8 [Z, Y, X]; where none has a label, the whole body is shown.
        grid: Their voxels.
    """
    whole: Box = cast(Box, tuple(slice(0, count) for count in grid.shape))
    body = body_box(Cells.of(hu, grid.spacing_mm)) or whole
    boxes = [box for found in maps if (box := foreground_box(found))]
    if not boxes:
        return body
    margin = round(MARGIN_MM / grid.spacing_mm[0])
    organs = _hull([box[0] for box in boxes])
    z = slice(max(0, organs.start - margin), min(grid.shape[0], organs.stop + margin))
    y, x = (_hull([box[axis] for box in (body, *boxes)]) for axis in (1, 2))
    return z, y, x


def _hull(parts: list[slice]) -> slice:
    return slice(min(part.start for part in parts), max(part.stop for part in parts))
