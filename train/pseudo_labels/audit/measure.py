"""Measure one case's labels without knowing the truth."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from imaging.errors import in_one_line
from imaging.organs import ORGANS
from imaging.overlap import dice_by_label, joint_counts, label_counts
from train.data.anatomy import IGNORE
from train.pseudo_labels.fusion import Labels, read_flare_labels, same_shape
from train.pseudo_labels.reliability import CLASSES, TUMOUR
from train.pseudo_labels.selection import Component, components, is_odd

NAMES = {label: organ for organ, label in ORGANS.items()}


@dataclass(frozen=True)
class Files:
    """Where one case's maps are."""

    case: str
    fused: Path
    """The labels that the round is trained on."""
    compared: tuple[Path, ...]
    """Maps that should agree: the sources', or what the labels were in the round before."""
    real: Path | None
    """The annotators' map."""
    annotated: tuple[int, ...]


@dataclass(frozen=True)
class CaseMeasures:
    """One case; `error` says why there is nothing else."""

    case: str
    ml: dict[str, float] = field(default_factory=dict)
    """Volume of every class that the round's labels have."""
    real_ml: dict[str, float] = field(default_factory=dict)
    """The same of what annotators drew; 0 where they looked for a class and found none."""
    agreement: dict[str, float] = field(default_factory=dict)
    """Of every class that one of the compared maps has: mean DSC over their pairs."""
    ignored: float = 0.0
    """Share of the voxels that are labelled or ignored."""
    odd: tuple[str, ...] = ()
    """What no patient looks like."""
    error: str | None = None


def measure(files: Files) -> CaseMeasures:
    """Measure one case; if a file cannot be read, `error` has the message."""
    try:
        fused = read_flare_labels(files.fused)
        voxel_ml = fused.grid.voxel_ml
        counts = label_counts(fused.labels)
        labelled = int(counts[1 : IGNORE + 1].sum())
        real = {} if files.real is None else _volumes(files.real, files.annotated)
        return CaseMeasures(
            files.case,
            {NAMES[k]: float(counts[k] * voxel_ml) for k in NAMES if counts[k]},
            real,
            agreement_of([read_flare_labels(path).labels for path in files.compared]),
            float(counts[IGNORE] / labelled) if labelled else 0.0,
            tuple(oddities(fused.labels, voxel_ml)),
        )
    except Exception as error:  # noqa: BLE001  # whatever it is, the other cases go on
        return CaseMeasures(files.case, error=in_one_line(error, files.case))


def _volumes(path: Path, annotated: Sequence[int]) -> dict[str, float]:
    found = read_flare_labels(path)
    counts = label_counts(found.labels)
    return {NAMES[k]: float(counts[k] * found.grid.voxel_ml) for k in annotated}


def agreement_of(maps: Sequence[Labels]) -> dict[str, float]:
    """Return each class's mean DSC over all pairs of maps, where neither ignores.

    A class that neither of a pair has is no part of that pair's mean.

    Args:
        maps: uint8 [Z, Y, X]; fewer than two have no pair.

    Raises:
        GeometryError: They differ in shape.
    """
    found: dict[str, list[float]] = {}
    for first, second in itertools.combinations(maps, 2):
        same_shape(first, second)
        dsc = dice_by_label(joint_counts(first, second)[:CLASSES, :CLASSES])
        for label, organ in NAMES.items():
            if not np.isnan(dsc[label]):
                found.setdefault(organ, []).append(float(dsc[label]))
    return {organ: float(np.mean(values)) for organ, values in found.items()}


def oddities(labels: Labels, voxel_ml: float) -> list[str]:
    """List the pieces a patient cannot have: a second organ, a tumour in no organ.

    Args:
        labels: uint8 [Z, Y, X].
        voxel_ml: Volume of a voxel.
    """
    messages, largest = [], dict[int, Component]()
    for piece in components(labels):
        if is_odd(labels, piece, largest.setdefault(piece.label, piece)):
            ml = f"{piece.voxels * voxel_ml:.1f} ml"
            alone, second = f"a tumour of {ml} touches no organ", f"a second {NAMES[piece.label]}"
            messages.append(alone if piece.label == TUMOUR else f"{second} of {ml}")
    return messages
