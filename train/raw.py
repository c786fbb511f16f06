"""Write training cases as an nnU-Net v2 raw dataset."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from inference.files import replacing
from inference.organs import ORGANS
from train.synthesis import IGNORE, LabelledCT


def write_dataset(cases: Iterable[LabelledCT], folder: Path, spacing_mm: float) -> int:
    """Write `cases` under `folder` (imagesTr, labelsTr) and, last, dataset.json.

    dataset.json comes last so that a dataset that has it is whole.

    Returns:
        The number of cases written.
    """
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    count = 0
    for case in cases:
        hu = np.rint(case.hu).astype(np.int16)
        _write(hu, spacing_mm, folder / "imagesTr" / f"{case.name}_0000.nii.gz")
        _write(case.labels, spacing_mm, folder / "labelsTr" / f"{case.name}.nii.gz")
        count += 1
    _describe(folder, count)
    return count


def link_dataset(cases: Mapping[str, tuple[Path, Path]], folder: Path) -> None:
    """Lay out files that lie elsewhere as a raw dataset, by links.

    Args:
        cases: CT and label map of each case.
        folder: The dataset's; must not exist yet.
    """
    for part, suffix in ((0, "_0000.nii.gz"), (1, ".nii.gz")):
        place = folder / ("imagesTr", "labelsTr")[part]
        place.mkdir(parents=True)
        for case, files in sorted(cases.items()):
            (place / f"{case}{suffix}").symlink_to(files[part].resolve())
    _describe(folder, len(cases))


def _describe(folder: Path, count: int) -> None:
    """Write dataset.json."""
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **ORGANS, "ignore": IGNORE},
        "numTraining": count,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
    }
    with replacing(folder / "dataset.json") as partial:
        partial.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _write(array: NDArray[np.generic], spacing_mm: float, path: Path) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([spacing_mm] * 3)
    with replacing(path) as partial:
        sitk.WriteImage(image, str(partial), useCompression=True, compressionLevel=1)
