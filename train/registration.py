"""Bend one labelled anatomy onto another: organs guide, images are not looked at.

A small free-form deformation is fitted by gradient descent on the organs' soft overlap, coarse to
fine. The result moves a real CT, with its labels, into another patient's organ shapes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from train.anatomy import Labels, Shape

SHARED = (1, 2, 3, 4, 5, 6, 9, 11, 12, 13)
"""Organs that guide: the adrenals and the esophagus are too thin to pull at 6 mm."""

Field = NDArray[np.float32]
"""float32 [3, z, y, x]: for points of the target, voxel coordinates in the source (Z, Y, X)."""


@dataclass(frozen=True)
class Bend:
    """A deformation on a coarse grid, with how well the organs agree after it."""

    start: Field
    """Scale and shift only."""
    field: Field
    """The whole deformation."""
    overlap: float
    """Mean soft Dice of the organs that both anatomies have, after the whole deformation."""

    def partial(self, share: float) -> Field:
        """Return the field that goes `share` of the way from `start` to `field`."""
        return self.start + np.float32(share) * (self.field - self.start)


def _organs(labels: Labels, ids: tuple[int, ...], stride: int) -> torch.Tensor:
    """Return blurred one-hot organs, float32 [1, C, z, y, x], at every `stride`-th voxel."""
    maps = [torch.from_numpy((labels == i).astype(np.float32)) for i in ids]
    stacked = torch.stack(maps)[None]
    coarse = functional.avg_pool3d(stacked, stride, ceil_mode=True, count_include_pad=False)
    return functional.avg_pool3d(coarse, 3, stride=1, padding=1, count_include_pad=False)


def _start(source: Labels, target: Labels, ids: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    """Fit scale and shift per axis (source = scale * target + shift, voxels) to organ centers."""
    centers = [[np.argwhere(a == i).mean(axis=0) for i in ids] for a in (source, target)]
    there, here = np.array(centers[0]), np.array(centers[1])
    spread = here.std(axis=0) + 1e-6
    correlation = ((there - there.mean(0)) * (here - here.mean(0))).mean(0)
    scale = np.clip(correlation / spread**2, 0.7, 1.4)
    shift = there.mean(axis=0) - scale * here.mean(axis=0)
    return torch.tensor(scale, dtype=torch.float32), torch.tensor(shift, dtype=torch.float32)


def _sample(volume: torch.Tensor, coordinates: torch.Tensor, mode: str) -> torch.Tensor:
    """Sample [1, C, Z, Y, X] at voxel `coordinates` [1, 3, z, y, x], edges extended."""
    size = torch.tensor(volume.shape[2:], dtype=torch.float32).view(1, 3, 1, 1, 1)
    unit = (2 * coordinates + 1) / size - 1
    grid = unit.flip(1).permute(0, 2, 3, 4, 1)
    return functional.grid_sample(
        volume, grid, mode=mode, padding_mode="border", align_corners=False
    )


def _indices(shape: Shape) -> torch.Tensor:
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in shape), indexing="ij")
    return torch.stack(axes)[None]


def fit_bend(source: Labels, target: Labels, stride: int = 3, steps: int = 30) -> Bend:
    """Find the deformation that lays the organs of `source` on those of `target`.

    Args:
        source: uint8 [Z, Y, X] labels of the anatomy that will be moved.
        target: uint8 [Z, Y, X] labels of the anatomy whose shape is wanted; same voxel size.
        stride: Voxels between the points at which organs are compared.
        steps: Gradient steps at each of three control-point distances.

    Returns:
        The field at every `stride`-th voxel of the target, and the overlap reached.
    """
    ids = tuple(i for i in SHARED if (source == i).any() and (target == i).any())
    moving, fixed = _organs(source, ids, stride), _organs(target, ids, stride)
    scale, shift = (t.view(1, 3, 1, 1, 1) for t in _start(source, target, ids))
    shape = (fixed.shape[2], fixed.shape[3], fixed.shape[4])
    full = _indices(shape) * stride + (stride - 1) / 2
    base = (scale * full + shift - (stride - 1) / 2) / stride
    knots: list[torch.Tensor] = []
    for distance in (12, 6, 3):
        knots.append(torch.zeros(1, 3, *(max(2, n // distance + 1) for n in shape)))
        knots[-1].requires_grad_(True)
        descent = torch.optim.Adam(knots, lr=0.3)
        for _ in range(steps):
            move = _spread(knots, shape)
            loss = 1 - _overlap(_sample(moving, base + move, "bilinear"), fixed)
            loss = loss + 0.1 * _roughness(move)
            descent.zero_grad()
            loss.backward()
            descent.step()
    with torch.no_grad():
        placed = base + _spread(knots, shape)
        overlap = float(_overlap(_sample(moving, placed, "bilinear"), fixed))
    start, field = ((p * stride + (stride - 1) / 2)[0].numpy() for p in (base, placed))
    return Bend(start, field, overlap)


def _spread(knots: list[torch.Tensor], shape: Shape) -> torch.Tensor:
    parts = [
        functional.interpolate(k, size=shape, mode="trilinear", align_corners=True) for k in knots
    ]
    return torch.stack(parts).sum(dim=0)


def _overlap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Soft Dice, mean over organs, each organ counting the same."""
    axes = (0, 2, 3, 4)
    return ((2 * (a * b).sum(axes) + 1e-3) / ((a * a).sum(axes) + (b * b).sum(axes) + 1e-3)).mean()


def _roughness(move: torch.Tensor) -> torch.Tensor:
    """Mean squared difference between neighbours, in voxels."""
    return torch.stack([move.diff(dim=axis).square().mean() for axis in (2, 3, 4)]).sum()


def warp(
    hu: NDArray[np.float32], labels: Labels, field: Field, shape: Shape
) -> tuple[NDArray[np.float32], Labels]:
    """Move a CT and its labels through `field` onto a grid of `shape`.

    Args:
        hu: float32 [Z, Y, X] in Hounsfield units; interpolated linearly.
        labels: uint8 [Z, Y, X] on the same grid; the nearest voxel's label is taken.
        field: As in `Bend`, at any coarser resolution of the target's box.
        shape: Target shape (Z, Y, X).
    """
    coarse = torch.from_numpy(field)[None]
    fine = functional.interpolate(coarse, size=shape, mode="trilinear", align_corners=False)
    moved = _sample(torch.from_numpy(hu)[None, None], fine, "bilinear")[0, 0].numpy()
    named = torch.from_numpy(labels.astype(np.float32))[None, None]
    return moved, _sample(named, fine, "nearest")[0, 0].numpy().astype(np.uint8)
