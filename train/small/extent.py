"""What a localiser learns from: organs without stray pieces, and scans that show none."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from imaging.components import connected
from imaging.organs import ORGANS
from train.small.compact import UNKNOWN, Bytes, PreparedCase, SoftLabels

TUMOUR = ORGANS["tumour"]
_GAP_MM = 15.0
"""Between the last slice with an organ and a scan that shows none."""
_LEAST_MM = 60.0
"""Length of such a scan."""


def cases_of_localiser(cases: Sequence[PreparedCase], stored_mm: float) -> list[PreparedCase]:
    """Return the cases without stray pieces, and their ends without an organ as further cases.

    The ends are called <case>_below and <case>_above: a scan of the pelvis, or of the neck.

    Args:
        cases: Prepared cases.
        stored_mm: Edge of their voxels.
    """
    tidy = [replace(case, labels=without_stray_pieces(case.labels)) for case in cases]
    return [*tidy, *(end for case in tidy for end in _ends(case, stored_mm))]


def without_stray_pieces(labels: SoftLabels) -> SoftLabels:
    """Return the labels with the largest piece of every organ; the others become background.

    A teacher finds a little of every organ in chest and pelvis, too. Tumours stay as they are, and
    so does what is unknown.
    """
    stray = np.zeros(labels.first.shape, np.bool_)
    for value in range(1, TUMOUR):
        pieces = connected(labels.first == value, 26)
        if pieces.count > 1:
            stray |= (pieces.numbers > 0) & (pieces.numbers != pieces.sizes.argmax())
    return SoftLabels(
        np.where(stray, np.uint8(0), labels.first),
        np.where(stray, np.uint8(0), labels.second),
        np.where(stray, np.uint8(255), labels.share),
    )


def _ends(case: PreparedCase, stored_mm: float) -> Iterator[PreparedCase]:
    """Yield the parts below and above all organs that are long enough to be a scan."""
    organ: Bytes = (case.labels.first > 0) & (case.labels.first != UNKNOWN)
    filled = np.flatnonzero(organ.any(axis=(1, 2)))
    gap, least = round(_GAP_MM / stored_mm), round(_LEAST_MM / stored_mm)
    if not filled.size:
        return
    below, above = slice(0, int(filled[0]) - gap), slice(int(filled[-1]) + 1 + gap, len(organ))
    for part, name in ((below, "below"), (above, "above")):
        if part.stop - part.start >= least:
            box = (part, slice(None), slice(None))
            yield PreparedCase(f"{case.name}_{name}", case.hu[box], case.labels[box])
