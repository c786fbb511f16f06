"""The random numbers of one sample: NumPy's for decisions, torch's for noise on the device."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Chance:
    """Both streams of random numbers; whoever asks in the same order gets the same ones."""

    rng: np.random.Generator
    generator: torch.Generator

    @classmethod
    def of_sample(cls, seed: int, number: int, device: torch.device) -> "Chance":
        """Return the streams of sample `number`, the same for the same kind of device."""
        sequence = np.random.SeedSequence((seed, number))
        generator = torch.Generator(device)
        generator.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        return cls(np.random.default_rng(sequence), generator)

    def happens(self, share: float) -> bool:
        """Tell whether it happens, which it does in `share` of all cases."""
        return self.rng.uniform() < share

    def between(self, low: float, high: float) -> float:
        """Return a number between two others, each as likely."""
        return float(self.rng.uniform(low, high))

    def count(self, low: int, high: int) -> int:
        """Return an integer of `low` to `high`, that one left out."""
        return int(self.rng.integers(low, high))

    def one_of(self, voxels: Tensor) -> tuple[int, ...]:
        """Return one of some voxels, integers [N, 3]."""
        return tuple(int(n) for n in voxels[self.count(0, len(voxels))])

    def noise(self, shape: tuple[int, ...]) -> Tensor:
        """Return white noise of unit deviation, float32."""
        return torch.randn(
            shape, generator=self.generator, device=self.generator.device, dtype=torch.float32
        )

    def grain(self, shape: tuple[int, ...], width: float) -> Tensor:
        """Return smooth noise of unit deviation, float32, its grains about `width` voxels wide.

        It is sampled on a grid as coarse as its grains and enlarged.
        """
        points = self.noise((1, 1, *(max(2, round(n / width)) for n in shape)))
        noise = functional.interpolate(points, shape, mode="trilinear", align_corners=True)[0, 0]
        return noise / noise.std().clamp_min(1e-6)
