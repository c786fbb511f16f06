"""Sources of pseudo labels with known errors, made of true label maps."""

from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.ndimage import binary_dilation, generate_binary_structure

from imaging.components import connected
from imaging.errors import KitError
from imaging.files import make_folder
from imaging.organs import ORGANS
from imaging.terminal import terminal
from imaging.volumes import write_labels
from train.data.release import LABEL_SUFFIX
from train.pseudo_labels.fusion import read_flare_labels

Labels = NDArray[np.uint8]
Corrupt = Callable[[Labels, np.random.Generator], Labels]
TUMOUR, LIVER = ORGANS["tumour"], ORGANS["liver"]
SIDES = {"right kidney": "left kidney", "right adrenal gland": "left adrenal gland"}
SMALL_VOXELS = 30


def shifted(truth: Labels, rng: np.random.Generator) -> Labels:
    """Lie one voxel off along a random axis; miss tumours under `SMALL_VOXELS`."""
    labels = truth.copy()
    pieces = connected(truth == TUMOUR)
    small = np.flatnonzero(pieces.sizes < SMALL_VOXELS)
    labels[np.isin(pieces.numbers, small[small > 0])] = LIVER
    return np.roll(labels, int(rng.choice((-1, 1))), int(rng.integers(3)))


def confused(truth: Labels, rng: np.random.Generator) -> Labels:
    """Take left for right in a quarter of the cases; grow tumours by a voxel, and invent some."""
    labels = truth.copy()
    grown = binary_dilation(truth == TUMOUR, generate_binary_structure(3, 1))
    labels[grown & (truth == LIVER)] = TUMOUR
    for _ in range(rng.integers(0, 3)):
        middle = rng.choice(np.argwhere(truth > 0))
        grid = np.indices(truth.shape) - middle.reshape(3, 1, 1, 1)
        ball = (grid**2).sum(axis=0) <= rng.integers(2, 10)
        labels[ball & (truth > 0)] = TUMOUR
    if rng.uniform() < 0.25:
        for right, left in SIDES.items():
            pair = ORGANS[right], ORGANS[left]
            labels[truth == pair[0]], labels[truth == pair[1]] = pair[::-1]
    return labels


def coarse(truth: Labels, rng: np.random.Generator) -> Labels:
    """See every second voxel, never a tumour, and no gallbladder in half of the cases."""
    labels = np.where(truth == TUMOUR, np.uint8(LIVER), truth)
    if rng.uniform() < 0.5:
        labels[labels == ORGANS["gallbladder"]] = 0
    for axis in range(3):
        labels = np.repeat(labels.take(range(0, labels.shape[axis], 2), axis), 2, axis)
    return labels


def mirrored(truth: Labels, rng: np.random.Generator) -> Labels:
    """Lie as after a direction matrix that was lost: left is right."""
    return np.flip(truth, 2)


SOURCES: dict[str, Corrupt] = {
    "shifted": shifted,
    "confused": confused,
    "coarse": coarse,
    "mirrored": mirrored,
}


def write_sources(truth: Path, seed: int, folder: Path) -> int:
    """Write a folder a source, `<case>.nii.gz` for every map of `truth`.

    Returns:
        The number of cases.

    Raises:
        KitError: There is no map, one cannot be read, or `folder` cannot be written.
    """
    paths = sorted(truth.glob(f"*{LABEL_SUFFIX}"))
    if not paths:
        raise KitError(f"{truth}: no *{LABEL_SUFFIX}; give a folder of true label maps")
    for name in SOURCES:
        make_folder(folder / name)
    for path in track(paths, "cases", console=terminal(stderr=True), transient=True):
        found = read_flare_labels(path)
        for name, corrupt in SOURCES.items():
            rng = np.random.default_rng([seed, crc32(path.name.encode()), crc32(name.encode())])
            write_labels(corrupt(found.labels, rng), found.header, folder / name / path.name)
    return len(paths)
