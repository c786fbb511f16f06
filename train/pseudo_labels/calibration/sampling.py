"""Sample labelled voxels with their logits, slab by slab: no case's logits are held whole."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.scoring.annotated import AnnotatedLabels
from imaging.axis import nearest
from imaging.components import connected
from imaging.errors import KitError
from imaging.label_maps import read_label_map
from imaging.overlap import labels_in
from imaging.volumes import read_place, read_volume
from inference.postprocess import clean
from inference.predictor import Predictor
from inference.preparing import Prepared
from inference.report import CaseReport
from train.data.release import LABEL_SUFFIX
from train.pseudo_labels.calibration.temperature import ConfidencePieces, Samples

SHARE = 0.25
"""Of the voxels of the working grid that the truth or the network calls an annotated organ."""


def sample_voxels(
    predictor: Predictor,
    ct: Path,
    truth: Path,
    seed: int,
    annotations: AnnotatedLabels | None = None,
) -> tuple[Samples, ConfidencePieces]:
    """Run the network on a labelled CT; keep some voxels' logits, and where its components are.

    Only voxels that the truth or the network calls an annotated organ of this case: all others are
    rightly and surely background, and would hide every error. The truth of a working voxel is
    that of the CT's voxel in its middle. Components are those that the manifest's rules leave.
    The annotated labels are those of `annotations`, else those that the truth shows.

    Raises:
        KitError: A file cannot be used, the truth lies elsewhere, or shows no organ.
    """
    volume, known = read_volume(ct), read_label_map(truth)
    if odd := known.elsewhere_than(read_place(ct), volume.grid.shape):
        raise KitError(f"{truth.name} does not lie on {ct.name}: {odd}")
    manifest = predictor.manifest
    top = len(manifest.labels)
    annotated = _annotated(known.labels, truth, top, annotations)
    prepared = predictor.prepare(volume, CaseReport(ct.name))
    working = in_middles(known.labels, prepared)
    working = np.where(working <= top, working, np.uint8(0))
    predicted, taken = np.zeros_like(working), np.zeros(working.shape, np.bool_)
    rng, first = np.random.default_rng(seed), 0
    logits = []
    for slab in predictor.logits(prepared):
        here = slice(first, first := first + slab.shape[1])
        predicted[here] = slab.argmax(axis=0)
        wanted = (working[here] > 0) | np.isin(predicted[here], annotated)
        wanted &= rng.random(wanted.shape, dtype=np.float32) < SHARE
        logits.append(slab[:, wanted].T.copy())
        taken[here] = wanted
    if predictor.settings.clean:
        clean(predicted, manifest.postprocess, manifest.labels, working_voxel_ml(prepared))
    found = Samples(np.concatenate(logits), working[taken], annotated)
    organs = np.where(np.isin(predicted, annotated), predicted, np.uint8(0))
    return found, pieces_of(organs, working, taken)


def _annotated(
    labels: NDArray[np.uint8], truth: Path, top: int, annotations: AnnotatedLabels | None
) -> tuple[int, ...]:
    """Return the labels up to `top` that were annotated in a case."""
    annotated = shown = {k for k in labels_in(labels) if k <= top}
    if annotations is not None:
        named = annotations.of(truth.name.removesuffix(LABEL_SUFFIX), frozenset(shown))
        if named is None or not named >= shown:
            raise KitError(
                f"{truth.name} shows labels that --annotated does not name; mend one of them"
            )
        annotated = {k for k in named if k <= top}
    if not annotated:
        raise KitError(f"{truth.name} shows no organ that the network knows; give another case")
    return tuple(sorted(annotated))


def working_voxel_ml(prepared: Prepared) -> float:
    """Return the volume of a voxel of the working grid in millilitres."""
    cropped = math.prod(part.stop - part.start for part in prepared.box)
    return float(prepared.grid.voxel_ml * cropped / prepared.image.size)


def in_middles(labels: NDArray[np.uint8], prepared: Prepared) -> NDArray[np.uint8]:
    """Return the CT's labels in the middles of the working grid's voxels: uint8 [Z, Y, X]."""
    part = prepared.turn.apply(labels)[prepared.box]
    return part[np.ix_(*map(nearest, part.shape, prepared.image.shape))]


def pieces_of(
    predicted: NDArray[np.uint8], truth: NDArray[np.uint8], taken: NDArray[np.bool_]
) -> ConfidencePieces:
    """Find the 26-connected components of what a network calls an annotated organ.

    Args:
        predicted: uint8 [Z, Y, X], 0 where it is not an annotated organ.
        truth: Of the same shape.
        taken: Which voxels are samples.
    """
    found = connected(predicted)
    right = found.within(predicted == truth)[1:]
    return ConfidencePieces(found.numbers[taken].astype(np.int64) - 1, found.sizes[1:], right)
