"""Read label maps of several collections as anatomies on one isotropic grid."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.axis import center
from imaging.errors import VolumeError
from imaging.organs import ORGANS
from imaging.overlap import labels_in
from imaging.records import read_table

# Take the nearest rotation where a direction is not orthonormal, as the kit's own reading does.
os.environ.setdefault("ITK_NIFTI_SFORM_PERMISSIVE", "1")

Labels = NDArray[np.uint8]

IGNORE = 15
"""nnU-Net's ignore label: one above the last of FLARE's fourteen."""

# Tissue that is annotated, but is no FLARE organ. Bowel: colon, intestine, rectum. WORD has both
# adrenal glands under one id: they are split at the patient's midline on reading.
ADRENALS, BOWEL, BLADDER, BONE = range(20, 24)
_IDS_BY_NAME = ORGANS | {
    "adrenal glands": ADRENALS, "bowel": BOWEL, "bladder": BLADDER, "bone": BONE
}  # fmt: skip


@dataclass(frozen=True)
class Anatomy:
    """A label map on an isotropic grid, axes (Z, Y, X) going to Superior, Posterior, Left."""

    labels: Labels
    annotated: tuple[int, ...]
    """Ids that the annotators drew; any other id is unknown here, not absent."""


def label_ids(collection: str) -> dict[int, int]:
    """Return what a collection's ids mean in FLARE's: "flare", or a table of label_ids.toml."""
    if collection == "flare":
        return {label: label for label in ORGANS.values()}
    tables, _ = read_table(Path(__file__).with_name("label_ids.toml"), "label ids")
    return {int(label): _IDS_BY_NAME[name] for label, name in tables[collection].items()}


def oriented_grid(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Return an empty LPS image at `spacing_mm` that covers the box of `image`."""
    image = sitk.DICOMOrient(image, "LPS")
    lengths_mm = np.multiply(image.GetSize(), image.GetSpacing())
    size = [max(1, round(length / spacing_mm)) for length in lengths_mm.tolist()]
    offset = [center(0, spacing_mm / s) for s in image.GetSpacing()]
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([spacing_mm] * 3)
    grid.SetDirection(image.GetDirection())
    grid.SetOrigin(image.TransformContinuousIndexToPhysicalPoint(offset))
    return grid


def read_anatomy(path: Path, ids: str, spacing_mm: float) -> Anatomy:
    """Read a label map, translate its ids to FLARE's and put it on the LPS grid of `spacing_mm`.

    Args:
        path: NIfTI or NRRD label map.
        ids: Name of its collection, for `label_ids`.
        spacing_mm: Edge of a voxel of the result.

    Raises:
        VolumeError: The file cannot be read.
    """
    try:
        image = sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkUInt8)
    except RuntimeError as error:
        raise VolumeError(f"{path}: not a readable label map; check the file") from error
    native: Labels = sitk.GetArrayFromImage(
        sitk.Resample(
            sitk.DICOMOrient(image, "LPS"),
            oriented_grid(image, spacing_mm),
            sitk.Transform(),
            sitk.sitkNearestNeighbor,
        )
    )
    table = np.zeros(256, dtype=np.uint8)
    for source, target in label_ids(ids).items():
        table[source] = target
    labels = split_adrenals(table[native])
    return Anatomy(labels, labels_in(labels))


def split_adrenals(labels: Labels) -> Labels:
    """Give the glands under `ADRENALS` FLARE's ids: 7 right and 8 left of the kidneys' midline.

    X grows to the patient's left, so the right gland has the smaller index.
    """
    glands = labels == ADRENALS
    kidneys = np.flatnonzero(np.isin(labels, (2, 13)).any(axis=(0, 1)))
    middle = kidneys.mean() if kidneys.size else labels.shape[2] / 2
    left = np.arange(labels.shape[2]) >= middle
    return np.where(glands, np.where(left, 8, 7).astype(np.uint8), labels)
