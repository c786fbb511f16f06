"""Soft ellipsoids and blurs for generated samples, all on the training device."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from imaging.geometry import Box
from train.small.chance import Chance


@dataclass(frozen=True)
class Ellipsoid:
    """A soft ellipsoid in its box."""

    box: Box
    distance: Tensor
    """float32 [Z, Y, X] of the box: 1 on the surface, 0 in the middle."""

    def mask(self, softness: float) -> Tensor:
        """Return 1 inside and 0 outside, the border `softness` radii wide."""
        return ((1 - self.distance) / softness + 0.5).clamp(0, 1)


def ellipsoid(
    shape: tuple[int, ...],
    centre: tuple[int, ...],
    radii: np.ndarray,
    chance: Chance,
    roughness: float = 0.0,
) -> Ellipsoid:
    """Return an ellipsoid of `radii` voxels around `centre`, turned at random about Z.

    Args:
        shape: Of the patch (Z, Y, X).
        centre: Voxel (Z, Y, X).
        radii: Three lengths in voxels.
        chance: Where random numbers come from; the result lies on its device.
        roughness: How much the surface waves, in radii.
    """
    rng, device = chance.rng, chance.generator.device
    reach = int(np.ceil(radii.max() * 1.5)) + 2
    box = tuple(
        slice(max(0, c - reach), min(n, c + reach + 1)) for c, n in zip(centre, shape, strict=True)
    )
    axes = [
        torch.arange(part.start - c, part.stop - c, dtype=torch.float32, device=device)
        for part, c in zip(box, centre, strict=True)
    ]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    angle = rng.uniform(0, np.pi)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    y, x = y * cos - x * sin, y * sin + x * cos
    distance = ((z / radii[0]) ** 2 + (y / radii[1]) ** 2 + (x / radii[2]) ** 2).sqrt()
    if roughness:
        coarse = torch.tensor(rng.normal(0, roughness, (1, 1, 4, 4, 4)), dtype=torch.float32)
        waves = functional.interpolate(
            coarse.to(device), list(distance.shape), mode="trilinear", align_corners=True
        )
        distance = distance * (1 + waves[0, 0])
    return Ellipsoid((box[0], box[1], box[2]), distance)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Blur float32 [Z, Y, X] with a Gaussian of `sigma` voxels, edges extended."""
    reach = max(1, int(np.ceil(2.5 * sigma)))
    steps = torch.arange(-reach, reach + 1, dtype=torch.float32, device=image.device)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel /= kernel.sum()
    result = image[None, None]
    for axis in range(3):
        pad, view = [0] * 6, [1, 1, 1, 1, 1]
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = reach
        view[2 + axis] = 2 * reach + 1
        result = functional.conv3d(functional.pad(result, pad, mode="replicate"), kernel.view(view))
    return result[0, 0]
