"""The standard patient of the generated CT: solids and tissues in patient.toml, and the rest."""

from pathlib import Path
from typing import Any

from imaging.records import read_table, to_record
from train.synthesis.solids import Solid, SolidEllipsoid, Tube


def _solid(row: dict[str, Any], part: str) -> Solid:
    """Return one solid of a part: a tube if it has knots."""
    if "knots" in row:
        return to_record(row, Tube, part)
    return to_record(row, SolidEllipsoid, part)


def _solids(table: dict[str, list[dict[str, Any]]]) -> dict[str, tuple[Solid, ...]]:
    return {part: tuple(_solid(row, part) for row in rows) for part, rows in table.items()}


_TABLE, _ = read_table(Path(__file__).with_name("patient.toml"), "standard patient")
ORGANS_IN_CAVITY = _solids(_TABLE["organs_in_cavity"])
"""Later ones win where two overlap; all end at the abdominal wall and the diaphragm."""
ORGANS_ACROSS_DIAPHRAGM = _solids(_TABLE["organs_across_diaphragm"])
SURROUNDINGS = _solids(_TABLE["surroundings"])
MEAN_HU: dict[str, tuple[float, float, float]] = _TABLE["mean_hu"]
"""Of every tissue: without contrast, in the portal venous and in the late arterial phase."""

BODY_RADII = (115.0, 165.0)
"""Half depth and half width of the trunk."""
BOWEL_REGION = SolidEllipsoid((-98, -24, 4), (60, 52, 90))
"""Where loops of the small bowel are placed at random."""
RIB_PITCH_MM = 27.0
RIB_HEIGHT_MM = 9.0
LOWEST_RIB_MM = -36.0
DISC_PITCH_MM = 33.0
DISC_HEIGHT_MM = 8.0
