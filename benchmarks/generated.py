"""Generated abdomens that benchmarks run on, and predictions of them that err on every surface."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.alternating import in_own_process
from imaging.geometry import Grid
from imaging.volumes import write_volume
from train.synthesis.phantom import phantom

GRID = Grid((200, 512, 512), (2.5, 0.8, 0.8))
"""Of a pair."""
_KNOT_VOXELS = 25
_ERROR_MM = 1.6
"""Standard deviation of the displacement on each axis: DSC about 0.8 to 0.97 by organ."""


def write_abdomens(folder: Path, count: int, grid: Grid) -> dict[str, tuple[Path, Path]]:
    """Write CTs and label maps into a folder; return the two files of each case."""
    cases = {}
    for seed in range(count):
        hu, labels = phantom(seed, grid.shape, grid.spacing_mm)
        files = folder / f"p{seed}_0000.nii.gz", folder / f"p{seed}.nii.gz"
        write_volume(hu, grid.spacing_mm, files[0])
        write_volume(labels, grid.spacing_mm, files[1])
        cases[f"p{seed}"] = files
    return cases


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Write one case into `folder`/truth and `folder`/pred; return the two folders.

    In a process of its own: the peak of a child counts what its parent held at the fork.
    """
    return in_own_process(_write_pair, folder)


def _write_pair(folder: Path) -> tuple[Path, Path]:
    truth = phantom(0, GRID.shape, GRID.spacing_mm)[1]
    folders = folder / "truth", folder / "pred"
    for place, labels in zip(folders, (truth, displaced(truth, GRID, 0)), strict=True):
        place.mkdir()
        write_volume(labels, GRID.spacing_mm, place / "case.nii.gz")
    return folders


def displaced(labels: NDArray[np.uint8], grid: Grid, seed: int) -> NDArray[np.uint8]:
    """Return uint8 [Z, Y, X] `labels`, each voxel taken from a smoothly random place near it."""
    rng = np.random.default_rng(seed)
    places = []
    for axis, (count, mm) in enumerate(zip(grid.shape, grid.spacing_mm, strict=True)):
        knots = rng.normal(0, _ERROR_MM / mm, [max(2, n // _KNOT_VOXELS) for n in grid.shape])
        zoom = [n / k for n, k in zip(grid.shape, knots.shape, strict=True)]
        shift = np.rint(ndimage.zoom(knots.astype(np.float32), zoom, order=1)).astype(np.int16)
        along = np.arange(count, dtype=np.int16).reshape([-1 if a == axis else 1 for a in range(3)])
        places.append(np.clip(shift + along, 0, count - 1))
    return np.asarray(labels[tuple(places)])
