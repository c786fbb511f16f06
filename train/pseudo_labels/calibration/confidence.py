"""Label a CT, and measure the network's confidence by voxel, class and component."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.axis import holding
from imaging.files import make_folder
from imaging.geometry import as_shape
from imaging.resampling import linear_slabs
from imaging.volumes import read_volume, write_labels
from inference.predictor import Predictor
from inference.preparing import Prepared
from inference.report import CaseReport
from train.pseudo_labels.calibration.sampling import in_middles, working_voxel_ml
from train.pseudo_labels.calibration.signals import Signals, WorkingSignals
from train.pseudo_labels.selection import components

CONFIDENCE_FOLDER = "confidence"
"""Of a case's map of percents, beside its label map."""
FLIP_X = (2,)
PERCENT = 100
Mask = NDArray[np.bool_]
Voxel = tuple[int, int, int]
"""(Z, Y, X)."""


@dataclass(frozen=True)
class Sureness:
    """Of some voxels of one class: how many, and the means of what the network says of them."""

    label: str
    ml: float
    probability: float
    margin: float
    entropy: float
    """In nats."""
    agreement: float | None
    """Share of which the network says the same with left and right flipped; None: not requested."""
    voxel: Voxel | None = None
    """Of a component: the CT's voxel (Z, Y, X), as stored, in the middle of its box."""


@dataclass(frozen=True)
class Confidence:
    """Of one case."""

    classes: list[Sureness]
    components: list[Sureness]
    """Largest first. Those without the middle of a working voxel in them are missing."""


@dataclass(frozen=True)
class Questions:
    """What is wanted of a network besides labels."""

    temperature: float = 1.0
    """What its logits are divided by."""
    flipped: bool = False
    """Whether it also labels the CT with left and right flipped."""
    signal: str = "probability"
    """What the map shows, as `Signals.share`."""


def percents_path(labels: Path) -> Path:
    """Return where the map of percents of a label map is: in a folder beside it."""
    return labels.parent / CONFIDENCE_FOLDER / labels.name


def label_with_confidence(
    predictor: Predictor, ct: Path, target: Path, questions: Questions
) -> Confidence:
    """Label a CT; write the label map and, in percent, confidence/<the same name> beside it.

    Args:
        predictor: The network.
        ct: The CT.
        target: Of the label map, `<case>.nii.gz`.
        questions: What is wanted.

    Raises:
        KitError: A file cannot be read or written, or the network cannot be used.
    """
    report = CaseReport(ct.name)
    volume = read_volume(ct)
    prepared, header = predictor.prepare(volume, report), volume.header
    del volume
    seen = WorkingSignals(as_shape(prepared.image), questions.temperature)
    found = predictor.label(prepared, report, on_logits=seen.add)
    agreed = _agreement(predictor, prepared, seen.labels) if questions.flipped else None
    write_labels(found, header, target)
    make_folder(percents_path(target).parent)
    labels = predictor.manifest.labels
    shown = seen.signals.share(questions.signal, len(labels) + 1)
    write_labels(percents_on_ct(shown, prepared), header, percents_path(target))
    return _confidence(in_middles(found, prepared), seen.signals, agreed, prepared, labels)


def _agreement(predictor: Predictor, prepared: Prepared, labels: NDArray[np.uint8]) -> Mask:
    """Say where a network that sees left and right flipped has the same labels."""
    agreed, done = np.zeros(labels.shape, np.bool_), 0
    for slab in predictor.logits(prepared, flips=(FLIP_X,)):
        here = slice(done, done + slab.shape[1])
        agreed[here] = slab.argmax(axis=0) == labels[here]
        done = here.stop
    return agreed


def percents_on_ct(shares: NDArray[np.float32], prepared: Prepared) -> NDArray[np.uint8]:
    """Return shares of the working grid, 0 to 1, in whole percents on the CT's own voxels.

    100 outside the region that the network labels: there surely is nothing.
    """
    whole = np.full(prepared.grid.shape, PERCENT, np.uint8)
    part = prepared.turn.apply(whole)[prepared.box]
    for place, slab in linear_slabs(shares, as_shape(part)):
        part[place] = np.rint(slab * PERCENT)
    return whole


def _confidence(
    working: NDArray[np.uint8],
    signals: Signals,
    agreed: Mask | None,
    prepared: Prepared,
    labels: dict[str, int],
) -> Confidence:
    """Sum up what the signals say of every class and component of the working grid's labels."""
    names = {value: name for name, value in labels.items()}
    voxel_ml = working_voxel_ml(prepared)

    def sureness(
        label: int, place: tuple[slice, ...], mask: Mask, voxel: Voxel | None = None
    ) -> Sureness:
        means = (float(signal[place][mask].mean(dtype=np.float64)) for signal in signals)
        probability, margin, entropy = means
        same = None if agreed is None else float(agreed[place][mask].mean())
        ml = float(mask.sum() * voxel_ml)
        return Sureness(names[label], ml, probability, margin, entropy, same, voxel)

    whole = (slice(None),) * 3
    present = [label for label in names if np.any(working == label)]
    found = Confidence([sureness(label, whole, working == label) for label in present], [])
    for piece in components(working, signals.probability):
        middle = [(part.start + part.stop) / 2 for part in piece.place]
        voxel = stored_voxel(middle, prepared)
        found.components.append(sureness(piece.label, piece.place, piece.mask, voxel))
    return found


def stored_voxel(middle: list[float], prepared: Prepared) -> Voxel:
    """Return the CT's voxel (Z, Y, X), as stored, at a place of the working grid.

    Args:
        middle: Distance from the corner of the grid, in its voxels.
        prepared: The CT.
    """
    found, turn = [0, 0, 0], prepared.turn
    axes = zip(turn.order, turn.flipped, prepared.box, prepared.image.shape, middle, strict=True)
    for stored, flipped, part, size, place in axes:
        along = part.start + holding(place, part.stop - part.start, size)
        found[stored] = prepared.grid.shape[stored] - 1 - along if flipped else along
    return found[0], found[1], found[2]
