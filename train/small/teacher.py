"""Predict soft labels with an external network, averaged over several views of a CT.

A view moves the windows, changes the working grid or the intensities. It never flips: FLARE's
labels tell left from right.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from imaging.geometry import Shape
from imaging.volumes import Volume
from inference.engines import Engine
from inference.manifest import Manifest
from inference.predictor import Predictor
from inference.report import CaseReport
from inference.settings import Settings
from train.small.compact import SoftLabels


@dataclass(frozen=True)
class TeacherView:
    """One way to show a CT to the teacher."""

    scale: float = 1.0
    """Factor of the working grid's spacing: above 1 the patient looks smaller."""
    shift: float = 0.0
    """How far the windows are moved, as a share of the patch."""
    gain: float = 1.0
    """Factor of the normalized intensities."""


VIEWS = (
    TeacherView(),
    TeacherView(shift=0.25),
    TeacherView(scale=1.12),
    TeacherView(scale=0.9, shift=0.15),
    TeacherView(gain=1.12),
)


_STEP = 0.75
"""Between windows: the views overlap anyway."""


def ask(volume: Volume, manifest: Manifest, engine: Engine, shape: Shape) -> SoftLabels:
    """Return the teacher's soft labels of a CT on a grid of `shape` that covers the same box.

    Args:
        volume: The CT.
        manifest: The teacher's.
        engine: The teacher's network, open.
        shape: Of the result, in the teacher's orientation.
    """
    return two_best(sum_of(_probabilities(volume, manifest, engine, view, shape) for view in VIEWS))


def sum_of(views: Iterator[torch.Tensor]) -> torch.Tensor:
    """Add tensors up, holding two at a time."""
    total = next(views)
    for view in views:
        total += view
    return total


def two_best(probabilities: torch.Tensor) -> SoftLabels:
    """Keep the two largest of `probabilities`, float32 [K, Z, Y, X]; they need not sum to 1."""
    values, classes = probabilities.topk(2, dim=0)
    share = (255 * values[0] / values.sum(dim=0).clamp_min(1e-6)).round()
    first, second, packed = (part.to(torch.uint8).numpy() for part in (*classes, share))
    return SoftLabels(first, second, packed)


def _probabilities(
    volume: Volume, manifest: Manifest, engine: Engine, view: TeacherView, shape: Shape
) -> torch.Tensor:
    """Return float32 [K, *shape]: the network's softmax for one view."""
    z, y, x = (mm * view.scale for mm in manifest.spacing_mm)
    settings = Settings(crop="none", step=_STEP)
    predictor = Predictor(replace(manifest, spacing_mm=(z, y, x)), engine, settings)
    prepared = predictor.prepare(volume, CaseReport("view"))
    front = [round(view.shift * size) for size in manifest.window.patch]
    image = np.pad(prepared.image * np.float32(view.gain), [(n, 0) for n in front], mode="edge")
    slabs = [
        torch.from_numpy(slab).softmax(dim=0).to(torch.bfloat16)
        for slab in predictor.logits(replace(prepared, image=image))
    ]
    whole = torch.cat(slabs, dim=1)[:, front[0] :, front[1] :, front[2] :]
    return torch.cat(
        [
            torch.nn.functional.interpolate(part[None, None].float(), shape, mode="trilinear")[0]
            for part in whole
        ]
    )
