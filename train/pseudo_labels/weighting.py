"""The rule "weighted": fuse by reliability, then ignore what is not sure enough."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imaging.errors import KitError
from imaging.organs import ORGANS
from train.data.anatomy import IGNORE
from train.pseudo_labels.cuts import Counts, least_score
from train.pseudo_labels.fusion import Labels
from train.pseudo_labels.reliability import CLASSES, Evidence, Fusion, fusion_of
from train.pseudo_labels.selection import Pieces, Thresholds, components, selected, thresholds_of
from train.pseudo_labels.uncertainty import Confidences, Uncertainty, unsure_of

_BINS = 1000
"""Of probabilities, when voxels are counted by them."""


class HeldOut(NamedTuple):
    """A labelled case that none of the sources was trained on."""

    truth: Labels
    maps: Sequence[Labels]
    """Each source's map."""
    annotated: Collection[int]
    """Classes that the annotators looked for."""
    voxel_ml: float
    percents: Sequence[NDArray[np.uint8]] = ()
    """How sure sources are, 0 to 100, of those that tell."""


@dataclass(frozen=True)
class Weighting:
    """What was learnt of the sources, ready to be used on other cases."""

    fusion: Fusion
    uncertainties: tuple[Uncertainty | None, ...]
    """Under which percents each source is unsure; None of one that does not tell."""
    least: tuple[float, ...]
    """By class, the probability under which a disputed voxel is ignored."""
    thresholds: Thresholds | None
    """What decides about components; None where everything is kept."""
    recall: Counts
    """Of each source on the held-out cases, by class: float64 [sources, CLASSES], NaN if unseen."""
    precision: Counts

    def apply(
        self, maps: Sequence[Labels], voxel_ml: float, percents: Sequence[NDArray[np.uint8]] = ()
    ) -> Labels:
        """Return one map of the sources' maps of a case; `IGNORE` where it should not be taught.

        Args:
            maps: uint8 [Z, Y, X], in the order in which the sources were learnt.
            voxel_ml: Volume of a voxel.
            percents: How sure the sources are that were learnt with percents.

        Raises:
            GeometryError: The maps differ in shape.
            KitError: Another number of maps than of sources.
        """
        unsure = unsure_of(self.uncertainties, maps, percents)
        labels, probability = self.fusion.apply(*maps, unsure=unsure)
        if self.thresholds is None:
            return labels
        found = list(components(labels, probability))
        result = selected(labels, found, self.thresholds, voxel_ml)
        unlikely = _disputed(maps) & (probability < np.array(self.least, np.float32)[labels])
        result[unlikely & (result == labels)] = IGNORE
        return result

    def table(self, sources: Sequence[str]) -> dict[str, Any]:
        """Return what was learnt in a form for JSON, by source and class."""
        names = ["background", *ORGANS]
        table: dict[str, Any] = {
            key: {
                source: dict(zip(names, map(_finite, row), strict=True))
                for source, row in zip(sources, getattr(self, key), strict=True)
            }
            for key in ("recall", "precision")
        }
        table["least_probability"] = dict(zip(names, map(_finite, self.least), strict=True))
        if self.thresholds is not None:
            chosen = list(zip(names, self.thresholds, strict=True))
            table["score"] = {name: one.score for name, one in chosen}
            table["keep"] = {name: _finite(one.keep) for name, one in chosen}
            table["drop"] = {name: _finite(one.drop) for name, one in chosen}
            table["volume_ml"] = {name: list(map(_finite, one.volume_ml)) for name, one in chosen}
        by_source = zip(sources, self.uncertainties, strict=True)
        if percents := {name: one.table() for name, one in by_source if one is not None}:
            table["least_percent"] = percents
        return table


def learn(
    cases: Sequence[Callable[[], HeldOut]],
    sources: int,
    precision: float,
    with_percents: Sequence[int] = (),
) -> Weighting:
    """Learn from held-out labelled cases what sources' words are worth, and the thresholds.

    Thresholds are chosen on each case with a table that was counted on the others.

    Args:
        cases: Each reads a case, and is called two or three times.
        sources: How many.
        precision: Wanted share of disputed voxels, and of components, that are right; 0: nothing
            is ignored or dropped.
        with_percents: Places of the sources that tell how sure they are.

    Raises:
        KitError: Fewer than two cases.
    """
    if len(cases) < 2:
        raise KitError(f"{len(cases)} held-out labelled cases; reliability needs two or more")
    uncertainties = _uncertainties(cases, sources, with_percents)
    evidence = Evidence(sources)
    for read in cases:
        case = read()
        unsure = unsure_of(uncertainties, case.maps, case.percents)
        evidence.add(case.truth, case.maps, case.annotated, unsure=unsure)
    fusion = fusion_of(evidence)
    recall = np.array([evidence.recall_of(source) for source in range(sources)])
    right = np.array([evidence.precision_of(source) for source in range(sources)])
    if precision <= 0:
        return Weighting(fusion, uncertainties, (0.0,) * CLASSES, None, recall, right)
    pieces, tally = Pieces(), _Disputed()
    for read in cases:
        case = read()
        unsure = unsure_of(uncertainties, case.maps, case.percents)
        evidence.add(case.truth, case.maps, case.annotated, -1, unsure)
        labels, probability = fusion_of(evidence).apply(*case.maps, unsure=unsure)
        evidence.add(case.truth, case.maps, case.annotated, 1, unsure)
        pieces.add(case.truth, components(labels, probability), case.annotated, case.voxel_ml)
        tally.add(case, labels, probability)
    chosen = thresholds_of(pieces, precision)
    return Weighting(fusion, uncertainties, tally.least(precision), chosen, recall, right)


def _uncertainties(
    cases: Sequence[Callable[[], HeldOut]], sources: int, with_percents: Sequence[int]
) -> tuple[Uncertainty | None, ...]:
    """Learn under which percents each source is unsure."""
    counted = {place: Confidences() for place in with_percents}
    for read in cases if counted else ():
        case = read()
        for (place, count), percents in zip(counted.items(), case.percents, strict=True):
            count.add(case.truth, case.maps[place], percents, case.annotated)
    return tuple(counted[n].uncertainty() if n in counted else None for n in range(sources))


class _Disputed:
    """Voxels on which sources disagree, by the class they are given and its probability."""

    def __init__(self) -> None:
        self.right: Counts = np.zeros((CLASSES, _BINS))
        self.seen: Counts = np.zeros((CLASSES, _BINS))

    def add(self, case: HeldOut, labels: Labels, probability: NDArray[np.float32]) -> None:
        known = (
            _disputed(case.maps) & (case.truth != IGNORE) & np.isin(labels, list(case.annotated))
        )
        # Nothing is counted for background: it is taught however unsure, or tumours would grow.
        place = np.minimum((probability[known] * _BINS).astype(np.intp), _BINS - 1)
        place += labels[known].astype(np.intp) * _BINS
        right = case.truth[known] == labels[known]
        self.seen += np.bincount(place, minlength=CLASSES * _BINS).reshape(CLASSES, _BINS)
        self.right += np.bincount(place, right, minlength=CLASSES * _BINS).reshape(CLASSES, _BINS)

    def least(self, precision: float) -> tuple[float, ...]:
        """Return each class's smallest probability with which `precision` of its voxels are right.

        Only voxels at or above it count. 0 where all may be kept, above 1 where none may.
        """
        edges = np.arange(_BINS) / _BINS
        return tuple(
            least_score(edges[seen > 0], right[seen > 0], seen[seen > 0], precision)
            for right, seen in zip(self.right, self.seen, strict=True)
        )


def _disputed(maps: Sequence[Labels]) -> NDArray[np.bool_]:
    """Return where the sources differ: bool [Z, Y, X]; everywhere if there is only one."""
    if len(maps) == 1:
        return np.ones(maps[0].shape, np.bool_)
    return np.asarray(np.any([one != maps[0] for one in maps[1:]], axis=0))


def _finite(value: float) -> float | None:
    """Return None for infinity and NaN, which JSON has not."""
    return float(value) if np.isfinite(value) else None
