"""Which pieces of what a network says are too small to believe, by what held-out cases show.

A piece is a 26-connected component of one class. nnU-Net asks cross-validation whether all but the
largest shall go (`determine_postprocessing`); tumours are many, so here a volume decides.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import cc3d
import numpy as np
from numpy.typing import NDArray

from inference.geometry import foreground_box
from inference.manifest import ComponentRule
from inference.organs import ORGANS
from train.fusion import Labels
from train.reliability import CLASSES
from train.selection import RIGHT_SHARE


@dataclass
class Pieces:
    """What was found in held-out cases, by class from background to tumour."""

    volumes_ml: list[list[float]] = field(default_factory=lambda: [[] for _ in range(CLASSES)])
    right: list[list[bool]] = field(default_factory=lambda: [[] for _ in range(CLASSES)])
    """Whether half of its voxels or more are of its class."""

    def add(self, truth: Labels, pred: Labels, drawn: Collection[int], voxel_ml: float) -> None:
        """Look at one case's pieces of the classes that its annotators looked for.

        Args:
            truth: uint8 [Z, Y, X].
            pred: uint8 of the same shape.
            drawn: Classes that were looked for.
            voxel_ml: Volume of a voxel in millilitres.
        """
        said = np.where(np.isin(pred, list(drawn)), pred, np.uint8(0))
        box = foreground_box(said)
        if box is None:
            return
        said, truth = said[box], truth[box]
        numbers = cc3d.connected_components(np.pad(said, 1))[1:-1, 1:-1, 1:-1]
        voxels = np.bincount(numbers.ravel())
        hits = np.bincount(numbers[said == truth], minlength=voxels.size)
        label_of = np.zeros(voxels.size, np.uint8)
        label_of[numbers] = said
        for label, size, hit in zip(label_of[1:], voxels[1:], hits[1:], strict=True):
            self.volumes_ml[label].append(float(size * voxel_ml))
            self.right[label].append(bool(hit >= RIGHT_SHARE * size))


@dataclass(frozen=True)
class Chosen:
    """The volume chosen for one class, and what it does to the held-out cases' pieces."""

    min_ml: float
    """0: every piece stays."""
    right: int
    wrong: int
    right_dropped: int
    wrong_dropped: int


def least_ml(volumes_ml: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the volume under which pieces are dropped: most are then rightly kept or dropped.

    The least of several such volumes, in thousandths of a millilitre, and 0 where dropping none is
    as good. The largest right piece always stays, so no class is ruled out altogether.

    Args:
        volumes_ml: float64 [pieces].
        right: bool [pieces].
    """
    if not right.any():
        return 0.0
    largest = volumes_ml[right].max()
    distinct, place = np.unique(volumes_ml, return_inverse=True)
    gained = np.cumsum(np.bincount(place, weights=np.where(right, -1.0, 1.0)))
    gained = gained[distinct < largest]
    if not gained.size or gained.max() <= 0:
        return 0.0
    past = (np.rint(distinct[gained.argmax()] * 1000) + 1) / 1000
    return float(min(past, largest))


def choose(pieces: Pieces) -> dict[str, Chosen]:
    """Return the choice for every class that was found in a held-out case, by name."""
    found = {}
    for name, label in ORGANS.items():
        volumes, right = np.array(pieces.volumes_ml[label]), np.array(pieces.right[label], np.bool_)
        if volumes.size:
            limit = least_ml(volumes, right)
            gone = volumes < limit
            counts = (right, ~right, right & gone, ~right & gone)
            found[name] = Chosen(limit, *(int(which.sum()) for which in counts))
    return found


def rules_of(chosen: dict[str, Chosen]) -> tuple[ComponentRule, ...]:
    """Return what the manifest says: nothing of classes whose pieces all stay."""
    return tuple(
        ComponentRule(name, min_ml=one.min_ml) for name, one in chosen.items() if one.min_ml
    )
