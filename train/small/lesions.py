"""Generate lesions: tumours of many kinds in many organs, and cysts, which are not tumours.

Synthetic tumours alone can reach what real ones teach (arXiv 2303.14869, for the liver).
"""

import numpy as np
import torch

from imaging.organs import ORGANS
from train.small.recipe import Lesions
from train.small.shapes import Tensor, ellipsoid, grain

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
    hu: Tensor,
    probabilities: Tensor,
    working_mm: tuple[float, ...],
    lesions: Lesions,
    rng: np.random.Generator,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return `hu` and `probabilities` with lesions in them.

    Args:
        hu: float32 [Z, Y, X].
        probabilities: float32 [15, Z, Y, X]; tumours are added to the last.
        working_mm: Size of a voxel (Z, Y, X).
        lesions: How often.
        rng: Where chance comes from.
        generator: Where noise comes from.
    """
    if rng.uniform() < lesions.cysts:
        hu = hu.clone()
        for _ in range(int(rng.integers(1, 4))):
            _cyst(hu, probabilities, working_mm, rng)
    if rng.uniform() < lesions.tumours:
        hu, probabilities = hu.clone(), probabilities.clone()
        many = rng.uniform() < 0.15
        for _ in range(int(rng.integers(4, 9)) if many else int(rng.integers(1, 4))):
            _tumour(hu, probabilities, working_mm, rng, generator)
    return hu, probabilities


def _place(host: Tensor, rng: np.random.Generator) -> tuple[int, ...] | None:
    """Return a random voxel of an organ; None where the patch has too little of it."""
    voxels = torch.nonzero(host > 0.8)
    if len(voxels) < 30:
        return None
    return tuple(int(n) for n in voxels[int(rng.integers(len(voxels)))])


def _tumour(
    hu: Tensor,
    probabilities: Tensor,
    working_mm: tuple[float, ...],
    rng: np.random.Generator,
    generator: torch.Generator,
) -> None:
    """Grow one tumour, in place."""
    shares = np.array([share for _, share, _, _ in _HOSTS])
    organ, _, least, most = _HOSTS[int(rng.choice(len(_HOSTS), p=shares / shares.sum()))]
    host = probabilities[ORGANS[organ]]
    centre = _place(host, rng)
    if centre is None:
        return
    radius = np.exp(rng.uniform(np.log(least), np.log(most)))
    radii = radius * rng.uniform(0.75, 1.3, 3) / np.array(working_mm)
    shape = tuple(hu.shape)
    body = ellipsoid(shape, centre, radii, rng, hu.device, roughness=float(rng.uniform(0, 0.25)))
    mask = body.mask(float(rng.uniform(0.1, 0.7)))
    allowed = host[body.box]
    if organ != "liver":  # other tumours grow over the organ's border, but not into gas or bone
        others = probabilities[(slice(None), *body.box)]
        part = hu[body.box]
        soft = ((part > -150) & (part < 220)).float()
        allowed = torch.maximum(allowed, others[0] * soft)
    mask = mask * allowed
    part = hu[body.box]
    level = float((part * host[body.box]).sum() / host[body.box].sum().clamp_min(1))
    inner = _appearance(body.distance, level, rng, generator)
    hu[body.box] = part + mask * (inner - part)
    share = (mask * 1.6 - 0.3).clamp(0, 1)
    here = (slice(None), *body.box)
    probabilities[here] *= 1 - share
    probabilities[(_TUMOUR, *body.box)] += share


def _appearance(
    distance: Tensor, level_hu: float, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """Return a tumour's HU by its distance from the middle: dark, bright, rimmed or necrotic."""
    kind = rng.choice(["dark", "bright", "rim", "necrotic"], p=[0.5, 0.17, 0.15, 0.18])
    dark = max(_LEAST_CONTRAST_HU, rng.gamma(3.0, 14.0))
    value = level_hu + (
        -dark if kind != "bright" else max(_LEAST_CONTRAST_HU, rng.gamma(3.0, 16.0))
    )
    value = max(value, -10.0)
    result = torch.full_like(distance, value)
    if kind == "rim":
        rim = (-(((distance - 0.85) / 0.15) ** 2)).exp()
        result += float(rng.uniform(20, 60)) * rim
    if kind == "necrotic":
        core = ((rng.uniform(0.4, 0.8) - distance) / 0.2).clamp(0, 1)
        result += core * (float(rng.uniform(5, 35)) - result)
    rough = float(rng.uniform(3, 14))
    return result + rough * grain(tuple(distance.shape), float(rng.uniform(1.5, 4)), generator)


def _cyst(
    hu: Tensor, probabilities: Tensor, working_mm: tuple[float, ...], rng: np.random.Generator
) -> None:
    """Put one cyst into liver or kidney, in place: round, sharp, like water; the organ's label."""
    organ = str(rng.choice(["liver", "right kidney", "left kidney"], p=[0.3, 0.35, 0.35]))
    host = probabilities[ORGANS[organ]]
    centre = _place(host, rng)
    if centre is None:
        return
    radius = np.exp(rng.uniform(np.log(3.0), np.log(18.0)))
    radii = radius * rng.uniform(0.9, 1.1, 3) / np.array(working_mm)
    body = ellipsoid(tuple(hu.shape), centre, radii, rng, hu.device)
    mask = body.mask(0.15) * host[body.box]
    part = hu[body.box]
    hu[body.box] = part + mask * (float(rng.uniform(-4, 14)) - part)
