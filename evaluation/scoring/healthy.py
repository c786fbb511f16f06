"""Tumours that are predicted where there are none: pieces and millilitres, scan by scan.

The DSC of such a scan is 0 whether one voxel is wrong or a litre, and the official rules give 1 to
each that is left alone; neither says how often a healthy patient is frightened.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.profiles.profile import Profile
from evaluation.scoring.scores import CaseScores, FalseTumour, HealthyScans
from imaging.components import connected
from imaging.organs import TUMOUR


def false_tumour(
    truth: NDArray[np.uint8], pred: NDArray[np.uint8], voxel_ml: float, profile: Profile
) -> FalseTumour | None:
    """Return what is predicted as tumour in a scan without one.

    Args:
        truth: uint8 [Z, Y, X] with the profile's labels.
        pred: uint8 of the same shape.
        voxel_ml: Volume of a voxel.
        profile: Whose labels these are.

    Returns:
        26-connected pieces and their volume; None where the truth has a tumour, or the profile no
        such label.
    """
    label = profile.labels.get(TUMOUR)
    if label is None or (truth == label).any():
        return None
    pieces = connected(pred == label)
    return FalseTumour(pieces.count, float(pieces.sizes[1:].sum() * voxel_ml))


def healthy_scans(cases: Sequence[CaseScores]) -> HealthyScans | None:
    """Sum up the scans without a tumour; None where there are none."""
    found = [case.false_tumour for case in cases if case.labels and case.false_tumour is not None]
    if not found:
        return None
    return HealthyScans(
        scans=len(found),
        with_tumour=sum(one.pieces > 0 for one in found),
        pieces=sum(one.pieces for one in found),
        ml=float(sum(one.ml for one in found)),
        most_ml=max(one.ml for one in found),
    )


def healthy_line(healthy: HealthyScans | None) -> str:
    """Say it in one line."""
    if healthy is None:
        return "Scans without a tumour: none, as far as it was annotated."
    share = healthy.with_tumour / healthy.scans
    found = f"predicted in {healthy.with_tumour} ({share:.1%})"
    line = f"Scans without a tumour: {healthy.scans}; {found}"
    if not healthy.with_tumour:
        return f"{line}."
    volume = f"{healthy.ml:.1f} ml, at most {healthy.most_ml:.1f} ml a scan"
    return f"{line}: pieces {healthy.pieces}, {volume}."
