"""Write training cases as an nnU-Net v2 raw dataset."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from inference.errors import KitError
from inference.files import make_folder, replacing
from inference.organs import ORGANS
from inference.volumes import write_volume
from train.anatomy import IGNORE
from train.fusion import read_flare_labels
from train.synthesis import LabelledCT

Drawn = Mapping[str, Sequence[int]]
"""Labels that the annotators of each case looked for."""


def write_dataset(cases: Iterable[LabelledCT], folder: Path, spacing_mm: float) -> int:
    """Write `cases` under `folder` (imagesTr, labelsTr) and, last, dataset.json.

    What was in these folders goes: nnU-Net trains on every file that it finds there. dataset.json
    comes last so that a dataset that has it is whole.

    Returns:
        The number of cases written.

    Raises:
        KitError: Two cases have one name, or a file cannot be written.
    """
    (folder / "dataset.json").unlink(missing_ok=True)
    for name in ("imagesTr", "labelsTr"):
        shutil.rmtree(folder / name, ignore_errors=True)
        make_folder(folder / name)
    written = set[str]()
    for case in cases:
        if case.name in written:
            raise KitError(f"two cases are called {case.name}; give their files different names")
        written.add(case.name)
        hu = np.rint(case.hu).astype(np.int16)
        write_volume(hu, (spacing_mm,) * 3, folder / "imagesTr" / f"{case.name}_0000.nii.gz")
        write_volume(case.labels, (spacing_mm,) * 3, folder / "labelsTr" / f"{case.name}.nii.gz")
    _describe(folder, len(written), ignore=True)
    return len(written)


def link_dataset(
    cases: Mapping[str, tuple[Path, Path]], folder: Path, drawn: Drawn | None = None
) -> None:
    """Lay out files that lie elsewhere as a raw dataset, by links.

    nnU-Net is told of "ignore" only where some voxel says so: it samples patches otherwise then.

    Args:
        cases: CT and label map of each case.
        folder: The dataset's; must not exist yet.
        drawn: Goes into dataset.json, for the trainer; None where its loss does not ask.

    Raises:
        KitError: A label map cannot be read, or holds other labels than FLARE's and "ignore".
    """
    ignore = False
    for place in ("imagesTr", "labelsTr"):
        make_folder(folder / place)
    for case, (image, labels) in sorted(cases.items()):
        ignore |= bool((read_flare_labels(labels).labels == IGNORE).any())
        (folder / "imagesTr" / f"{case}_0000.nii.gz").symlink_to(image.resolve())
        (folder / "labelsTr" / f"{case}.nii.gz").symlink_to(labels.resolve())
    _describe(folder, len(cases), ignore, drawn)


def _describe(folder: Path, count: int, ignore: bool, drawn: Drawn | None = None) -> None:
    """Write dataset.json."""
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **ORGANS, **({"ignore": IGNORE} if ignore else {})},
        "numTraining": count,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
        **({} if drawn is None else {"drawn": drawn}),
    }
    with replacing(folder / "dataset.json") as partial:
        partial.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
