"""Labelled voxels with their logits, taken slab by slab: no case's logits are ever held whole."""

from pathlib import Path

import numpy as np

from inference.engines import Engine
from inference.errors import KitError
from inference.geometry import as_shape
from inference.label_maps import read_label_map
from inference.manifest import Manifest
from inference.predictor import Predictor, Settings
from inference.report import CaseReport
from inference.volumes import read_place, read_volume
from train.calibration.reliability import Samples

SHARE = 0.25
"""Of the voxels of the working grid that the truth or the network calls a drawn organ."""


def sample(
    manifest: Manifest, engine: Engine, settings: Settings, ct: Path, truth: Path, seed: int
) -> Samples:
    """Run the network on a labelled CT and keep some voxels' logits.

    Only voxels that the truth or the network calls an organ that is drawn in this case: all others
    are rightly and surely background, and would hide every error. The truth of a working voxel is
    that of the CT's voxel in its middle.

    Raises:
        KitError: A file cannot be used, the truth lies elsewhere, or shows no organ.
    """
    volume, known = read_volume(ct), read_label_map(truth)
    if told := known.elsewhere_than(read_place(ct), volume.grid.shape):
        raise KitError(f"{truth.name} does not lie on {ct.name}: {told}")
    top = len(manifest.labels)
    drawn = tuple(k for k in np.unique(known.labels).tolist() if 0 < k <= top)
    if not drawn:
        raise KitError(f"{truth.name} shows no organ that the network knows; give another case")
    predictor = Predictor(manifest, engine, settings)
    prepared = predictor.prepare(volume, CaseReport(ct.name))
    shape = as_shape(prepared.image)
    part = prepared.turn.apply(known.labels)[prepared.box]
    middles = [
        ((np.arange(n) + 0.5) * (size / n)).astype(np.intp)
        for n, size in zip(shape, part.shape, strict=True)
    ]
    working = part[np.ix_(*middles)]
    working = np.where(working <= top, working, np.uint8(0))
    rng, first = np.random.default_rng(seed), 0
    logits, labels = [], []
    for slab in predictor.logits(prepared):
        here = working[first : first + slab.shape[1]]
        first += slab.shape[1]
        wanted = (here > 0) | np.isin(slab.argmax(axis=0), drawn)
        wanted &= rng.random(here.shape, dtype=np.float32) < SHARE
        logits.append(slab[:, wanted].T.copy())
        labels.append(here[wanted])
    return Samples(np.concatenate(logits), np.concatenate(labels), drawn)
