"""STAPLE that starts from the sources' errors on held-out labelled cases.

STAPLE (Warfield et al. 2004, doi:10.1109/TMI.2004.828354) estimates each source's errors and the
labels together, from the maps of one case alone, so it believes sources that make the same errors.
Here the held-out cases take part in the estimate as further voxels whose label is known, so that a
case's own voxels only add to what was counted.
"""

import numpy as np
from numpy.typing import NDArray

from imaging.errors import KitError
from train.pseudo_labels.cuts import Counts
from train.pseudo_labels.fusion import Labels, same_shape
from train.pseudo_labels.reliability import CLASSES, WORDS, Evidence, likely

_LABELS = WORDS // 2
"""Labels that a source may give, "ignore" among them."""
_ROUNDS = 50
_SETTLED = 1e-4
"""Largest change of a probability after which the estimate is done."""


class KnownStaple:
    """STAPLE for sources that were counted on held-out cases."""

    def __init__(self, evidence: Evidence) -> None:
        """Take the sources' tables, edges and insides together."""
        tables = [evidence.of_source(n, evidence.true) for n in range(evidence.sources)]
        self._known = [table[:, :_LABELS] + table[:, _LABELS:] for table in tables]
        self._shares = evidence.shares()

    def apply(self, *maps: Labels) -> tuple[Labels, NDArray[np.float32]]:
        """Return the likeliest labels, and their probabilities.

        Args:
            maps: uint8 [Z, Y, X], in the order in which the sources were counted.

        Raises:
            GeometryError: The maps differ in shape.
            KitError: Another number of maps than of sources.
        """
        if len(maps) != len(self._known):
            raise KitError(f"{len(maps)} label maps, and the fusion is not of so many sources")
        same_shape(*maps)
        joint = np.zeros(maps[0].shape, np.int32)
        for labels in maps:
            joint = joint * _LABELS + labels
        table = self._estimate(np.bincount(joint.ravel(), minlength=_LABELS ** len(maps)))
        label = table.argmax(axis=0).astype(np.uint8)
        return label[joint], table.max(axis=0).astype(np.float32)[joint]

    def _estimate(self, voxels: NDArray[np.int64]) -> Counts:
        """Return what is true where the sources say this and that: float64 [CLASSES, joint].

        Args:
            voxels: How many of the case have each combination of labels.
        """
        posterior = likely(self._shares, self._known)
        axes = range(1, len(self._known) + 1)  # of each source, beside that of the classes
        for _ in range(_ROUNDS):
            expected = (posterior * voxels).reshape(CLASSES, *[_LABELS for _ in axes])
            tables = [
                known + expected.sum(axis=tuple(other for other in axes if other != axis))
                for axis, known in zip(axes, self._known, strict=True)
            ]
            before, posterior = posterior, likely(self._shares, tables)
            if np.abs(posterior - before).max() < _SETTLED:
                break
        return posterior
