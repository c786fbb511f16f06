"""Generate lesions: tumours of many kinds in many organs, and cysts, which are not tumours.

Synthetic tumours alone can reach what real ones teach (arXiv 2303.14869, for the liver).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from imaging.geometry import SpacingMm
from imaging.organs import ORGANS
from train.small.chance import Chance
from train.small.recipe import Lesions
from train.small.shapes import Ellipsoid, ellipsoid

_TUMOUR = ORGANS["tumour"]
# Organ, share of the tumours, least and greatest radius in mm.
_HOSTS = (
    ("liver", 0.46, 4.0, 36.0),
    ("pancreas", 0.14, 5.0, 20.0),
    ("right kidney", 0.09, 5.0, 28.0),
    ("left kidney", 0.09, 5.0, 28.0),
    ("spleen", 0.04, 5.0, 20.0),
    ("stomach", 0.06, 6.0, 20.0),
    ("right adrenal gland", 0.03, 6.0, 20.0),
    ("left adrenal gland", 0.03, 6.0, 20.0),
    ("duodenum", 0.03, 6.0, 16.0),
    ("gallbladder", 0.03, 5.0, 14.0),
)
_LEAST_CONTRAST_HU = 14.0
"""A tumour that nobody can see would teach the network to see tumours where none are."""


def grow(
    hu: Tensor, probabilities: Tensor, working_mm: SpacingMm, lesions: Lesions, chance: Chance
) -> tuple[Tensor, Tensor]:
    """Return `hu` and `probabilities` with lesions in them.

    Args:
        hu: float32 [Z, Y, X].
        probabilities: float32 [15, Z, Y, X]; tumours are added to the last.
        working_mm: Size of a voxel (Z, Y, X).
        lesions: How often.
        chance: Where random numbers come from.
    """
    if chance.happens(lesions.cysts):
        hu = hu.clone()
        for _ in range(chance.count(1, 4)):
            _cyst(hu, probabilities, working_mm, chance)
    if chance.happens(lesions.tumours):
        hu, probabilities = hu.clone(), probabilities.clone()
        many = chance.happens(0.15)
        for _ in range(chance.count(4, 9) if many else chance.count(1, 4)):
            _tumour(hu, probabilities, working_mm, chance)
    return hu, probabilities


def _lesion(
    host: Tensor,
    radius_mm: Sequence[float],
    stretch: tuple[float, float],
    working_mm: SpacingMm,
    chance: Chance,
    roughest: float = 0.0,
) -> Ellipsoid | None:
    """Return a lesion's place in an organ; None where the patch has too little of the organ.

    Args:
        host: Probability of the organ, float32 [Z, Y, X].
        radius_mm: The least and the greatest.
        stretch: Least and greatest factor of the three radii.
        working_mm: Size of a voxel (Z, Y, X).
        chance: Where random numbers come from.
        roughest: How much the surface may wave, in radii.
    """
    voxels = torch.nonzero(host > 0.8)
    if len(voxels) < 30:
        return None
    centre = chance.one_of(voxels)
    radius = np.exp(chance.rng.uniform(*np.log(radius_mm)))
    radii = radius * chance.rng.uniform(*stretch, 3) / np.array(working_mm)
    roughness = chance.between(0, roughest) if roughest else 0.0
    return ellipsoid(tuple(host.shape), centre, radii, chance, roughness)


def _tumour(hu: Tensor, probabilities: Tensor, working_mm: SpacingMm, chance: Chance) -> None:
    """Grow one tumour, in place."""
    shares = np.array([share for _, share, _, _ in _HOSTS])
    organ, _, *radius_mm = _HOSTS[int(chance.rng.choice(len(_HOSTS), p=shares / shares.sum()))]
    host = probabilities[ORGANS[organ]]
    body = _lesion(host, radius_mm, (0.75, 1.3), working_mm, chance, roughest=0.25)
    if body is None:
        return
    mask = body.mask(chance.between(0.1, 0.7))
    here = (slice(None), *body.box)
    part, allowed = hu[body.box], host[body.box]
    level = float((part * allowed).sum() / allowed.sum().clamp_min(1))
    if organ != "liver":  # other tumours grow over the organ's border, but not into gas or bone
        soft = ((part > -150) & (part < 220)).float()
        allowed = torch.maximum(allowed, probabilities[here][0] * soft)
    mask = mask * allowed
    inner = _appearance(body.distance, level, chance)
    hu[body.box] = part + mask * (inner - part)
    share = (mask * 1.6 - 0.3).clamp(0, 1)
    probabilities[here] *= 1 - share
    probabilities[(_TUMOUR, *body.box)] += share


def _appearance(distance: Tensor, level_hu: float, chance: Chance) -> Tensor:
    """Return a tumour's HU by its distance from the middle: dark, bright, rimmed or necrotic."""
    rng = chance.rng
    kind = rng.choice(["dark", "bright", "rim", "necrotic"], p=[0.5, 0.17, 0.15, 0.18])
    dark = max(_LEAST_CONTRAST_HU, rng.gamma(3.0, 14.0))
    value = level_hu + (
        -dark if kind != "bright" else max(_LEAST_CONTRAST_HU, rng.gamma(3.0, 16.0))
    )
    value = max(value, -10.0)
    result = torch.full_like(distance, value)
    if kind == "rim":
        rim = (-(((distance - 0.85) / 0.15) ** 2)).exp()
        result += chance.between(20, 60) * rim
    if kind == "necrotic":
        core = ((chance.between(0.4, 0.8) - distance) / 0.2).clamp(0, 1)
        result += core * (chance.between(5, 35) - result)
    rough = chance.between(3, 14)
    return result + rough * chance.grain(tuple(distance.shape), chance.between(1.5, 4))


def _cyst(hu: Tensor, probabilities: Tensor, working_mm: SpacingMm, chance: Chance) -> None:
    """Put one cyst into liver or kidney, in place: round, sharp, like water; the organ's label."""
    organs = ["liver", "right kidney", "left kidney"]
    host = probabilities[ORGANS[str(chance.rng.choice(organs, p=[0.3, 0.35, 0.35]))]]
    body = _lesion(host, (3.0, 18.0), (0.9, 1.1), working_mm, chance)
    if body is None:
        return
    mask = body.mask(0.15) * host[body.box]
    part = hu[body.box]
    hu[body.box] = part + mask * (chance.between(-4, 14) - part)
