"""`inference outside`: count labelled voxels outside of the region of interest."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from imaging.errors import VolumeError
from imaging.fitted_tables import number_column, show_table
from imaging.label_maps import read_label_map
from imaging.overlap import label_counts
from imaging.records import write_json
from imaging.terminal import terminal
from imaging.volumes import Volume, place_in
from inference.ct import read_one
from inference.manifest import Manifest
from inference.view import View, view_of


def outside_on_screen(
    ct: Path, truth: Path, manifest: Manifest, crop: str, output: Path | None
) -> int:
    """Count voxels of `truth` outside of the region of interest of `ct`; print and write a table.

    Args:
        ct: The CT, in any format that `predict` reads.
        truth: The label map.
        manifest: The network.
        crop: The region of interest, as in a manifest.
        output: JSON file.

    Returns:
        The number of those voxels.

    Raises:
        KitError: The CT, the truth or the localiser cannot be used.
    """
    volume, known = read_one(ct), read_label_map(truth)
    if problem := known.elsewhere_than(place_in(ct.name, volume.header), volume.grid.shape):
        raise VolumeError(f"{truth.name} does not lie on {ct.name}: {problem}")
    view = _view(volume, manifest, crop)
    box = view.region.box
    seen = view.turn.apply(known.labels)[box]
    organs = organs_outside(known.labels, seen, volume.grid.voxel_ml, manifest.labels)
    lost_ml = round(sum(row["outside_ml"] for row in organs.values()), 3)
    share = seen.size / known.labels.size
    says = "" if view.region.found is None else f", the localiser says: {view.region.found}"
    title = f"{ct.name}: region of interest is {share:.0%}{says}; {lost_ml:g} ml lost"
    show_table(_table(title, organs), terminal())
    if output is not None:
        region = [(part.start, part.stop) for part in box]
        summary = {"case": ct.name, "crop": crop, "region": region, "share": share}
        found = {"localiser": view.region.found, "certainty": view.region.certainty}
        write_json({**summary, **found, "lost_ml": lost_ml, "organs": organs}, output, indent=2)
    return int(sum(row["outside"] for row in organs.values()))


def organs_outside(
    labels: NDArray[np.uint8], seen: NDArray[np.uint8], voxel_ml: float, names: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Count each organ's voxels, and those that are not seen.

    Args:
        labels: uint8 of any shape; 0 is background.
        seen: The part of `labels` in the region of interest.
        voxel_ml: Volume of a voxel in millilitres.
        names: Values by name.

    Returns:
        "voxels", "outside" and "outside_ml" of each label that `labels` has, by name.
    """
    total, inside = label_counts(labels), label_counts(seen)
    known = {value: name for name, value in names.items()}
    outside = {value: int(total[value] - inside[value]) for value in np.flatnonzero(total).tolist()}
    return {
        known.get(value, f"label {value}"): {
            "voxels": int(total[value]),
            "outside": count,
            "outside_ml": round(count * voxel_ml, 3),
        }
        for value, count in outside.items()
        if value
    }


def _view(volume: Volume, manifest: Manifest, crop: str) -> View:
    if crop != "organs":
        return view_of(volume, manifest, crop)
    from inference.localiser import open_localiser

    with open_localiser(manifest, threads=0) as localiser:
        return view_of(volume, manifest, crop, localiser)


def _table(title: str, organs: dict[str, dict[str, float]]) -> Table:
    numbers = map(number_column, ("voxels", "outside", "outside, ml"))
    table = Table("organ", *numbers, title=title)
    for name, row in organs.items():
        lost = f"{row['outside_ml']:,.3f}"
        table.add_row(name, f"{row['voxels']:,}", f"{row['outside']:,}", lost)
    return table
