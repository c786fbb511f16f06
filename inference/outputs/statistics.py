"""Figures of every organ: volume, Hounsfield units, bounding box, pieces; one table for a run."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import inference
from imaging.components import connected
from imaging.geometry import Grid, foreground_box
from imaging.hounsfield import Hu
from imaging.records import write_json
from imaging.tables import write_csv
from inference.manifest import Manifest
from inference.outputs.names import STATISTICS_CSV, STATISTICS_JSON
from inference.outputs.segments import LabelledCase

PERCENTILES = (5, 25, 50, 75, 95)
SCHEMA = 1
Row = dict[str, Any]


class StatisticsTable:
    """The figures of a run's cases."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._cases: dict[str, dict[str, Row]] = {}

    def add(self, case: LabelledCase, outputs: Path) -> tuple[str, ...]:
        """Measure a case; `write` writes the files.

        Raises:
            KitError: The CT cannot be read again.
        """
        hu, grid = case.volume.hu, case.volume.grid
        self._cases[case.name] = {
            segment.name: {
                "label": segment.value,
                **organ_statistics(np.equal(case.labels, segment.value), hu, grid),
            }
            for segment in case.segments
        }
        return ()

    def write(self, outputs: Path) -> None:
        """Write organ_statistics.json and organ_statistics.csv, if there is a case.

        Raises:
            KitError: A file cannot be written.
        """
        if not self._cases:
            return
        table = {
            "schema": SCHEMA,
            "kit": inference.__version__,
            "manifest": self._manifest.name,
            "manifest_sha256": self._manifest.sha256,
            "cases": self._cases,
        }
        write_json(table, outputs / STATISTICS_JSON)
        rows = [
            {"case": name, "organ": organ, **_columns(row)}
            for name, organs in self._cases.items()
            for organ, row in organs.items()
        ]
        cells = (row.values() for row in rows)
        write_csv(outputs / STATISTICS_CSV, rows[0], cells, line_end="\n")


def organ_statistics(mask: NDArray[np.bool_], hu: Hu, grid: Grid) -> Row:
    """Measure one organ.

    Args:
        mask: bool [Z, Y, X].
        hu: The CT as stored, [Z, Y, X] in Hounsfield units.
        grid: Their voxels.

    Returns:
        `volume_ml`; `mean_hu`, `sd_hu` (of all voxels, not of a sample) and `percentiles_hu`;
        `box`, the first and last + 1 voxel along (Z, Y, X), and its `box_mm`; `pieces`,
        26-connected. All but volume and pieces are None where there is no voxel.
    """
    box = foreground_box(mask.view(np.uint8))
    if box is None:
        names = ("mean_hu", "sd_hu", "percentiles_hu", "box", "box_mm")
        return {"volume_ml": 0.0, **dict.fromkeys(names), "pieces": 0}
    inside = mask[box]
    values = hu[box][inside].astype(np.float64)
    shares = np.percentile(values, PERCENTILES)
    spans = zip(box, grid.spacing_mm, strict=True)
    return {
        "volume_ml": round(values.size * grid.voxel_ml, 3),
        "mean_hu": round(float(values.mean()), 2),
        "sd_hu": round(float(values.std()), 2),
        "percentiles_hu": {
            str(share): round(float(value), 2)
            for share, value in zip(PERCENTILES, shares, strict=True)
        },
        "box": [[part.start, part.stop] for part in box],
        "box_mm": [round((part.stop - part.start) * mm, 3) for part, mm in spans],
        "pieces": connected(inside).count,
    }


def _columns(row: Row) -> Row:
    """Return the columns of one organ in the CSV file; None where there is no figure."""
    shares = row["percentiles_hu"] or {}
    box, box_mm = row["box"] or [(None, None)] * 3, row["box_mm"] or [None] * 3
    return {
        **{name: row[name] for name in ("label", "volume_ml", "mean_hu", "sd_hu")},
        **{f"p{share}_hu": shares.get(str(share)) for share in PERCENTILES},
        **{
            f"box_{axis}_{end}": voxel
            for axis, ends in zip("zyx", box, strict=True)
            for end, voxel in zip(("first", "last_plus_1"), ends, strict=True)
        },
        **{f"box_{axis}_mm": mm for axis, mm in zip("zyx", box_mm, strict=True)},
        "pieces": row["pieces"],
    }
