"""What was measured of trainings and labellings, and how it is carried over to other cards."""

import math
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Card:
    """A GPU, as NVIDIA's data sheets describe it."""

    name: str
    memory_gb: int
    tflops: float
    """Peak of matrices in float16 or bfloat16, without sparsity."""
    gb_per_s: float
    """Peak of its memory."""


class Span(NamedTuple):
    """An amount of which the least and the most are known; where it was measured they are equal."""

    least: float
    most: float

    def times(self, factor: float) -> "Span":
        """Return so many times this."""
        return Span(self.least * factor, self.most * factor)

    @property
    def text(self) -> str:
        """What is shown: "7.5", "2.4 to 4.5" or "56 to 154"."""
        digits = 0 if self.most >= 20 else 1
        least, most = f"{self.least:,.{digits}f}", f"{self.most:,.{digits}f}"
        return most if least == most else f"{least} to {most}"


A100 = Card("A100", 80, 312, 2039)
H200 = Card("H200", 141, 989, 4800)
CARDS = (
    A100,
    Card("H100", 80, 989, 3350),
    H200,
    Card("L40S", 48, 362, 864),
    Card("RTX 4090", 24, 165, 1008),
)
"""A100 and H100 as SXM modules."""

# A training step on an A100: the blackbean team's FLARE23 log, as published with its code
# (Ziyan-Huang/FLARE23): 26.9 s an epoch of 250 steps of two patches 48x128x160.
STEP_S, STEP_PATCH, STEP_VOXELS = 26.9 / 250, (48, 128, 160), 2 * 48 * 128 * 160
# A window of the default-size network on an H200: docs/gpu.md.
WINDOW_S, WINDOW_VOXELS = 9.3e-3, 48 * 128 * 160
# The rest of a case on two cores of a Xeon: docs/results/speed_default_size.json, "kit, exact":
# read, prepare, labels, write.
REST_S, REST_CORES = 0.19 + 0.38 + 2.06 + 0.07, 2
# Of one core of a Xeon: docs/results/feeding_*.json. A case of 12 million voxels took 9.7 s and one
# of 39 million 8.5 s, so most is reading it; the larger is taken for all.
PREPARE_S = 9.7
DRAW_VOXEL_S = 0.094 / STEP_VOXELS  # of drawing a batch, by nnU-Net's augmentation
# nnU-Net's planner (`UNet_reference_val_3d`): so many values of feature maps of one patch take so
# much memory in a training with two patches.
REFERENCE_VALUES, REFERENCE_GB = 560_000_000, 8


def on_card(seconds: float, measured_on: Card, card: Card) -> Span:
    """Carry seconds over to another card.

    A network is limited by arithmetic in some layers and by memory in others, so the truth is
    taken to lie between the ratios of both peaks.
    """
    ratios = measured_on.tflops / card.tflops, measured_on.gb_per_s / card.gb_per_s
    return Span(seconds * min(ratios), seconds * max(ratios))


def case_s(card: Card, windows: int, patch: tuple[int, ...]) -> Span:
    """Return the seconds of a labelled case: its windows on a card, the rest on the CPU."""
    windows_s = on_card(WINDOW_S * windows * math.prod(patch) / WINDOW_VOXELS, H200, card)
    return Span(windows_s.least + REST_S, windows_s.most + REST_S)


def training_gb(feature_map_voxels: int, batch: int) -> float:
    """Return the GPU memory of a training, as nnU-Net's planner reckons."""
    return REFERENCE_GB * feature_map_voxels / REFERENCE_VALUES * batch / 2
