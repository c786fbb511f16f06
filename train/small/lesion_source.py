"""Label liver lesions with the second external network."""

import itertools

import numpy as np
import torch
from numpy.typing import NDArray

from imaging.geometry import Shape, as_shape, foreground_box
from imaging.resampling import resample_linear
from train.small.lesion_network import INNER, MARGIN, TILE, LesionNetwork
from train.small.targets import closed_liver

Hu = NDArray[np.float32]
Mask = NDArray[np.bool_]

_SPACING_MM = (3.0, 1.0, 1.0)
"""Of the network's grid, (Z, Y, X)."""
_GAIN, _LEVEL_HU = 1.6, 110.0
"""Contrast around the liver's median before the network's own clip: it raised the covered share of
every lesion that the network finds (measured on six kept-back CTs, design notes)."""
_CLIP, _FACTOR = 0.2, 2.5
_OUTSIDE = -0.5
"""What the network sees of voxels beside the liver; beyond the liver's box it sees 0."""
_CERTAIN = 0.5


def find_lesions(hu: Hu, liver: Mask, spacing_mm: float, network: LesionNetwork) -> Mask:
    """Return where the network says lesion, bool [Z, Y, X].

    Args:
        hu: float32 [Z, Y, X], axes to Superior, Posterior, Left.
        liver: The first source's liver, on the same grid; its holes are closed here.
        spacing_mm: Edge of a voxel.
        network: The second source.
    """
    if not liver.any():
        return np.zeros_like(liver)
    whole = closed_liver(liver, spacing_mm)
    grid = tuple(
        max(1, round(n * spacing_mm / mm)) for n, mm in zip(hu.shape, _SPACING_MM, strict=True)
    )
    shape: Shape = (grid[0], grid[1], grid[2])
    mask = resample_linear(whole.astype(np.float32), shape) > 0.5
    median = np.median(hu[liver])
    image = resample_linear((hu - median) * _GAIN + _LEVEL_HU, shape)
    # The network's axes are X, Y, Z to Right, Anterior, Superior.
    image = np.flip(image.transpose(2, 1, 0), (0, 1))
    mask = np.flip(mask.transpose(2, 1, 0), (0, 1))
    found = np.zeros(image.shape, dtype=np.float32)
    near = (
        torch.nn.functional.max_pool3d(
            torch.from_numpy(mask.astype(np.float32))[None, None], 5, 1, 2
        )[0, 0].numpy()
        > 0
    )
    box = foreground_box(near.view(np.uint8))
    if box is None:  # smaller than a voxel of the network's grid
        return np.zeros_like(liver)
    seen = np.where(near, np.clip(image / 1000, -_CLIP, _CLIP) * _FACTOR, _OUTSIDE)[box]
    found[box] = _probabilities(seen.astype(np.float32), network)
    turned = np.ascontiguousarray(np.flip(found, (0, 1)).transpose(2, 1, 0))
    lesions: Mask = (resample_linear(turned, as_shape(hu)) > _CERTAIN) & whole
    return lesions


def _probabilities(image: Hu, network: LesionNetwork) -> Hu:
    """Run the network tile by tile over `image` [X, Y, Z]; beyond its borders lies 0."""
    padded = np.pad(image, [(m, m + i) for m, i in zip(MARGIN, INNER, strict=True)])
    result = np.zeros(image.shape, dtype=np.float32)
    starts = itertools.product(
        *(_starts(size, inner) for size, inner in zip(image.shape, INNER, strict=True))
    )
    for start in starts:
        tile = padded[tuple(slice(s, s + t) for s, t in zip(start, TILE, strict=True))]
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(torch.from_numpy(np.ascontiguousarray(tile))[None, None])
        place = tuple(
            slice(s, min(s + i, n)) for s, i, n in zip(start, INNER, image.shape, strict=True)
        )
        inner = tuple(slice(0, part.stop - part.start) for part in place)
        result[place] = logits.float().sigmoid()[0, 0].numpy()[inner]
    return result


def _starts(size: int, inner: int) -> list[int]:
    """Return the first voxel of each tile along an axis; the last tile ends where the axis does."""
    last = max(0, size - inner)
    return [*range(0, last, inner), last]
