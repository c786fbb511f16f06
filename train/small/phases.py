"""Change a CT's contrast phase: new mean HU for every organ, new contents of hollow organs.

The idea is SynthSeg's (arXiv 2107.09559): a network that has seen every organ at every plausible
brightness does not rely on one scanner's or one phase's. The texture stays real; the means move.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imaging.organs import ORGANS
from train.small.chance import Chance
from train.small.recipe import Contrast, Filling
from train.small.shapes import ellipsoid

_ORGANS = tuple(range(1, 14))
# Mean HU by label 1 to 13: typical radiological values; what is sampled around them is wider than
# the differences between textbooks.
PHASES: dict[str, tuple[int, ...]] = {
    "native": (55, 32, 48, 40, 42, 40, 28, 28, 8, 38, 38, 38, 32),
    "early arterial": (62, 120, 95, 75, 320, 60, 55, 55, 8, 48, 48, 55, 120),
    "late arterial": (78, 165, 130, 110, 260, 110, 70, 70, 8, 58, 60, 72, 165),
    "portal": (110, 175, 120, 100, 150, 145, 65, 65, 10, 62, 62, 66, 175),
    "delayed": (92, 150, 95, 80, 110, 110, 50, 50, 12, 55, 50, 58, 150),
}


def phase_means(rng: np.random.Generator, spread_hu: float) -> np.ndarray:
    """Draw a mean HU for every label, float64 [14], that of 0 unused: a blend of two phases."""
    one, other = (np.array(PHASES[name], float) for name in rng.choice(sorted(PHASES), 2))
    share = rng.uniform()
    means = share * one + (1 - share) * other + rng.normal(0, spread_hu, len(_ORGANS))
    means[ORGANS["left kidney"] - 1] = means[ORGANS["right kidney"] - 1] + rng.normal(0, 5)
    means[ORGANS["left adrenal gland"] - 1] = means[ORGANS["right adrenal gland"] - 1]
    if rng.uniform() < 0.15:
        means[0] -= rng.uniform(20, 60)  # fatty liver
    if rng.uniform() < 0.1:
        means[ORGANS["gallbladder"] - 1] += rng.uniform(20, 150)  # sludge, or contrast in the bile
    return np.concatenate([[0.0], means])


def change_phase(
    hu: Tensor, probabilities: Tensor, own: np.ndarray, contrast: Contrast, rng: np.random.Generator
) -> Tensor:
    """Return `hu` with every organ moved to its mean in another phase; gas stays gas.

    Args:
        hu: float32 [Z, Y, X].
        probabilities: float32 [15, Z, Y, X].
        own: float64 [14], the organs' own means in this CT; NaN where it has none.
        contrast: How far.
        rng: Where chance comes from.
    """
    shifts = phase_means(rng, contrast.spread_hu) - own
    shifts[0] = rng.normal(0, 4)
    moved = np.where(np.isfinite(shifts), shifts, 0.0)
    liver = moved[ORGANS["liver"]]
    table = torch.tensor([*moved, liver + rng.normal(0, 6)], dtype=torch.float32, device=hu.device)
    shift = torch.einsum("c,czyx->zyx", table, probabilities)
    fat_or_more = (hu + 150).div(60).clamp(0, 1)  # partial volumes of gas move less
    even = functional.avg_pool3d(shift[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
    return hu + even * fat_or_more


def fill(hu: Tensor, probabilities: Tensor, filling: Filling, chance: Chance) -> Tensor:
    """Return `hu` with stomach, duodenum or gallbladder filled anew, and with bowel loops."""
    for organ in ("stomach", "duodenum", "gallbladder"):
        if chance.happens(getattr(filling, organ)):
            inside = functional.avg_pool3d(probabilities[ORGANS[organ]][None, None], 3, 1, 1)[0, 0]
            lumen = ((inside - 0.7) * 5).clamp(0, 1)
            hu = hu + lumen * (_content(lumen, organ, chance) - hu)
    if chance.happens(filling.bowel):
        hu = _loops(hu, probabilities[0], chance)
    return hu


def _content(lumen: Tensor, organ: str, chance: Chance) -> Tensor:
    """Return what a hollow organ holds, float32 [Z, Y, X] in HU, with a level where there is gas.

    The patient lies on the back: gas is in front. Y grows to the back.
    """
    shape = tuple(lumen.shape)
    kind = chance.rng.choice(["fluid", "contrast", "food", "gas"], p=[0.4, 0.2, 0.2, 0.2])
    if organ == "gallbladder":
        kind = chance.rng.choice(["fluid", "contrast", "food"], p=[0.7, 0.1, 0.2])
    base = {"fluid": chance.between(-5, 40), "contrast": chance.between(100, 420)}.get(
        str(kind), chance.between(10, 60)
    )
    content = base + chance.between(3, 10) * chance.noise(shape)
    if kind == "food":
        content = content + chance.between(10, 45) * chance.grain(shape, chance.between(3, 6))
    rows = lumen.amax(dim=(0, 2)) > 0.5
    found = torch.nonzero(rows).flatten()
    if len(found) and (kind == "gas" or chance.happens(0.3)) and organ != "gallbladder":
        share = chance.between(0.5, 1.0) if kind == "gas" else chance.between(0.1, 0.5)
        level = int(found[0]) + int(share * len(found))
        content[:, :level] = -chance.between(700, 1000)
    return content


def _loops(hu: Tensor, background: Tensor, chance: Chance) -> Tensor:
    """Return `hu` with a few walled loops in what is nobody's, between fat and soft tissue."""
    hu, rng = hu.clone(), chance.rng
    free = torch.nonzero((background > 0.9) & (hu > -140) & (hu < 90))
    for _ in range(chance.count(1, 7) if len(free) else 0):
        centre = chance.one_of(free)
        radii = rng.uniform(2.5, 8) * rng.uniform(0.7, 1.5, 3)
        loop = ellipsoid(tuple(hu.shape), centre, radii, chance, roughness=0.1)
        part = hu[loop.box]
        mask = loop.mask(0.2) * background[loop.box]
        wall = part + mask * (chance.between(25, 110) - part)
        kind = rng.choice(["fluid", "contrast", "stool", "gas"])
        value = {"fluid": chance.between(0, 40), "contrast": chance.between(120, 400)}.get(
            str(kind), chance.between(-60, 60)
        )
        if kind == "gas":
            value = -chance.between(700, 1000)
        thick = 1.0 / float(radii.mean())
        lumen = ((1 - thick - loop.distance) / 0.15).clamp(0, 1) * background[loop.box]
        texture = 8.0 if kind != "stool" else 60.0
        inner = value + texture * chance.grain(tuple(part.shape), 2.5)
        hu[loop.box] = wall + lumen * (inner - wall)
    return hu
