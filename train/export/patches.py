"""Cut patches for the parity report, as the prediction pipeline does."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.manifest import Intensity, Manifest
from inference.predictor import Predictor
from inference.settings import Settings

PATCHES_A_CASE = 4
_SOFT_TISSUE_HU = (-150.0, 250.0)


def parity_patches(
    manifest: Manifest, cases: Sequence[Path]
) -> tuple[NDArray[np.float32], list[str]]:
    """Gather the patches with the most soft tissue, and say where they come from.

    Args:
        manifest: How the network wants its input.
        cases: CTs; a generated phantom stands in where there is none.

    Returns:
        float32 [N, 1, Z, Y, X] patches, and the name of each one's case.

    Raises:
        KitError: A CT cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        sources = list(cases) or [_phantom(Path(folder))]
        patches, names = [], []
        for path in sources:
            share = partial(_soft_tissue_share, manifest.intensity)
            found = sorted(all_patches(path, manifest), key=share, reverse=True)[:PATCHES_A_CASE]
            patches += found
            names += [path.name] * len(found)
    return np.concatenate(patches), names


def _soft_tissue_share(intensity: Intensity, patch: NDArray[np.float32]) -> float:
    """Return how much of a normalized patch is soft tissue, 0 to 1."""
    low, high = _SOFT_TISSUE_HU
    low, high = max(low, intensity.clip_hu[0]), min(high, intensity.clip_hu[1])
    hu = patch * intensity.std_hu + intensity.mean_hu
    return float(np.mean((hu > low) & (hu < high)))


class Recorder:
    """Stands in for an engine and keeps every patch, float32 [1, 1, Z, Y, X]."""

    def __init__(self, outputs: int) -> None:
        self._outputs = outputs
        self.patches: list[NDArray[np.float32]] = []
        self.description: dict[str, str | int] = {"name": "recorder"}

    def infer(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keep float32 [1, 1, Z, Y, X] and give zeros [1, K, Z, Y, X]."""
        self.patches.append(patches.copy())
        return np.zeros((1, self._outputs, *patches.shape[2:]), dtype=np.float32)


def all_patches(path: Path, manifest: Manifest) -> list[NDArray[np.float32]]:
    """Return every patch of a CT that the network would see, each float32 [1, 1, Z, Y, X].

    Raises:
        KitError: The CT cannot be read.
    """
    recorder = Recorder(len(manifest.labels) + 1)
    Predictor(manifest, recorder, Settings(tta="none", clean=False)).segment(path)
    return recorder.patches


def _phantom(folder: Path) -> Path:
    from train.synthesis.phantom import write_phantom  # not needed where CTs are given

    return write_phantom(folder, 0)
