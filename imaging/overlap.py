"""Count voxels by label, and measure the overlap of two label maps."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

LABELS = 256
"""Values that a label may have."""
_CHUNK = 1 << 18
"""Voxels counted at a time: NumPy converts them to 64-bit integers, which must fit a cache."""

Labels = NDArray[np.uint8]
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]


def label_counts(labels: Labels) -> Counts:
    """Count the voxels of every label.

    Args:
        labels: uint8 of any shape; may be a view.

    Returns:
        int64 [256].
    """
    flat = np.ascontiguousarray(labels).reshape(-1)
    even = flat.size // 2 * 2
    pairs = flat[:even].view(np.uint16)  # two voxels at a time: half of the work
    table = _counted(pairs[i : i + _CHUNK] for i in range(0, pairs.size, _CHUNK))
    counts: Counts = table.sum(axis=0) + table.sum(axis=1)
    return counts + np.bincount(flat[even:], minlength=LABELS)


def labels_in(labels: Labels) -> tuple[int, ...]:
    """Return the labels but 0 that some voxel of `labels` (uint8, any shape) has, in order."""
    return tuple(label for label in np.flatnonzero(label_counts(labels)).tolist() if label)


def joint_counts(first: Labels, second: Labels) -> Counts:
    """Count every pair of labels in one pass.

    Args:
        first: uint8 of any shape.
        second: uint8 of the same shape.

    Returns:
        int64 [256, 256]; [a, b] is the number of voxels that are a in the first, b in the second.
    """
    a, b = first.reshape(-1), second.reshape(-1)
    return _counted(
        a[i : i + _CHUNK].astype(np.uint16) << 8 | b[i : i + _CHUNK]
        for i in range(0, a.size, _CHUNK)
    )


def _counted(chunks: Iterable[NDArray[np.integer]]) -> Counts:
    """Count pairs of labels, each one 16-bit number: int64 [256, 256]."""
    counts = np.zeros(LABELS * LABELS, np.int64)
    for pairs in chunks:
        counts += np.bincount(pairs, minlength=counts.size)
    return counts.reshape(LABELS, LABELS)


def dice_by_label(joint: Counts) -> NDArray[np.float64]:
    """Return each label's Sørensen-Dice coefficient, 2|A and B| / (|A| + |B|).

    Args:
        joint: int64 [n, n], as `joint_counts` returns it, or the rows and columns of the labels
            that count.

    Returns:
        float64 [n]; NaN where neither map has the label.
    """
    sizes = joint.sum(axis=0) + joint.sum(axis=1)
    found = np.full(sizes.shape, np.nan)
    np.divide(2 * joint.diagonal(), sizes, out=found, where=sizes > 0)
    return found


def dice(first: Mask, second: Mask) -> float:
    """Return the Sørensen-Dice coefficient of two masks of one shape, not both empty."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(first & second) / total
