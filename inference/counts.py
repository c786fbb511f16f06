"""Volumes of the labels that were found, and warnings about them."""

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import foreground_box
from imaging.overlap import label_counts
from inference.manifest import Manifest
from inference.postprocess import much_removed
from inference.report import CaseReport


def count_chosen(
    labels: NDArray[np.uint8],
    manifest: Manifest,
    organs: tuple[str, ...],
    voxel_ml: float,
    report: CaseReport,
) -> None:
    """Fill a report as `count` does, with the labels that a run keeps: `organs`, or all.

    Raises:
        ManifestError: The network has no such label.
    """
    sought = "requested organ" if organs else "organ"
    count(labels, manifest.chosen(organs), voxel_ml, report, sought)


def count(
    labels: NDArray[np.uint8],
    values: dict[str, int],
    voxel_ml: float,
    report: CaseReport,
    sought: str = "organ",
) -> None:
    """Fill a report with volumes and missing labels.

    Args:
        labels: uint8 [Z, Y, X].
        values: Label values by name; what component rules removed of others is left out.
        voxel_ml: Volume of a voxel in millilitres.
        report: Filled in.
        sought: What the labels are, for the warning that there is none.
    """
    report.volumes_ml = volumes_ml(labels, values, voxel_ml)
    report.removed_ml = {name: ml for name, ml in report.removed_ml.items() if name in values}
    report.empty = tuple(name for name, ml in report.volumes_ml.items() if not ml)
    report.warnings += much_removed(report.removed_ml, report.volumes_ml)
    if len(report.empty) == len(report.volumes_ml):
        report.warnings += (f"the label map is empty: no {sought} was found",)


def volumes_ml(
    labels: NDArray[np.uint8], values: dict[str, int], voxel_ml: float
) -> dict[str, float]:
    """Return the volume of each organ in millilitres."""
    box = foreground_box(labels)
    counts = label_counts(labels if box is None else labels[box])
    return {name: round(float(counts[value]) * voxel_ml, 3) for name, value in values.items()}
