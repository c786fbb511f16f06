"""Training cases from few CTs: real texture in other patients' shapes and other contrast phases."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.organs import ORGANS
from train import contrast
from train.anatomy import IGNORE, Anatomy, Labels
from train.registration import Bend, Field, warp

_VESSELS = (5, 6)
_MAX_FLARE = 14
_MARGIN_SLICES = 24
"""Slices kept beyond the source CT where the target's own organs (bowel, bladder) are drawn."""


@dataclass(frozen=True)
class LabelledCT:
    """A CT on the recipe's grid with what is known of it, axes (Z, Y, X)."""

    name: str
    hu: NDArray[np.float32]
    labels: Labels
    """FLARE labels, or `IGNORE` where nobody may be taught anything."""


@dataclass(frozen=True)
class Shares:
    """How often a synthetic case gets a treatment, each in [0, 1]."""

    drawn: float
    """Keep the target's drawn organs instead of the bent ones."""
    tumour: float
    """Grow tumours."""
    recolor: float
    """Change the contrast phase."""


def mask_lesions(ct: LabelledCT) -> LabelledCT:
    """Ignore dark spots in the liver: real metastases that no source has labelled as tumour.

    A spot is where the liver, blurred by one voxel, is 20 HU under its median.
    """
    liver: NDArray[np.bool_] = ct.labels == ORGANS["liver"]
    if not liver.any():
        return ct
    level = np.median(ct.hu[liver])
    calm = np.where(liver, ct.hu, level).astype(np.float32)
    spots = liver & (contrast.blurred(calm, 1.0) < level - 20)
    return LabelledCT(ct.name, ct.hu, np.where(spots, np.uint8(IGNORE), ct.labels))


def repaint(ct: LabelledCT, shares: Shares, rng: np.random.Generator) -> LabelledCT:
    """Give `ct` another phase, tumours and scanner effects, each by its share."""
    hu, labels = ct.hu.copy(), ct.labels.copy()
    if rng.uniform() < shares.recolor:
        hu = contrast.recolor(hu, labels, contrast.phase_means(rng), rng)
    return _finish(LabelledCT(ct.name, hu, labels), shares, rng)


def bent(
    ct: LabelledCT, target: Anatomy, bend: Bend, shares: Shares, rng: np.random.Generator
) -> LabelledCT:
    """Lay `ct` into the shape of `target`; its drawn organs win in a share of the cases."""
    shape = target.labels.shape
    drawn = rng.uniform() < shares.drawn
    field = bend.partial(1.0 if drawn else rng.uniform(0.3, 1.0))
    hu, labels = warp(ct.hu, ct.labels, field, (shape[0], shape[1], shape[2]))
    outside = _beyond(field, ct, shape[0])
    means = contrast.phase_means(rng)
    if rng.uniform() < shares.recolor:
        hu = contrast.recolor(hu, labels, means, rng)
    if drawn:
        hu, labels = _redraw(hu, labels, target, means, rng)
        vessels = outside[:, np.newaxis, np.newaxis] & np.isin(labels, _VESSELS)
        labels[vessels] = IGNORE
    kept = _near(~outside, _MARGIN_SLICES if drawn else 0)
    hu, labels = hu[kept], labels[kept]
    return _finish(LabelledCT(f"{ct.name}_{target.name}", hu, labels), shares, rng)


def _finish(ct: LabelledCT, shares: Shares, rng: np.random.Generator) -> LabelledCT:
    if rng.uniform() < shares.tumour:
        contrast.add_tumours(ct.hu, ct.labels, 3.0, rng)
    hu = np.clip(contrast.degrade(ct.hu, rng), -1024, 1500)
    return LabelledCT(ct.name, hu, ct.labels)


def _beyond(field: Field, ct: LabelledCT, slices: int) -> NDArray[np.bool_]:
    """Return the target's slices that the source does not reach (its edge slice is repeated)."""
    reach = field[0].mean(axis=(1, 2))
    places = np.interp(np.linspace(0, 1, slices), np.linspace(0, 1, reach.size), reach)
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
    """Replace the bent organs by those drawn in `target`; the texture stays where both agree."""
    drawn = [organ for organ in target.drawn if organ <= _MAX_FLARE]
    stale = np.isin(labels, drawn) & (labels != target.labels)
    grain = contrast.tissue_grain(rng, (hu.shape[0], hu.shape[1], hu.shape[2]))
    hu[stale] = rng.uniform(-110, 30) + grain[stale]
    result = np.where(np.isin(labels, drawn), np.uint8(0), labels)
    if rng.uniform() < 0.7:
        contrast.paint_bowel(hu, target.labels, grain, rng)
        result[target.labels > _MAX_FLARE] = 0
    for organ in drawn:
        wanted = target.labels == organ
        gap = wanted & (labels != organ)
        hu[gap] = means[organ] + grain[gap]
        result[wanted] = organ
    return hu, result


def synthesize(
    real: list[LabelledCT],
    bends: list[tuple[LabelledCT, Anatomy, Bend]],
    variants: tuple[int, int],
    shares: Shares,
    seed: int,
) -> Iterator[LabelledCT]:
    """Yield the training cases: the real CTs as they are, repainted, and bent.

    Args:
        real: CTs with merged labels.
        bends: A CT, the anatomy it is bent to, and the fitted deformation.
        variants: Repainted copies of each real CT, and bent copies of each pair.
        shares: How often each treatment is given.
        seed: Every case draws from its own stream of this seed, so cases do not depend on order.
    """
    copies = len(real) * variants[0] + len(bends) * variants[1]
    streams = iter(np.random.SeedSequence(seed).spawn(copies))
    for ct in real:
        yield ct
        for copy in range(variants[0]):
            changed = repaint(ct, shares, np.random.default_rng(next(streams)))
            yield LabelledCT(f"{ct.name}_r{copy:02d}", changed.hu, changed.labels)
    for ct, target, bend in bends:
        for copy in range(variants[1]):
            changed = bent(ct, target, bend, shares, np.random.default_rng(next(streams)))
            yield LabelledCT(f"{changed.name}_b{copy:02d}", changed.hu, changed.labels)
