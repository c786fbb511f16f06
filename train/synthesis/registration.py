"""Deform one labelled anatomy onto another, guided by the organs and not by the images.

A small free-form deformation is fitted by gradient descent on the organs' soft overlap, coarse to
fine. The result moves a real CT, with its labels, into another patient's organ shapes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from imaging.errors import KitError
from imaging.geometry import Shape
from train.data.anatomy import Labels

SHARED = (1, 2, 3, 4, 5, 6, 9, 11, 12, 13)
"""Organs that guide: the adrenals and the esophagus are too thin to pull at 6 mm."""

_LEAST_SPREAD = 1.0
"""Variance of organ centers along an axis, in voxels squared, that tells a scale."""

Field = NDArray[np.float32]
"""float32 [3, z, y, x]: for points of the target, voxel coordinates in the source (Z, Y, X)."""


class LabelledCT(NamedTuple):
    """A CT on an isotropic grid with what is known of it, axes (Z, Y, X)."""

    hu: NDArray[np.float32]
    labels: Labels
    """FLARE labels, or `IGNORE` where nobody may be taught anything."""


@dataclass(frozen=True)
class Bend:
    """A deformation on a coarse grid, with how well the organs agree after it."""

    field: Field
    overlap: float
    """Mean soft Dice of the organs that both anatomies have, after the whole deformation."""
    stride: int
    """Voxels of the target between the field's points; the first lies at (stride - 1) / 2."""


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
    spread = here.var(axis=0)
    correlation = ((there - there.mean(0)) * (here - here.mean(0))).mean(0)
    usable = spread > _LEAST_SPREAD  # centers that lie together do not determine the scale
    scale = np.where(usable, np.clip(correlation / np.where(usable, spread, 1), 0.7, 1.4), 1.0)
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

    Raises:
        KitError: The two share none of the organs that guide.
    """
    ids = tuple(i for i in SHARED if (source == i).any() and (target == i).any())
    if not ids:
        raise KitError("the two anatomies share no organ that could guide; give other label maps")
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
    field = (placed * stride + (stride - 1) / 2)[0].numpy()
    return Bend(field, overlap, stride)


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


def warp(ct: LabelledCT, bend: Bend, shape: Shape) -> LabelledCT:
    """Move a CT and its labels through a deformation onto a grid of `shape`.

    Args:
        ct: Its HU are interpolated linearly; of its labels the nearest voxel's is taken.
        bend: What `fit_bend` found.
        shape: Target shape (Z, Y, X).
    """
    places = (_indices(shape) - (bend.stride - 1) / 2) / bend.stride
    coarse = torch.from_numpy(bend.field)[None]
    fine = _sample(coarse, places, "bilinear") + (places - _held(places, coarse)) * bend.stride
    moved = _sample(torch.from_numpy(ct.hu)[None, None], fine, "bilinear")[0, 0].numpy()
    named = torch.from_numpy(ct.labels.astype(np.float32))[None, None]
    return LabelledCT(moved, _sample(named, fine, "nearest")[0, 0].numpy().astype(np.uint8))


def source_slices(bend: Bend, slices: int) -> NDArray[np.float64]:
    """Return where each of the target's `slices` lies in the source, on average, in slices."""
    reach = bend.field[0].mean(axis=(1, 2)).astype(np.float64)
    places = (np.arange(slices) - (bend.stride - 1) / 2) / bend.stride
    beyond = (places - np.clip(places, 0, reach.size - 1)) * bend.stride
    found: NDArray[np.float64] = np.interp(places, np.arange(reach.size), reach) + beyond
    return found


def _held(places: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
    """Return `places` held within the field's points: beyond them it goes on voxel for voxel."""
    last = torch.tensor(coarse.shape[2:], dtype=torch.float32).view(1, 3, 1, 1, 1) - 1
    return torch.minimum(places.clamp_min(0), last)
