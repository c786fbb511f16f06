"""Transplant a labelled CT into another patient's organ shapes, for phantoms in real shapes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import as_shape
from train.data.anatomy import IGNORE, Anatomy, Labels
from train.synthesis import contrast
from train.synthesis.registration import Bend, source_slices, warp

_VESSELS = (5, 6)
_MAX_FLARE = 14
_MARGIN_SLICES = 24
"""Slices kept beyond the source CT where the target's own organs (bowel, bladder) are annotated."""


class LabelledCT(NamedTuple):
    """A CT on an isotropic grid with what is known of it, axes (Z, Y, X)."""

    hu: NDArray[np.float32]
    labels: Labels
    """FLARE labels, or `IGNORE` where nobody may be taught anything."""


def laid_into(
    ct: LabelledCT, target: Anatomy, bend: Bend, tumours: bool, rng: np.random.Generator
) -> LabelledCT:
    """Lay `ct` into the shape of `target`, whose annotated organs win; as another scanner shows it.

    Args:
        ct: What is bent.
        target: The shape.
        bend: The fitted deformation.
        tumours: Whether to grow tumours.
        rng: Where chance comes from.
    """
    shape = as_shape(target.labels)
    hu, labels = warp(*ct, bend, shape)
    outside = _beyond(bend, ct, shape[0])
    hu, labels = _redraw(hu, labels, target, contrast.organ_means(rng), rng)
    vessels = outside[:, np.newaxis, np.newaxis] & np.isin(labels, _VESSELS)
    labels[vessels] = IGNORE
    kept = _near(~outside, _MARGIN_SLICES)
    hu, labels = hu[kept], labels[kept]
    if tumours:
        contrast.add_tumours(hu, labels, 3.0, rng)
    hu = np.clip(contrast.degrade(hu, rng), -1024, 1500)
    return LabelledCT(hu, labels)


def _beyond(bend: Bend, ct: LabelledCT, slices: int) -> NDArray[np.bool_]:
    """Return the target's slices that the source does not reach (its edge slice is repeated)."""
    places = source_slices(bend, slices)
    beyond: NDArray[np.bool_] = (places < -1) | (places > ct.hu.shape[0])
    return beyond


def _near(inside: NDArray[np.bool_], margin: int) -> slice:
    """Return the slices from the first to the last of `inside`, and `margin` more on each side."""
    found = np.flatnonzero(inside)
    if not found.size:
        return slice(None)
    return slice(max(0, int(found[0]) - margin), int(found[-1]) + margin + 1)


def _redraw(
    hu: NDArray[np.float32],
    labels: Labels,
    target: Anatomy,
    means: dict[int, float],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], Labels]:
    """Replace bent organs by those annotated in `target`; keep the texture where both agree."""
    annotated = [organ for organ in target.annotated if organ <= _MAX_FLARE]
    stale = np.isin(labels, annotated) & (labels != target.labels)
    grain = contrast.tissue_grain(rng, as_shape(hu))
    hu[stale] = rng.uniform(-110, 30) + grain[stale]
    result = np.where(np.isin(labels, annotated), np.uint8(0), labels)
    if rng.uniform() < 0.7:
        contrast.paint_bowel(hu, target.labels, grain, rng)
        result[target.labels > _MAX_FLARE] = 0
    for organ in annotated:
        wanted = target.labels == organ
        gap = wanted & (labels != organ)
        hu[gap] = means[organ] + grain[gap]
        result[wanted] = organ
    return hu, result
