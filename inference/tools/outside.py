"""`inference outside`: count labelled voxels outside of the region of interest."""

from pathlib import Path

import numpy as np
from rich.table import Table

from imaging.errors import VolumeError
from imaging.fitted_tables import show_table
from imaging.label_maps import read_label_map
from imaging.overlap import label_counts
from imaging.records import write_json
from imaging.terminal import terminal
from imaging.volumes import read_place, read_volume
from inference.manifest import Manifest
from inference.view import view_of


def outside_on_screen(
    ct: Path, truth: Path, manifest: Manifest, crop: str, output: Path | None
) -> int:
    """Count voxels of `truth` outside of the region of interest of `ct`; print and write a table.

    Returns:
        The number of those voxels.

    Raises:
        KitError: The CT or the truth cannot be used.
    """
    volume, known = read_volume(ct), read_label_map(truth)
    if problem := known.elsewhere_than(read_place(ct), volume.grid.shape):
        raise VolumeError(f"{truth.name} does not lie on {ct.name}: {problem}")
    view = view_of(volume, manifest, crop)
    box = view.region.box
    seen = view.turn.apply(known.labels)[box]
    total, inside = label_counts(known.labels), label_counts(seen)
    names = {value: name for name, value in manifest.labels.items()}
    organs = {
        names.get(value, f"label {value}"): {
            "voxels": int(total[value]),
            "outside": int(total[value] - inside[value]),
        }
        for value in map(int, np.flatnonzero(total))
        if value
    }
    share = seen.size / known.labels.size
    show_table(_table(f"{ct.name}: region of interest is {share:.0%}", organs), terminal())
    if output is not None:
        region = [(part.start, part.stop) for part in box]
        summary = {"case": ct.name, "crop": crop, "region": region, "share": share}
        write_json({**summary, "organs": organs}, output, indent=2)
    return sum(row["outside"] for row in organs.values())


def _table(title: str, organs: dict[str, dict[str, int]]) -> Table:
    table = Table("organ", title=title)
    table.add_column("voxels", justify="right")
    table.add_column("outside", justify="right")
    for name, row in organs.items():
        table.add_row(name, f"{row['voxels']:,}", f"{row['outside']:,}")
    return table
