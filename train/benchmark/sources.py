"""Three sources of pseudo labels with known errors, on generated cases whose truth is known."""

from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import cc3d
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.ndimage import binary_dilation, generate_binary_structure

from inference.files import make_folder
from inference.organs import ORGANS
from inference.phantom import phantom
from inference.volumes import write_volume
from train.release import LABEL_SUFFIX

Labels = NDArray[np.uint8]
Corrupt = Callable[[Labels, np.random.Generator], Labels]
SHAPE = (56, 72, 88)
SPACING_MM = (4.0, 4.0, 4.0)
TUMOURS_MM = (8.0, 16.0, 32.0)
TUMOUR, LIVER = ORGANS["tumour"], ORGANS["liver"]
SIDES = {"right kidney": "left kidney", "right adrenal gland": "left adrenal gland"}
SMALL_VOXELS = 30


def shifted(truth: Labels, rng: np.random.Generator) -> Labels:
    """Lie one voxel off along a random axis; miss tumours under `SMALL_VOXELS`."""
    said = truth.copy()
    pieces = cc3d.connected_components(truth == TUMOUR)
    small = np.flatnonzero(np.bincount(pieces.ravel()) < SMALL_VOXELS)
    said[np.isin(pieces, small[small > 0])] = LIVER
    return np.roll(said, int(rng.choice((-1, 1))), int(rng.integers(3)))


def confused(truth: Labels, rng: np.random.Generator) -> Labels:
    """Take left for right in a quarter of the cases; grow tumours by a voxel, and invent some."""
    said = truth.copy()
    grown = binary_dilation(truth == TUMOUR, generate_binary_structure(3, 1))
    said[grown & (truth == LIVER)] = TUMOUR
    for _ in range(rng.integers(0, 3)):
        middle = rng.choice(np.argwhere(truth > 0))
        grid = np.indices(truth.shape) - middle.reshape(3, 1, 1, 1)
        ball = (grid**2).sum(axis=0) <= rng.integers(2, 10)
        said[ball & (truth > 0)] = TUMOUR
    if rng.uniform() < 0.25:
        for right, left in SIDES.items():
            pair = ORGANS[right], ORGANS[left]
            said[truth == pair[0]], said[truth == pair[1]] = pair[::-1]
    return said


def coarse(truth: Labels, rng: np.random.Generator) -> Labels:
    """See every second voxel, never a tumour, and no gallbladder in half of the cases."""
    said = np.where(truth == TUMOUR, np.uint8(LIVER), truth)
    if rng.uniform() < 0.5:
        said[said == ORGANS["gallbladder"]] = 0
    for axis in range(3):
        said = np.repeat(said.take(range(0, said.shape[axis], 2), axis), 2, axis)
    return said


SOURCES: dict[str, Corrupt] = {"shifted": shifted, "confused": confused, "coarse": coarse}


def write_sources(cases: int, seed: int, folder: Path) -> None:
    """Write `folder`/truth and a folder a source; every other case has tumours.

    Raises:
        KitError: `folder` cannot be written.
    """
    for name in ("truth", *SOURCES):
        make_folder(folder / name)
    for number in track(range(cases), "cases", console=Console(stderr=True), transient=True):
        case = f"FLARE23_{number + 1:04d}{LABEL_SUFFIX}"
        _, truth = phantom(seed + number, SHAPE, SPACING_MM, number % 2 == 0, TUMOURS_MM)
        write_volume(truth, SPACING_MM, folder / "truth" / case)
        for name, corrupt in SOURCES.items():
            rng = np.random.default_rng([seed, number, crc32(name.encode())])
            write_volume(corrupt(truth, rng), SPACING_MM, folder / name / case)
