"""Simulate a scanner, its reconstruction and its file: noise, blur, thick slices, bits."""

import itertools

import numpy as np
import torch
from torch.nn import functional

from train.small.recipe import Scanner
from train.small.shapes import Tensor, blurred, grain


def scanned(
    hu: Tensor, scanner: Scanner, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """Return `hu`, float32 [Z, Y, X], as another scanner would have given it."""
    shape = tuple(hu.shape)
    if rng.uniform() < scanner.blur:
        hu = blurred(hu, float(rng.uniform(0.4, 0.9)))
    if rng.uniform() < scanner.bias:
        hu = hu + float(rng.uniform(4, 16)) * grain(shape, 0.4 * min(shape), generator)
    if rng.uniform() < scanner.white_noise:
        deviation = 2 + 28 * float(rng.uniform()) ** 2
        hu = hu + deviation * torch.randn(
            shape, generator=generator, device=hu.device, dtype=torch.float32
        )
    if rng.uniform() < scanner.grainy_noise:
        hu = hu + float(rng.uniform(2, 16)) * grain(shape, float(rng.uniform(1.3, 2.5)), generator)
    if rng.uniform() < scanner.sharpen:
        hu = hu + float(rng.uniform(0.2, 1.0)) * (hu - blurred(hu, 0.8))
    if rng.uniform() < scanner.thick_slices:
        hu = _thick(hu, float(rng.uniform(1.3, 3.2)))
    if rng.uniform() < scanner.gain:
        hu = hu * float(rng.uniform(0.9, 1.1)) + float(rng.uniform(-12, 12))
    if rng.uniform() < scanner.eight_bits:
        low, high = float(rng.uniform(-220, -100)), float(rng.uniform(230, 420))
        step = (high - low) / 255
        hu = ((hu.clamp(low, high) - low) / step).round() * step + low
    return hu


def remapped(
    image: Tensor, scanner: Scanner, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """Return the normalized `image` with its intensities bent, or through a random network."""
    if rng.uniform() < scanner.remap:
        image = _bent(image, rng)
    if rng.uniform() < scanner.random_network:
        image = _through_random_network(image, rng, generator)
    return image


def _thick(hu: Tensor, factor: float) -> Tensor:
    """Average over slices `factor` times as thick, and interpolate back."""
    z, y, x = hu.shape
    slices = max(2, round(z / factor))
    thick = functional.interpolate(hu[None, None], [slices, y, x], mode="area")
    return functional.interpolate(thick, [z, y, x], mode="trilinear")[0, 0]


def _bent(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Map intensities by a random growing curve of seven straight pieces; the ends stay."""
    low, high = image.amin(), image.amax()
    gaps = np.exp(rng.normal(0, 0.3, 7))
    knots = torch.tensor(np.concatenate([[0], np.cumsum(gaps) / gaps.sum()]), dtype=torch.float32)
    position = (image - low) / (high - low).clamp_min(1e-6) * 7
    left = position.floor().clamp(0, 6).long()
    knots = knots.to(image.device)
    start, end = knots[left], knots[left + 1]
    return low + (high - low) * (start + (end - start) * (position - left))


def _through_random_network(
    image: Tensor, rng: np.random.Generator, generator: torch.Generator
) -> Tensor:
    """Blend the image with what a shallow random network makes of it (GIN, arXiv 2111.12525)."""
    mean, deviation = image.mean(), image.std().clamp_min(1e-6)
    result = ((image - mean) / deviation)[None, None]
    channels = (1, 2, 2, 1)
    for number, (before, after) in enumerate(itertools.pairwise(channels)):
        edge = int(rng.choice([1, 3]))
        kernel = (
            torch.randn((after, before, edge, edge, edge), generator=generator, device=image.device)
            / (before * edge**3) ** 0.5
        )
        result = functional.conv3d(result, kernel, padding=edge // 2)
        if number < len(channels) - 2:
            result = functional.leaky_relu(result, 0.2)
    strange = result[0, 0]
    strange = (strange - strange.mean()) / strange.std().clamp_min(1e-6)
    share = float(rng.uniform(0, 0.6))
    return ((1 - share) * (image - mean) / deviation + share * strange) * deviation + mean
