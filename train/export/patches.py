"""Cut patches for the parity report, as the prediction pipeline does."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.engines import Engine
from inference.manifest import Manifest
from inference.predictor import Predictor, Settings

PATCHES_A_CASE = 4
_SOFT_TISSUE_HU = (-150.0, 250.0)


class SoftTissueRecorder:
    """Stands in for an engine and keeps the patches with the most soft tissue."""

    def __init__(self, manifest: Manifest) -> None:
        intensity = manifest.intensity
        low, high = _SOFT_TISSUE_HU
        self._low = max(low, intensity.clip_hu[0])
        self._high = min(high, intensity.clip_hu[1])
        self._mean, self._std = intensity.mean_hu, intensity.std_hu
        self._outputs = len(manifest.labels) + 1
        self._kept: list[tuple[float, NDArray[np.float32]]] = []
        self.description: dict[str, str | int] = {"name": "recorder"}

    def infer(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Look at float32 [1, 1, Z, Y, X] and give zeros [1, K, Z, Y, X]."""
        hu = patches * self._std + self._mean
        share = float(np.mean((hu > self._low) & (hu < self._high)))
        self._kept.append((share, patches[0].copy()))
        self._kept.sort(key=lambda kept: kept[0], reverse=True)
        del self._kept[PATCHES_A_CASE:]
        return np.zeros((1, self._outputs, *patches.shape[2:]), dtype=np.float32)

    @property
    def patches(self) -> list[NDArray[np.float32]]:
        """The patches kept, each float32 [1, Z, Y, X], the fullest first."""
        return [patch for _, patch in self._kept]


def parity_patches(
    manifest: Manifest, cases: Sequence[Path]
) -> tuple[NDArray[np.float32], list[str]]:
    """Gather patches and say where they come from.

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
            found = _patches_of(path, manifest)
            patches += found
            names += [path.name] * len(found)
    return np.stack(patches), names


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
    _show_all(path, manifest, recorder)
    return recorder.patches


def _phantom(folder: Path) -> Path:
    from train.synthesis.phantom import write_phantom  # not needed where CTs are given

    return write_phantom(folder, 0)


def _patches_of(path: Path, manifest: Manifest) -> list[NDArray[np.float32]]:
    recorder = SoftTissueRecorder(manifest)
    _show_all(path, manifest, recorder)
    return recorder.patches


def _show_all(path: Path, manifest: Manifest, engine: Engine) -> None:
    """Show `engine` every patch of a CT."""
    Predictor(manifest, engine, Settings(tta="none", clean=False)).segment(path)
