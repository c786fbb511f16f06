"""Select which pieces of a pseudo label are kept, ignored or dropped.

A piece is a connected component of one class. It is judged by the mean probability of its voxels or
by the volume that is probably right, whichever separates right from wrong better in that class, and
by whether a patient can look like that. Scores and thresholds are chosen on labelled cases that no
network was trained on.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, generate_binary_structure

from imaging.axis import widened
from imaging.components import connected
from imaging.overlap import label_counts
from train.data.anatomy import IGNORE
from train.pseudo_labels.cuts import Counts, least_score
from train.pseudo_labels.fusion import Labels
from train.pseudo_labels.reliability import CLASSES, TUMOUR

RIGHT_SHARE = 0.5
"""Share of a component's voxels that must be of its class for it to count as right."""
TWIN_SHARE = 0.1
"""An organ's second component is odd from this share of its first on: there are no two livers."""
VOLUME_MARGIN = 1.5
"""How much smaller or larger than in every labelled case an organ may be."""
_TOUCHING = generate_binary_structure(3, 1)
SCORES = ("probability", "probable_ml")
"""What a component may be judged by: the mean probability of its voxels, or that times its volume.
Where sources are unsure of all tumours alike, the large ones are the true ones."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Component:
    """A connected piece of one class."""

    label: int
    place: tuple[slice, ...]
    """Its box."""
    mask: Mask
    """In its box."""
    probability: float
    """Mean of its voxels."""

    @property
    def voxels(self) -> int:
        """Its size."""
        return int(self.mask.sum())

    def score(self, kind: str, voxel_ml: float) -> float:
        """Return one of `SCORES`."""
        ml = self.voxels * voxel_ml if kind == "probable_ml" else 1.0
        return self.probability * ml


def components(
    labels: Labels, probability: NDArray[np.float32] | None = None
) -> Iterator[Component]:
    """Yield the 26-connected components of every organ and the tumour, those of a class by size.

    Args:
        labels: uint8 [Z, Y, X]; what is ignored belongs to no component.
        probability: float32 of the same shape; None: 1, because the labels stand for themselves.
    """
    organs = np.where(labels == IGNORE, np.uint8(0), labels)
    pieces = connected(organs)
    for number in np.argsort(-pieces.sizes[1:], kind="stable") + 1:
        place = pieces.box(number)
        mask = pieces.numbers[place] == number
        label = int(organs[place][mask][0])
        sure = 1.0 if probability is None else probability[place][mask].mean(dtype=np.float64)
        yield Component(label, place, mask, float(sure))


@dataclass
class Pieces:
    """Components of labelled cases, and which of them are right."""

    scores: list[list[tuple[float, ...]]] = field(
        default_factory=lambda: [[] for _ in range(CLASSES)]
    )
    """Each one's `SCORES`, by class."""
    right: list[list[bool]] = field(default_factory=lambda: [[] for _ in range(CLASSES)])
    volumes_ml: list[list[float]] = field(default_factory=lambda: [[] for _ in range(CLASSES)])
    """True volumes of the organs that are there."""

    def add(
        self, truth: Labels, found: Iterable[Component], annotated: Collection[int], voxel_ml: float
    ) -> None:
        """Count the components of classes that were annotated in one labelled case."""
        for piece in found:
            if piece.label in annotated:
                share = float((truth[piece.place][piece.mask] == piece.label).mean())
                self.scores[piece.label].append(tuple(piece.score(s, voxel_ml) for s in SCORES))
                self.right[piece.label].append(share >= RIGHT_SHARE)
        voxels = label_counts(truth)
        for label in annotated:
            if voxels[label]:
                self.volumes_ml[label].append(float(voxels[label] * voxel_ml))


@dataclass(frozen=True)
class Threshold:
    """What a component's score decides in one class."""

    score: str
    """Which of `SCORES`."""
    keep: float
    """At or above it a component is taught."""
    drop: float
    """Under it a component is given to what surrounds it; between the two it is ignored."""
    volume_ml: tuple[float, float]
    """Least and most of the class in a case; outside it the class is ignored there."""

    def decision(self, piece: Component, voxel_ml: float) -> str:
        """Return "keep", "ignore" or "drop"."""
        score = piece.score(self.score, voxel_ml)
        if score >= self.keep:
            return "keep"
        return "drop" if score < self.drop else "ignore"


Thresholds = tuple[Threshold, ...]
"""Of every class, from background to tumour."""


def thresholds_of(pieces: Pieces, precision: float) -> Thresholds:
    """Choose thresholds by the stated rule.

    Kept: the smallest score such that `precision` of the labelled cases' components at or above it
    are right. Of the scores, the one with which more right components are kept; the probability if
    as many are. Dropped: the largest such that as many of those under it are wrong. Both zero, so
    everything is kept, where a class has no component that could be judged.
    """
    chosen = []
    for scores, right, ml in zip(pieces.scores, pieces.right, pieces.volumes_ml, strict=True):
        good = np.array(right, np.float64)
        table = np.array(scores).reshape(-1, len(SCORES)).T
        least = [least_score(score, good, np.ones_like(good), precision) for score in table]
        kept = [good[score >= limit].sum() for score, limit in zip(table, least, strict=True)]
        best = int(np.argmax(kept))
        drop = min(least[best], _most_dropped(table[best], 1 - good, precision))
        low, high = (min(ml), max(ml)) if ml else (0.0, np.inf)
        allowed_ml = (low / VOLUME_MARGIN, high * VOLUME_MARGIN)
        chosen.append(Threshold(SCORES[best], least[best], drop, allowed_ml))
    return tuple(chosen)


def _most_dropped(scores: NDArray[np.float64], wrong: Counts, precision: float) -> float:
    """Return the mirror image of `least_score`: a value just above the last dropped score."""
    if precision <= 0 or not scores.size:
        return 0.0
    least = least_score(-scores, wrong, np.ones_like(wrong), precision)
    if np.isinf(least):
        return 0.0
    last = scores.max() if least == 0.0 else -least
    return float(np.nextafter(last, np.inf))


def selected(
    labels: Labels, found: Sequence[Component], thresholds: Thresholds, voxel_ml: float
) -> Labels:
    """Return the labels with components ignored or taken out as the thresholds say.

    Ignored are also a second piece of an organ that is not small against the first, a tumour that
    touches no organ, and a class whose volume is unlike every labelled case's.

    Args:
        labels: uint8 [Z, Y, X].
        found: Its components, largest first.
        thresholds: From held-out labelled cases.
        voxel_ml: Volume of a voxel.
    """
    result = labels.copy()
    largest: dict[int, Component] = {}
    kept = np.zeros(CLASSES)
    for piece in found:
        first = largest.setdefault(piece.label, piece)
        decision = thresholds[piece.label].decision(piece, voxel_ml)
        if decision == "drop":
            result[piece.place][piece.mask] = _surrounding(labels, piece)
        elif decision == "ignore" or is_odd(labels, piece, first):
            result[piece.place][piece.mask] = IGNORE
        else:
            kept[piece.label] += piece.voxels * voxel_ml
    for label, threshold in enumerate(thresholds):
        low, high = threshold.volume_ml
        if label and label != TUMOUR and kept[label] and not low <= kept[label] <= high:
            result[result == label] = IGNORE
    return result


def is_odd(labels: Labels, piece: Component, first: Component) -> bool:
    """Return whether no patient has such a piece.

    That is a tumour that nothing but background, or what is ignored, touches; or a second piece of
    an organ that is not small against the first. Of pieces that are equally large too: one of them
    is the first, the others are second ones.

    Args:
        labels: uint8 [Z, Y, X].
        piece: One of its components.
        first: The largest of the same class.
    """
    if piece.label == TUMOUR:
        around = _shell(labels, piece)
        return not np.any(around[around != IGNORE])
    return piece is not first and piece.voxels >= TWIN_SHARE * first.voxels


def _surrounding(labels: Labels, piece: Component) -> int:
    """Return the label that most of the touching voxels have."""
    around = _shell(labels, piece)
    return int(np.bincount(around).argmax()) if around.size else 0


def _shell(labels: Labels, piece: Component) -> Labels:
    """Return the labels of the voxels that touch a component by a face."""
    boxes = list(zip(piece.place, labels.shape, strict=True))
    wide = tuple(widened(box, 1, 1, size) for box, size in boxes)
    # One voxel more on each side, but for those where the volume ends.
    room = [(int(box.start > 0), int(box.stop < size)) for box, size in boxes]
    mask = np.pad(piece.mask, room)
    touching: Mask = binary_dilation(mask, _TOUCHING) & ~mask
    return labels[wide][touching]
