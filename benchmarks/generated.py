"""A generated truth and a prediction that errs on every surface."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from imaging.geometry import Grid
from imaging.volumes import read_header, write_labels
from train.synthesis.phantom import phantom

GRID = Grid((200, 512, 512), (2.5, 0.8, 0.8))
_KNOT_VOXELS = 25
_ERROR_MM = 1.6
"""Standard deviation of the displacement on each axis: DSC about 0.8 to 0.97 by organ."""


def write_pair(folder: Path, grid: Grid = GRID, seed: int = 0) -> tuple[Path, Path]:
    """Write one case into `folder`/truth and `folder`/pred; return the two folders."""
    truth = phantom(seed, grid.shape, grid.spacing_mm)[1]
    like = folder / "grid.nii.gz"
    image = sitk.GetImageFromArray(np.zeros(grid.shape, np.uint8))
    image.SetSpacing(grid.spacing_mm[::-1])
    sitk.WriteImage(image, str(like), useCompression=True)
    header = read_header(like)
    for name, labels in (("truth", truth), ("pred", displaced(truth, grid, seed))):
        (folder / name).mkdir()
        write_labels(labels, header, folder / name / "case.nii.gz")
    return folder / "truth", folder / "pred"


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
