"""Repaint a labelled CT: other contrast phases, tumours, noise, thicker slices.

The idea is SynthSeg's (arXiv 2107.09559): a network that has seen every organ at every plausible
brightness does not rely on one scanner's or one phase's. Here the texture of a real CT is kept and
only its organ means are moved.
"""

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from inference.organs import ORGANS
from train.anatomy import BLADDER, BONE, BOWEL, Labels, Shape

Hu = NDArray[np.float32]
TUMOUR = ORGANS["tumour"]
GAS_HU = -200.0

# Mean HU by organ, in the order of `_ORGANS`. Typical radiological values; the spread drawn
# around them (`phase_means`) is wider than the differences between textbooks.
_ORGANS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
PHASES: dict[str, tuple[int, ...]] = {
    "native": (55, 32, 48, 40, 42, 40, 28, 28, 8, 38, 35, 35, 32),
    "arterial": (70, 165, 130, 105, 300, 90, 65, 65, 8, 55, 50, 65, 165),
    "portal": (110, 175, 120, 100, 150, 145, 65, 65, 10, 60, 50, 65, 175),
    "delayed": (92, 150, 95, 80, 110, 110, 50, 50, 12, 55, 45, 55, 150),
}
_HOSTS = ((1, 0.5), (4, 0.15), (2, 0.1), (13, 0.1), (3, 0.05), (11, 0.05), (12, 0.05))


def phase_means(rng: np.random.Generator) -> dict[int, float]:
    """Draw a mean HU for every organ: a blend of two phases, then 12 HU of spread an organ."""
    names = sorted(PHASES)
    first, second = (np.array(PHASES[names[i]], float) for i in rng.integers(0, len(names), 2))
    share = rng.uniform()
    means = share * first + (1 - share) * second + rng.normal(0, 12, len(_ORGANS))
    means[12] = means[1] + rng.normal(0, 5)  # both kidneys enhance alike
    means[7] = means[6] + rng.normal(0, 5)
    if rng.uniform() < 0.15:
        means[0] -= rng.uniform(20, 60)  # fatty liver
    return dict(zip(_ORGANS, means.tolist(), strict=True))


def smooth_noise(rng: np.random.Generator, shape: Shape, width_voxels: float) -> Hu:
    """Gaussian noise of unit variance whose grains are about `width_voxels` wide."""
    noise = blurred(rng.standard_normal(shape, dtype=np.float32), width_voxels / 2)
    noise /= noise.std() + np.float32(1e-6)
    return noise


def tissue_grain(rng: np.random.Generator, shape: Shape) -> Hu:
    """Texture of soft tissue in HU around its mean: coarse and fine grains."""
    return 6 * smooth_noise(rng, shape, 6) + 10 * smooth_noise(rng, shape, 1.6)


def blurred(array: Hu, sigma_voxels: float) -> Hu:
    """Blur float32 [Z, Y, X] with a Gaussian."""
    image = sitk.GetImageFromArray(array)
    result: Hu = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(image, sigma_voxels))
    return result


def recolor(hu: Hu, labels: Labels, means: dict[int, float], rng: np.random.Generator) -> Hu:
    """Move every organ of `labels` to its mean, keep its texture; gas inside stays gas."""
    shift = np.zeros_like(hu)
    tissue = hu > GAS_HU
    for organ, mean in means.items():
        inside = (labels == organ) & tissue
        if inside.any():
            shift[inside] = mean - np.median(hu[inside])
    soft = (labels == 0) & (hu > 20) & (hu < 200)
    shift[soft] = rng.normal(0, 6)
    return np.where(tissue, hu + blurred(shift, 0.5), hu)


def paint_bowel(hu: Hu, drawn: Labels, grain: Hu, rng: np.random.Generator) -> None:
    """Fill drawn bowel, bladder and bone in place: fluid, stool, oral contrast, gas."""
    content = smooth_noise(rng, _shape(hu), 8)
    bowel = drawn == BOWEL
    for region, low, high in (
        (bowel, 15, 70),
        (bowel & (content > rng.uniform(0.3, 2.5)), 120, 400),
        (bowel & (content < -rng.uniform(0.5, 2.0)), -950, -700),
        (drawn == BLADDER, 0, 25),
        (drawn == BONE, 200, 450),
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
        lumps = 0.15 * radius * smooth_noise(rng, _shape(edge), max(2.0, radius))
        core = (edge + lumps < radius) & ((part == organ) | (part == TUMOUR))
        contrast = rng.choice((-1, 1), p=(0.85, 0.15)) * rng.uniform(20, 75)
        weight = blurred(core.astype(np.float32), 0.6)
        hu[box] += weight * (contrast + 5 * smooth_noise(rng, _shape(edge), 2))
        part[core] = TUMOUR


def degrade(hu: Hu, rng: np.random.Generator) -> Hu:
    """Add scanner effects: thick slices, blur, correlated noise, a small offset."""
    if rng.uniform() < 0.35:
        kernel = int(rng.integers(2, 4))
        thick = np.stack([np.roll(hu, -k, axis=0) for k in range(kernel)]).mean(axis=0)
        hu = np.repeat(thick[::kernel], kernel, axis=0)[: hu.shape[0]].astype(np.float32)
    if rng.uniform() < 0.3:
        hu = blurred(hu, rng.uniform(0.4, 0.9))
    sigma_hu = rng.uniform(0, 25) if rng.uniform() < 0.6 else 0.0
    return hu + sigma_hu * smooth_noise(rng, _shape(hu), 1.5) + np.float32(rng.normal(0, 4))


def _shape(array: NDArray[np.generic]) -> Shape:
    z, y, x = array.shape
    return z, y, x
