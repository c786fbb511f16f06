"""Tissue for phantoms in real shapes: organ means, texture, bowel, tumours, scanner effects."""

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.geometry import Shape, as_shape
from imaging.organs import ORGANS
from train.data.anatomy import BLADDER, BONE, BOWEL, Labels
from train.small import phases

Hu = NDArray[np.float32]
TUMOUR = ORGANS["tumour"]

_HOSTS = ((1, 0.5), (4, 0.15), (2, 0.1), (13, 0.1), (3, 0.05), (11, 0.05), (12, 0.05))


def organ_means(rng: np.random.Generator) -> dict[int, float]:
    """Draw a mean HU for every organ: a blend of two contrast phases, 12 HU of spread."""
    means = phases.phase_means(rng, 12.0)
    return {organ: float(means[organ]) for organ in range(1, len(means))}


def grainy_noise(rng: np.random.Generator, shape: Shape, width_voxels: float) -> Hu:
    """Gaussian noise of unit variance whose grains are about `width_voxels` wide."""
    noise = gaussian_blurred(rng.standard_normal(shape, dtype=np.float32), width_voxels / 2)
    noise /= noise.std() + np.float32(1e-6)
    return noise


def tissue_grain(rng: np.random.Generator, shape: Shape) -> Hu:
    """Texture of soft tissue in HU around its mean: coarse and fine grains."""
    return 6 * grainy_noise(rng, shape, 6) + 10 * grainy_noise(rng, shape, 1.6)


def gaussian_blurred(array: Hu, sigma_voxels: float) -> Hu:
    """Blur float32 [Z, Y, X] with a Gaussian."""
    image = sitk.GetImageFromArray(array)
    result: Hu = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(image, sigma_voxels))
    return result


def paint_bowel(hu: Hu, labels: Labels, grain: Hu, rng: np.random.Generator) -> None:
    """Fill labelled bowel, bladder and bone in place: fluid, stool, oral contrast, gas."""
    content = grainy_noise(rng, as_shape(hu), 8)
    bowel = labels == BOWEL
    for region, low, high in (
        (bowel, 15, 70),
        (bowel & (content > rng.uniform(0.3, 2.5)), 120, 400),
        (bowel & (content < -rng.uniform(0.5, 2.0)), -950, -700),
        (labels == BLADDER, 0, 25),
        (labels == BONE, 200, 450),
    ):
        hu[region] = rng.uniform(low, high) + grain[region]


def add_tumours(hu: Hu, labels: Labels, spacing_mm: float, rng: np.random.Generator) -> None:
    """Grow one to four tumours inside organs, in place; FLARE's tumour label covers the organ's."""
    hosts, shares = zip(*_HOSTS, strict=True)
    for _ in range(int(rng.integers(1, 5))):
        organ = int(rng.choice(hosts, p=shares))
        places = np.flatnonzero(np.equal(labels, organ))
        if places.size < 200:
            continue
        center = np.unravel_index(int(rng.choice(places)), hu.shape)
        radius = rng.uniform(5, 28 if organ == ORGANS["liver"] else 16) / spacing_mm
        reach = int(np.ceil(2 * radius))
        box = tuple(slice(max(0, int(c) - reach), int(c) + reach + 1) for c in center)
        part = labels[box]
        offsets = np.stack(
            [
                i + s.start - int(c)
                for i, s, c in zip(np.indices(part.shape), box, center, strict=True)
            ]
        )
        stretch = rng.uniform(0.75, 1.3, 3).reshape(3, 1, 1, 1)
        edge = np.sqrt(((offsets / stretch) ** 2).sum(axis=0))
        lumps = 0.15 * radius * grainy_noise(rng, as_shape(edge), max(2.0, radius))
        core = (edge + lumps < radius) & ((part == organ) | (part == TUMOUR))
        contrast = rng.choice((-1, 1), p=(0.85, 0.15)) * rng.uniform(20, 75)
        weight = gaussian_blurred(core.astype(np.float32), 0.6)
        hu[box] += weight * (contrast + 5 * grainy_noise(rng, as_shape(edge), 2))
        part[core] = TUMOUR


def degrade(hu: Hu, rng: np.random.Generator) -> Hu:
    """Add scanner effects: thick slices, blur, correlated noise, a small offset."""
    if rng.uniform() < 0.35:
        hu = thick_slices(hu, int(rng.integers(2, 4)))
    if rng.uniform() < 0.3:
        hu = gaussian_blurred(hu, rng.uniform(0.4, 0.9))
    sigma_hu = rng.uniform(0, 25) if rng.uniform() < 0.6 else 0.0
    return hu + sigma_hu * grainy_noise(rng, as_shape(hu), 1.5) + np.float32(rng.normal(0, 4))


def thick_slices(hu: Hu, factor: int) -> Hu:
    """Return `hu` with every `factor` slices, the last perhaps fewer, replaced by their mean."""
    starts = np.arange(0, len(hu), factor)
    counts = np.diff([*starts, len(hu)])
    means = np.add.reduceat(hu, starts, axis=0) / counts[:, np.newaxis, np.newaxis]
    return np.repeat(means, counts, axis=0).astype(np.float32)
