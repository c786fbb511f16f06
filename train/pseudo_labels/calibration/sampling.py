"""Labelled voxels with their logits, taken slab by slab: no case's logits are ever held whole."""

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
from inference.predictor import Predictor, Prepared
from inference.report import CaseReport
from train.data.release import LABEL_SUFFIX
from train.pseudo_labels.calibration.temperature import ConfidencePieces, Samples

SHARE = 0.25
"""Of the voxels of the working grid that the truth or the network calls a drawn organ."""


def sample_voxels(
    predictor: Predictor,
    ct: Path,
    truth: Path,
    seed: int,
    drawn_in: AnnotatedLabels | None = None,
) -> tuple[Samples, ConfidencePieces]:
    """Run the network on a labelled CT; keep some voxels' logits, and where its components are.

    Only voxels that the truth or the network calls an organ that is drawn in this case: all others
    are rightly and surely background, and would hide every error. The truth of a working voxel is
    that of the CT's voxel in its middle. Components are those that the manifest's rules leave.
    Drawn is what `drawn_in` says, else what the truth shows.

    Raises:
        KitError: A file cannot be used, the truth lies elsewhere, or shows no organ.
    """
    volume, known = read_volume(ct), read_label_map(truth)
    if told := known.elsewhere_than(read_place(ct), volume.grid.shape):
        raise KitError(f"{truth.name} does not lie on {ct.name}: {told}")
    manifest = predictor.manifest
    top = len(manifest.labels)
    drawn = _drawn(known.labels, truth, top, drawn_in)
    prepared = predictor.prepare(volume, CaseReport(ct.name))
    working = in_middles(known.labels, prepared)
    working = np.where(working <= top, working, np.uint8(0))
    said, taken = np.zeros_like(working), np.zeros(working.shape, np.bool_)
    rng, first = np.random.default_rng(seed), 0
    logits = []
    for slab in predictor.logits(prepared):
        here = slice(first, first := first + slab.shape[1])
        said[here] = slab.argmax(axis=0)
        wanted = (working[here] > 0) | np.isin(said[here], drawn)
        wanted &= rng.random(wanted.shape, dtype=np.float32) < SHARE
        logits.append(slab[:, wanted].T.copy())
        taken[here] = wanted
    if predictor.settings.clean:
        clean(said, manifest.postprocess, manifest.labels, working_voxel_ml(prepared))
    found = Samples(np.concatenate(logits), working[taken], drawn)
    return found, pieces_of(np.where(np.isin(said, drawn), said, np.uint8(0)), working, taken)


def _drawn(
    labels: NDArray[np.uint8], truth: Path, top: int, drawn_in: AnnotatedLabels | None
) -> tuple[int, ...]:
    """Return the labels up to `top` that were drawn in a case."""
    drawn = shown = {k for k in labels_in(labels) if k <= top}
    if drawn_in is not None:
        named = drawn_in.of(truth.name.removesuffix(LABEL_SUFFIX))
        if named is None or not named >= shown:
            raise KitError(
                f"{truth.name} shows labels that --drawn does not name; mend one of them"
            )
        drawn = {k for k in named if k <= top}
    if not drawn:
        raise KitError(f"{truth.name} shows no organ that the network knows; give another case")
    return tuple(sorted(drawn))


def working_voxel_ml(prepared: Prepared) -> float:
    """Return the volume of a voxel of the working grid in millilitres."""
    looked_at = math.prod(part.stop - part.start for part in prepared.box)
    return float(prepared.grid.voxel_ml * looked_at / prepared.image.size)


def in_middles(labels: NDArray[np.uint8], prepared: Prepared) -> NDArray[np.uint8]:
    """Return the CT's labels in the middles of the working grid's voxels: uint8 [Z, Y, X]."""
    part = prepared.turn.apply(labels)[prepared.box]
    return part[np.ix_(*map(nearest, part.shape, prepared.image.shape))]


def pieces_of(
    said: NDArray[np.uint8], truth: NDArray[np.uint8], taken: NDArray[np.bool_]
) -> ConfidencePieces:
    """Find the 26-connected components of what a network calls a drawn organ.

    Args:
        said: uint8 [Z, Y, X], 0 where it is no drawn organ.
        truth: Of the same shape.
        taken: Which voxels are samples.
    """
    found = connected(said)
    right = found.within(said == truth)[1:]
    return ConfidencePieces(found.numbers[taken].astype(np.int64) - 1, found.sizes[1:], right)
