"""Read label maps of several collections as anatomies on one isotropic grid."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.axis import center
from imaging.errors import VolumeError
from imaging.overlap import labels_in

# Take the nearest rotation where a direction is not orthonormal, as the kit's own reading does.
os.environ.setdefault("ITK_NIFTI_SFORM_PERMISSIVE", "1")

Labels = NDArray[np.uint8]

IGNORE = 15
"""nnU-Net's ignore label: one above the last of FLARE's fourteen."""

ADRENALS = 20  # both glands under one id (WORD); split at the patient's midline on reading
BOWEL = 21  # colon, intestine, rectum: tissue that is annotated but is no FLARE organ
BLADDER = 22
BONE = 23


@dataclass(frozen=True)
class Anatomy:
    """A label map on an isotropic grid, axes (Z, Y, X) going to Superior, Posterior, Left."""

    labels: Labels
    annotated: tuple[int, ...]
    """Ids that the annotators drew; any other id is unknown here, not absent."""


# What each collection's ids mean in FLARE ids, from the collections' own lists.
WORD_IDS = {
    1: 1, 2: 3, 3: 13, 4: 2, 5: 11, 6: 9, 7: 10, 8: 4, 9: 12, 10: BOWEL, 11: BOWEL,
    12: ADRENALS, 13: BOWEL, 14: BLADDER, 15: BONE, 16: BONE,
}  # fmt: skip
AMOS_IDS = {
    1: 3, 2: 2, 3: 13, 4: 9, 5: 10, 6: 1, 7: 11, 8: 5, 9: 6, 10: 4, 11: 7, 12: 8, 13: 12,
    14: BLADDER, 15: BLADDER,
}  # fmt: skip
FLARE_IDS = {label: label for label in range(1, 15)}
IDS = {"word": WORD_IDS, "amos": AMOS_IDS, "flare": FLARE_IDS}


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
        ids: Name of its id list, a key of `IDS`.
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
    for source, target in IDS[ids].items():
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
