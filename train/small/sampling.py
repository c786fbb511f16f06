"""Generate a training sample from its number; the same number gives the same sample."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from imaging.organs import ORGANS
from train.small.chance import Chance
from train.small.compact import UNKNOWN, PreparedCase
from train.small.lesions import grow
from train.small.phases import change_phase, fill
from train.small.recipe import SmallRecipe
from train.small.scanner import remapped, scanned
from train.small.space import Placed, sample_space

LIVER, TUMOUR = ORGANS["liver"], ORGANS["tumour"]
CLASSES = 15
"""Background, thirteen organs, tumour."""
_CENTRES = 4000
"""Voxels kept of each class of a case, to centre samples on."""


@dataclass(frozen=True)
class Sample:
    """What one step learns from, all float32 with axes [1, C, Z, Y, X]."""

    image: Tensor
    """C = 1: normalized intensities; 0 outside of the scan, as prediction pads."""
    target: Tensor
    """C = 15: the share of each class."""
    weight: Tensor
    """C = 1: 1 where the target is known, else 0."""


@dataclass(frozen=True)
class _Loaded:
    """A case in memory, on the device."""

    name: str
    hu: Tensor
    labels: Tensor
    centres: dict[int, np.ndarray]
    """Voxels [N, 3] by class."""
    own_hu: np.ndarray
    """float64 [14]: the median HU of each organ; NaN where there is none."""


@contextmanager
def _ordinary_kernels() -> Iterator[None]:
    """Let torch take its usual kernels, which give the same bytes where no gradient is asked for.

    On a GPU it would make enlargements and scatters out of a hundred kernels each.
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


class Sampler:
    """Draws samples from prepared cases."""

    def __init__(
        self, cases: Iterable[PreparedCase], recipe: SmallRecipe, device: torch.device
    ) -> None:
        """Load `cases` to `device`."""
        self._recipe = recipe
        self.device = device
        self._cases = [_load(case, recipe.seed, device) for case in cases]
        repeats = np.array([recipe.repeats.get(case.name, 1) for case in self._cases], float)
        self._shares = repeats / repeats.sum()

    @_ordinary_kernels()
    def draw(self, number: int) -> Sample:
        """Return sample `number`: the same for the same recipe, cases and kind of device."""
        recipe, fit = self._recipe, self._recipe.fit
        chance = Chance.of_sample(recipe.seed, number, self.device)
        rng = chance.rng
        case = self._cases[int(rng.choice(len(self._cases), p=self._shares))]
        centre = _centre(case, recipe, rng)
        placed = sample_space(case.hu, case.labels, centre, recipe, rng)
        known = (placed.first != UNKNOWN) & placed.inside
        hu, target = placed.hu, _dense(placed)
        if chance.happens(recipe.contrast.share):
            hu = change_phase(hu, target, case.own_hu, recipe.contrast, rng)
        hu = fill(hu, target, recipe.filling, chance)
        hu, target = grow(hu, target, recipe.spacing_mm, recipe.lesions, chance)
        hu = scanned(hu, recipe.scanner, chance)
        image = (hu.clamp(*fit.clip_hu) - fit.mean_hu) / fit.std_hu
        image = remapped(image, recipe.scanner, chance)
        image = torch.where(placed.inside, image, torch.zeros_like(image))
        return Sample(image[None, None], target[None], known.float()[None, None])


def _load(case: PreparedCase, seed: int, device: torch.device) -> _Loaded:
    """Bring a case to the device, and find where its classes are."""
    labels = case.labels
    rng = np.random.default_rng(seed)
    centres, own = {}, np.full(14, np.nan)
    for label in np.unique(labels.first):
        if label == UNKNOWN:
            continue
        voxels = np.argwhere(labels.first == label)
        few = rng.permutation(len(voxels))[:_CENTRES]
        centres[int(label)] = voxels[few].astype(np.float32)
        if 0 < label < 14:
            sure = (labels.first == label) & (labels.share > 230) & (case.hu > -100)
            own[label] = np.median(case.hu[sure]) if sure.any() else np.nan
    planes = np.stack([labels.first, labels.second, labels.share]).astype(np.float32)
    hu, classes = (torch.from_numpy(array).to(device) for array in (case.hu, planes))
    return _Loaded(case.name, hu, classes, centres, own)


def _centre(case: _Loaded, recipe: SmallRecipe, rng: np.random.Generator) -> np.ndarray:
    """Draw the voxel in the middle of a sample: of a tumour, of a random class, or anywhere."""
    classes = [label for label in case.centres if label]
    if TUMOUR in classes and rng.uniform() < recipe.lesions.centred:
        classes = [TUMOUR]
    elif rng.uniform() >= recipe.space.centred:
        classes = []
    if classes:
        voxels = case.centres[int(rng.choice(classes))]
        chosen: np.ndarray = voxels[int(rng.integers(len(voxels)))] + rng.normal(0, 4, 3)
        return chosen
    shape = np.array(case.hu.shape, float)
    border = np.array([0.1, 0.3, 0.3])  # the body is wider than the patch by little
    anywhere: np.ndarray = rng.uniform(border * shape, (1 - border) * shape)
    return anywhere


def _dense(placed: Placed) -> Tensor:
    """Return shares float32 [15, Z, Y, X] from the two best classes of each voxel.

    What is unknown lies in or at a liver and looks as the liver does: it counts as liver, so that
    it changes with it; the loss leaves it out.
    """
    result = torch.zeros((CLASSES, *placed.first.shape), device=placed.first.device)
    classes = (placed.first, placed.second)
    one, other = (torch.where(part == UNKNOWN, LIVER, part).long() for part in classes)
    result.scatter_(0, one[None], placed.share[None])
    result.scatter_add_(0, other[None], (1 - placed.share)[None])
    return result
