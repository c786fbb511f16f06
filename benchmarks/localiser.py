"""What the localiser's box leaves out, what it loses, and what finding it takes."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from timeit import repeat

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from imaging.fitted_tables import show_table
from imaging.geometry import Box, SpacingMm, foreground_box
from imaging.hounsfield import Hu
from imaging.label_maps import read_label_map
from imaging.machine import cpu_name
from imaging.records import write_json
from imaging.terminal import terminal
from imaging.volumes import read_volume
from inference.localiser import Localiser, open_localiser
from inference.manifest import Manifest, load_manifest
from inference.pipeline import SUFFIX
from inference.region import region
from inference.view import view_of
from train.synthesis.whole_body import whole_body

_REPEATS = 3


@dataclass(frozen=True)
class LabelledCt:
    """A CT in the network's axes, and where its organs are."""

    case: str
    labels_of: str
    """Folder of the label map, or "generated"."""
    hu: Hu
    labels: NDArray[np.uint8]
    spacing_mm: SpacingMm


@dataclass(frozen=True)
class BoxResult:
    """The organs' box of one CT."""

    case: str
    labels_of: str
    localiser: str
    """What it says."""
    certainty: float
    share_of_body: float
    """Volume of the box, as a share of that of the body's box."""
    least_share: float
    """The same of the smallest box around all labels."""
    lost_ml: float
    """Labelled volume outside of the box."""
    cpu_ms: float
    """Median of three after a first, one thread."""


def benchmark_localiser(
    images: Path, labels: Sequence[Path], manifest: Path, bodies: int, output: Path
) -> None:
    """Find the organs' box of labelled CTs and of generated bodies; print and write a table.

    Args:
        images: Folder of CTs.
        labels: Folders of label maps, <case>.nii.gz.
        manifest: Of a network with a localiser.
        bodies: How many bodies are generated.
        output: JSON file.

    Raises:
        KitError: A file cannot be read, or there is no localiser.
    """
    described = load_manifest(manifest)
    with open_localiser(described, threads=1) as localiser:
        cts = _labelled_cts(images, labels, described, bodies)
        rows = [_measured(localiser, ct) for ct in cts]
    show_table(_table(rows), terminal())
    spec = described.localiser
    table = {
        "cpu": cpu_name(),
        "localiser": None if spec is None else asdict(spec),
        "cases": [asdict(row) for row in rows],
    }
    write_json(table, output, indent=1)


def _labelled_cts(
    images: Path, labels: Sequence[Path], manifest: Manifest, bodies: int
) -> Iterator[LabelledCt]:
    for folder in labels:
        for path in sorted(folder.glob("*.nii.gz")):
            case = path.name.removesuffix(".nii.gz")
            view = view_of(read_volume(images / f"{case}{SUFFIX}"), manifest, "body")
            known = view.turn.apply(read_label_map(path).labels)
            yield LabelledCt(case, folder.name, view.hu, known, view.spacing_mm)
    for seed in range(bodies):
        hu, known = whole_body(seed)
        yield LabelledCt(f"body {seed}", "generated", hu, known, (4.0, 4.0, 4.0))


def _measured(localiser: Localiser, ct: LabelledCt) -> BoxResult:
    body = region("body", ct.hu, ct.spacing_mm, (1, 1, 1))
    find = partial(localiser.region, body, ct.hu, ct.spacing_mm, (1, 1, 1))
    found, spent_s = find(), repeat(find, timer=process_time, repeat=_REPEATS, number=1)
    total, inside = (int(np.count_nonzero(part)) for part in (ct.labels, ct.labels[found.box]))
    least = foreground_box(ct.labels)
    return BoxResult(
        ct.case,
        ct.labels_of,
        found.found or "",
        found.certainty or 0.0,
        round(_voxels(found.box) / _voxels(body.box), 3),
        round(_voxels(least) / _voxels(body.box), 3) if least else 0.0,
        round((total - inside) * float(np.prod(ct.spacing_mm)) / 1000, 3),
        round(1000 * median(spent_s), 1),
    )


def _voxels(box: Box) -> float:
    return float(np.prod([part.stop - part.start for part in box]))


def _table(rows: Sequence[BoxResult]) -> Table:
    table = Table("case", "labels", "says", title="The organs' box as a share of the body's")
    for column in ("certainty", "share", "least", "ml lost", "CPU ms"):
        table.add_column(column, justify="right")
    for row in rows:
        numbers = (f"{row.certainty:.2f}", f"{row.share_of_body:.2f}", f"{row.least_share:.2f}")
        table.add_row(
            row.case, row.labels_of, row.localiser, *numbers, f"{row.lost_ml:g}", f"{row.cpu_ms:g}"
        )
    return table
