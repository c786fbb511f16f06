"""Crop a sample from a case: its place, rotation, scale and deformation."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from train.small.recipe import SmallRecipe, Space


@dataclass(frozen=True)
class Placed:
    """A sample before anything is done to its intensities, all float32 [Z, Y, X]."""

    hu: Tensor
    first: Tensor
    second: Tensor
    share: Tensor
    """In [0, 1]: of `first`."""
    inside: Tensor
    """bool: whether the voxel lies in the scan."""


def sample_space(
    hu: Tensor, labels: Tensor, centre: np.ndarray, recipe: SmallRecipe, rng: np.random.Generator
) -> Placed:
    """Cut a patch around `centre`, turned, scaled and bent at random.

    Args:
        hu: float32 [Z, Y, X] of the case.
        labels: float32 [3, Z, Y, X]: first and second class, share of the first in 255ths.
        centre: The stored voxel (Z, Y, X) in the middle of the patch.
        recipe: Says the patch, both sizes of voxels, and how far it is changed.
        rng: Where chance comes from.
    """
    where = _coordinates(centre, recipe, rng, hu.device)
    size = torch.tensor(hu.shape, dtype=torch.float32, device=hu.device)
    inside = ((where > -0.5) & (where < size - 0.5)).all(dim=-1)
    inside &= _seen(where, size, recipe.space, rng)
    grid = (2 * where / (size - 1).clamp_min(1) - 1).flip(-1)[None]  # grid_sample wants X first
    cut = functional.grid_sample(hu[None, None], grid, "bilinear", "border", align_corners=True)
    planes = functional.grid_sample(labels[None], grid, "nearest", "border", align_corners=True)
    first, second, share = planes[0]
    return Placed(cut[0, 0], first, second, share / 255, inside)


def _coordinates(
    centre: np.ndarray, recipe: SmallRecipe, rng: np.random.Generator, device: torch.device
) -> Tensor:
    """Return float32 [Z, Y, X, 3]: the stored voxel that each voxel of the patch shows."""
    space = recipe.space
    low, high = space.scale
    common = np.exp(rng.uniform(np.log(low), np.log(high)))
    scale = common * np.exp(rng.uniform(-space.stretch, space.stretch, 3))
    limits = (space.rotation_z, space.rotation_xy, space.rotation_xy)
    angles = np.deg2rad([rng.uniform(-limit, limit) for limit in limits])
    matrix = _rotation(angles) @ np.diag(np.array(recipe.spacing_mm) / recipe.stored_mm / scale)
    axes = [
        torch.arange(n, dtype=torch.float32, device=device) - (n - 1) / 2 for n in recipe.fit.patch
    ]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    turned = offsets @ torch.tensor(matrix.T, dtype=torch.float32, device=device)
    middle = torch.tensor(centre, dtype=torch.float32, device=device)
    return turned + middle + _bend_mm(recipe, rng, device) / recipe.stored_mm


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Return the rotation about Z, Y and X in turn, float64 [3, 3], axes (Z, Y, X)."""
    result = np.eye(3)
    for axis, angle in enumerate(angles):
        one, other = (n for n in range(3) if n != axis)
        turn = np.eye(3)
        turn[[one, other], [one, other]] = np.cos(angle)
        turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
        result = turn @ result
    return result


def _bend_mm(recipe: SmallRecipe, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Return a smooth random displacement, float32 [Z, Y, X, 3]."""
    patch, space = recipe.fit.patch, recipe.space
    lengths_mm = [n * mm for n, mm in zip(patch, recipe.spacing_mm, strict=True)]
    counts = [max(2, round(length / space.bend_every_mm) + 1) for length in lengths_mm]
    points = np.clip(rng.normal(0, space.bend_mm, (3, *counts)), -15, 15)
    field = torch.tensor(points, dtype=torch.float32, device=device)[None]
    finer = functional.interpolate(
        field, [2 * n for n in counts], mode="trilinear", align_corners=True
    )
    padded = functional.pad(finer, [1] * 6, mode="replicate")
    smooth = functional.avg_pool3d(padded, 3, stride=1)  # no kinks at the control points
    whole = functional.interpolate(smooth, list(patch), mode="trilinear", align_corners=True)
    return whole[0].permute(1, 2, 3, 0)


def _seen(where: Tensor, size: Tensor, space: Space, rng: np.random.Generator) -> Tensor:
    """Tell what a scan that ends early, or has a circular field of view, still shows."""
    seen = torch.ones(where.shape[:-1], dtype=torch.bool, device=where.device)
    if rng.uniform() < space.cut:
        axis = int(rng.choice([0, 0, 0, 1, 2]))
        positions = where[..., axis]
        share = rng.uniform(0.25, 0.75)
        low, high = positions.amin(), positions.amax()
        border = low + float(share) * (high - low)
        seen &= positions > border if rng.uniform() < 0.5 else positions < border
    if rng.uniform() < space.circle:
        radius = float(rng.uniform(0.36, 0.5)) * float(size[1:].max())
        offset = [float(rng.uniform(-0.08, 0.08)) * float(n) for n in size[1:]]
        y, x = (where[..., 1 + i] - float(size[1 + i]) / 2 - offset[i] for i in range(2))
        seen &= y * y + x * x < radius * radius
    return seen
