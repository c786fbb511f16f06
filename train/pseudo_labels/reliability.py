"""Fuse label maps by the reliability of each source, learnt on held-out labelled cases.

A source gives each voxel a class and one more bit: whether the voxel is at the edge of that class,
because networks are right inside an organ more often than at its surface. For a network that
writes its confidence, the bit says whether it is unsure instead. Labelled cases are used to count
how often each class is true for every combination of what the sources give. Where a combination is
rare, the sources are assumed to be independent (Dawid and Skene's model, with tables that are
counted instead of estimated along with the labels). A source that never learnt a class gives
"background" everywhere, so it has no weight for that class.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.errors import KitError
from imaging.organs import ORGANS
from imaging.words import number_of
from train.data.anatomy import IGNORE
from train.pseudo_labels.cuts import Counts, best_cut
from train.pseudo_labels.fusion import ORGAN_LABELS, Labels, same_shape

CLASSES = max(ORGANS.values()) + 1
"""Background and FLARE's fourteen."""
WORDS = 32
"""What a source can say: 16 labels with "ignore", inside and at the edge, or sure and unsure."""
TUMOUR = ORGANS["tumour"]
MOST_SOURCES = 4
_BELIEF = 20.0
"""Voxels that the assumption of independence weighs as much as."""
UnsureMasks = Sequence[NDArray[np.bool_] | None]
"""Where each source is unsure: bool [Z, Y, X]; None: at edges. Empty: at edges, all of them."""


def words(labels: Labels, unsure: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Return what a source says: the label, plus 16 where it is unsure.

    Where nothing is known of that, where one of the six neighbours has another label.

    Raises:
        KitError: A label is none of FLARE's nor "ignore": its word would be another label's.
    """
    if (highest := int(labels.max(initial=0))) > IGNORE:
        raise KitError(f"label {highest} has no word; FLARE's end at 14, and {IGNORE} is ignored")
    if unsure is not None:
        return labels + np.uint8(WORDS // 2) * unsure
    edge = np.zeros(labels.shape, np.bool_)
    for axis in range(labels.ndim):
        moved = np.moveaxis(labels, axis, 0)
        differs = moved[1:] != moved[:-1]
        view = np.moveaxis(edge, axis, 0)
        view[1:] |= differs
        view[:-1] |= differs
    return labels + np.uint8(WORDS // 2) * edge


def joint_words(maps: Sequence[Labels], unsure: UnsureMasks = ()) -> NDArray[np.int32]:
    """Return one number for what all sources say of a voxel: int32, five bits a source.

    Raises:
        GeometryError: The maps differ in shape.
        KitError: There is none, or more than `MOST_SOURCES`, or a label is not FLARE's.
        ValueError: `unsure` is of another number of sources.
    """
    if not 1 <= len(maps) <= MOST_SOURCES:
        raise KitError(
            f"{number_of(len(maps), 'source')}; fusion by reliability takes 1 to {MOST_SOURCES}"
        )
    same_shape(*maps)
    joint = np.zeros(maps[0].shape, np.int32)
    for labels, mask in zip(maps, unsure or [None] * len(maps), strict=True):
        joint = joint * WORDS + words(labels, mask)
    return joint


class Evidence:
    """Counts of what was true, by what the sources gave."""

    def __init__(self, sources: int) -> None:
        """Start with nothing."""
        self.sources = sources
        self.true: Counts = np.zeros((CLASSES, WORDS**sources))
        """Voxels of a class, by what the sources called them."""
        self.seen: Counts = np.zeros((CLASSES, WORDS**sources))
        """Voxels of which it is known whether they are of a class; but for the tumour's own row no
        tumours, which most annotators of organs call by the organ's name."""

    def add(
        self,
        truth: Labels,
        maps: Sequence[Labels],
        annotated: Collection[int],
        sign: int = 1,
        unsure: UnsureMasks = (),
    ) -> None:
        """Count one labelled case.

        Args:
            truth: uint8 [Z, Y, X]; `IGNORE` where nothing is known.
            maps: Each source's map.
            annotated: Classes that the annotators looked for. The rest of the voxels is known not
                to be of these; it is background only where all thirteen organs were annotated.
            sign: -1 takes a case out again.
            unsure: Where each source is.

        Raises:
            GeometryError: The maps differ in shape.
        """
        same_shape(truth, *maps)
        known = truth != IGNORE
        joint, true = joint_words(maps, unsure)[known], truth[known]
        words = self.seen.shape[1]
        everything = np.bincount(joint, minlength=words)
        healthy = everything - np.bincount(joint[true == TUMOUR], minlength=words)
        background = {0} if ORGAN_LABELS <= set(annotated) else set()
        for label in background.union(annotated):
            self.seen[label] += sign * (everything if label == TUMOUR else healthy)
            self.true[label] += sign * np.bincount(joint[true == label], minlength=words)

    def recall_of(self, source: int) -> Counts:
        """Return each class's share that a source calls so: float64 [CLASSES], NaN if unseen."""
        table = self.of_source(source, self.true)
        with np.errstate(invalid="ignore"):
            return np.asarray(_called(table) / table.sum(axis=1))

    def precision_of(self, source: int) -> Counts:
        """Return the share of what a source calls so that is: float64 [CLASSES], NaN if unseen.

        Tumours that it calls an organ are not counted.
        """
        right, seen = (_called(self.of_source(source, counts)) for counts in (self.true, self.seen))
        with np.errstate(invalid="ignore"):
            return np.asarray(right / seen)

    def of_source(self, source: int, counts: Counts) -> Counts:
        """Return one source's table [CLASSES, WORDS], whatever the others say."""
        return np.asarray(counts.reshape(CLASSES, WORDS**source, WORDS, -1).sum(axis=(1, 3)))

    def shares(self) -> Counts:
        """Return each class's share of all voxels: float64 [CLASSES], 1 in sum."""
        shares: Counts = (self.true.sum(axis=1) + 1) / (self.seen.sum(axis=1) + CLASSES)
        shares[:TUMOUR] *= (1 - shares[TUMOUR]) / shares[:TUMOUR].sum()
        return shares

    def independent(self) -> Counts:
        """Return what is likely if sources err independently: float64, as `true`.

        The tumour's row is its probability, the others are those of what is no tumour: they come
        from other cases, which may have none.
        """
        tables = [self.of_source(source, self.true) for source in range(self.sources)]
        table = likely(self.shares(), tables)
        table[:TUMOUR] /= np.maximum(table[:TUMOUR].sum(axis=0), np.finfo(float).tiny)
        return table


def likely(shares: Counts, tables: Sequence[Counts]) -> Counts:
    """Return each class's probability by the sources' labels, if sources err independently.

    A word that was never counted for a class is as likely as in general.

    Args:
        shares: float64 [CLASSES], of each class before the sources are read.
        tables: Of each source, float64 [CLASSES, words]: how often it says what of which class.

    Returns:
        float64 [CLASSES, words of all sources together], 1 in sum over the classes.
    """
    logs = np.log(shares)[:, np.newaxis]  # [CLASSES, words of the sources so far together]
    for table in tables:
        general = (table.sum(axis=0) + 1) / (table.sum() + table.shape[1])
        chances = (table + general) / (table.sum(axis=1, keepdims=True) + 1)
        logs = logs[:, :, np.newaxis] + np.log(chances)[:, np.newaxis, :]
        logs = logs.reshape(CLASSES, -1)
    found: Counts = np.exp(logs - logs.max(axis=0))
    found /= found.sum(axis=0)
    return found


def _called(table: Counts) -> Counts:
    """Return how often each class is called by its name, inside and at edges: float64 [CLASSES]."""
    classes = np.arange(CLASSES)
    return np.asarray(table[classes, classes] + table[classes, classes + WORDS // 2])


@dataclass(frozen=True)
class Fusion:
    """What is made of everything that the sources may say, as a table: one look-up a voxel."""

    label: NDArray[np.uint8]
    """uint8 [WORDS ** sources]: the likeliest class."""
    probability: NDArray[np.float32]
    """float32 of the same shape: how likely."""

    def apply(self, *maps: Labels, unsure: UnsureMasks = ()) -> tuple[Labels, NDArray[np.float32]]:
        """Return the likeliest labels, and their probabilities.

        Raises:
            GeometryError: The maps differ in shape.
            KitError: Another number of maps than of sources.
        """
        if WORDS ** len(maps) != self.label.size:
            raise KitError(f"{len(maps)} label maps, and the fusion is not of so many sources")
        joint = joint_words(maps, unsure)
        return self.label[joint], self.probability[joint]


def fusion_of(evidence: Evidence) -> Fusion:
    """Make the table of a fusion from what was counted.

    Where a source calls a voxel tumour, it is one from the probability on at which the held-out
    cases' tumour DSC is largest: where sources are unsure of tumours that is less than one half.
    Else it is the likeliest other class.
    """
    chances = (evidence.true + _BELIEF * evidence.independent()) / (evidence.seen + _BELIEF)
    chances[:TUMOUR] *= (1 - chances[TUMOUR]) / chances[:TUMOUR].sum(axis=0)
    called = _calls(TUMOUR, evidence.sources)
    scores = chances[TUMOUR] * called
    cut = best_cut(scores, evidence.true[TUMOUR] * called, evidence.seen[TUMOUR])
    label = np.where(scores >= cut, TUMOUR, chances[:TUMOUR].argmax(axis=0))
    probability = np.take_along_axis(chances, label[None], axis=0)[0]
    return Fusion(label.astype(np.uint8), probability.astype(np.float32))


def _calls(label: int, sources: int) -> NDArray[np.bool_]:
    """Return where one source or more says `label`: bool [WORDS ** sources]."""
    words = np.indices([WORDS] * sources, np.uint8)  # of each source, by what all say
    return np.asarray((words % (WORDS // 2) == label).any(axis=0).ravel())
