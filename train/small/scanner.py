"""Simulate a scanner, its reconstruction and its file: noise, blur, thick slices, bits."""

import itertools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from train.small.chance import Chance
from train.small.recipe import Scanner
from train.small.shapes import blurred


def scanned(hu: Tensor, scanner: Scanner, chance: Chance) -> Tensor:
    """Return `hu`, float32 [Z, Y, X], as another scanner would have given it."""
    shape = tuple(hu.shape)
    if chance.happens(scanner.blur):
        hu = blurred(hu, chance.between(0.4, 0.9))
    if chance.happens(scanner.bias):
        hu = hu + chance.between(4, 16) * chance.grain(shape, 0.4 * min(shape))
    if chance.happens(scanner.white_noise):
        deviation = 2 + 28 * chance.between(0, 1) ** 2
        hu = hu + deviation * chance.noise(shape)
    if chance.happens(scanner.grainy_noise):
        hu = hu + chance.between(2, 16) * chance.grain(shape, chance.between(1.3, 2.5))
    if chance.happens(scanner.sharpen):
        hu = hu + chance.between(0.2, 1.0) * (hu - blurred(hu, 0.8))
    if chance.happens(scanner.thick_slices):
        hu = _thick(hu, chance.between(1.3, 3.2))
    if chance.happens(scanner.gain):
        hu = hu * chance.between(0.9, 1.1) + chance.between(-12, 12)
    if chance.happens(scanner.eight_bits):
        low, high = chance.between(-220, -100), chance.between(230, 420)
        step = (high - low) / 255
        hu = ((hu.clamp(low, high) - low) / step).round() * step + low
    return hu


def remapped(image: Tensor, scanner: Scanner, chance: Chance) -> Tensor:
    """Return the normalized `image` with its intensities bent, or through a random network."""
    if chance.happens(scanner.remap):
        image = _bent(image, chance.rng)
    if chance.happens(scanner.random_network):
        image = _through_random_network(image, chance)
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


def _through_random_network(image: Tensor, chance: Chance) -> Tensor:
    """Blend the image with what a shallow random network makes of it (GIN, arXiv 2111.12525)."""
    mean, deviation = image.mean(), image.std().clamp_min(1e-6)
    result = ((image - mean) / deviation)[None, None]
    channels = (1, 2, 2, 1)
    for number, (before, after) in enumerate(itertools.pairwise(channels)):
        edge = int(chance.rng.choice([1, 3]))
        kernel = chance.noise((after, before, edge, edge, edge)) / (before * edge**3) ** 0.5
        result = functional.conv3d(result, kernel, padding=edge // 2)
        if number < len(channels) - 2:
            result = functional.leaky_relu(result, 0.2)
    strange = result[0, 0]
    strange = (strange - strange.mean()) / strange.std().clamp_min(1e-6)
    share = chance.between(0, 0.6)
    return ((1 - share) * (image - mean) / deviation + share * strange) * deviation + mean
