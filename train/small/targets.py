"""Merge real labels and two external sources into one target with unknown voxels."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.organs import ORGANS
from imaging.overlap import labels_in
from train.small.compact import UNKNOWN, SoftLabels

STOMACH, DUODENUM = ORGANS["stomach"], ORGANS["duodenum"]
LIVER, TUMOUR = ORGANS["liver"], ORGANS["tumour"]
_RIM_MM = 5.0
"""Around a lesion that the second source found: its border is uncertain."""
_ODD_HU = 22.0
"""A part of the liver that differs as much from its median may be a lesion that nobody labelled."""
_CLOSED_MM = 12.0
"""A teacher that knows no tumours leaves holes in the liver; so wide ones are closed."""

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def with_truth(soft: SoftLabels, truth: Bytes, duodenum_in_stomach: bool = False) -> SoftLabels:
    """Let real labels win, as the paper's `add_tumor.py` does.

    An organ that was annotated in this case is where it was annotated and nowhere else; the other
    organs are the teacher's.

    Args:
        soft: The teacher's.
        truth: uint8 [Z, Y, X], 0 where nothing is annotated.
        duodenum_in_stomach: The experts annotated both under the stomach's id; the teacher's
            duodenum then stays within it.
    """
    labels = truth.copy()
    if duodenum_in_stomach:
        labels[(truth == STOMACH) & (soft.first == DUODENUM)] = DUODENUM
    annotated = labels_in(labels)
    first = np.where(np.isin(soft.first, annotated), np.uint8(0), soft.first)
    second = np.where(np.isin(soft.second, annotated), np.uint8(0), soft.second)
    known = labels > 0
    share = np.where(known, np.uint8(255), soft.share)
    return SoftLabels(
        np.where(known, labels, first), np.where(known, labels, second), share.astype(np.uint8)
    )


def with_lesions(
    soft: SoftLabels, hu: NDArray[np.float32], lesions: Mask, spacing_mm: float
) -> SoftLabels:
    """Add the lesions that the second source found in a liver; its silence teaches nothing.

    Unknown become: a rim around each lesion; what is odd in the liver, by its HU; and what lies
    within the closed liver and is no organ.

    Args:
        soft: The first source's.
        hu: The CT.
        lesions: Where the second source says lesion.
        spacing_mm: Edge of a voxel.
    """
    liver: Mask = soft.first == LIVER
    whole = closed_liver(liver, spacing_mm)
    level = np.median(hu[liver]) if liver.any() else 0.0
    calm = ndimage.gaussian_filter(np.where(whole, hu, level), 1.2)
    odd = whole & (np.abs(calm - level) > _ODD_HU)
    hole = whole & (soft.first == 0)
    near = (
        ndimage.distance_transform_edt(~lesions) * spacing_mm <= _RIM_MM
        if lesions.any()
        else lesions
    )
    free = (soft.first == 0) | liver
    first = np.where((odd | hole | near) & free, np.uint8(UNKNOWN), soft.first)
    taught = lesions & ((soft.first == 0) | liver)
    first = np.where(taught, np.uint8(TUMOUR), first)
    second = np.where(taught, np.uint8(TUMOUR), soft.second)
    share = np.where(taught, np.uint8(255), soft.share)
    return SoftLabels(first.astype(np.uint8), second.astype(np.uint8), share.astype(np.uint8))


def closed_liver(liver: Mask, spacing_mm: float) -> Mask:
    """Return the liver with holes filled and gaps closed."""
    reach = max(1, round(_CLOSED_MM / spacing_mm))
    padded = np.pad(liver, reach)
    grown = ndimage.distance_transform_edt(~padded) <= reach
    closed = ndimage.distance_transform_edt(grown) > reach
    inner = tuple(slice(reach, -reach) for _ in range(3))
    filled: Mask = ndimage.binary_fill_holes(closed[inner] | liver)
    return filled
