"""Gather a recipe's real CTs, the teacher's labels and the real ones on one grid."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from inference.errors import KitError, VolumeError
from train.anatomy import Anatomy, Labels, oriented_grid, read_anatomy
from train.recipe import Recipe
from train.synthesis import LabelledCT, mask_lesions

STOMACH, DUODENUM = 11, 12


def merged(truth: Labels, pseudo: Labels, duodenum_in_stomach: bool = False) -> Labels:
    """Let real labels win where they exist, as the paper's `add_tumor.py` does.

    Args:
        truth: uint8 [Z, Y, X], 0 where nobody drew.
        pseudo: uint8 [Z, Y, X], the teacher's labels.
        duodenum_in_stomach: The experts drew both under the stomach's id; the teacher's duodenum
            then stays within it.
    """
    result = np.where(truth > 0, truth, pseudo)
    # The teacher's idea of an organ that was drawn elsewhere is wrong: it is the experts' to draw.
    result[(truth == 0) & np.isin(pseudo, np.unique(truth[truth > 0]))] = 0
    if duodenum_in_stomach:
        result[(truth == STOMACH) & (pseudo == DUODENUM)] = DUODENUM
    return result.astype(np.uint8)


def read_ct(path: Path, spacing_mm: float) -> NDArray[np.float32]:
    """Read a CT onto the LPS grid of `spacing_mm`: float32 [Z, Y, X] in HU.

    Raises:
        VolumeError: The file cannot be read.
    """
    try:
        image = sitk.DICOMOrient(sitk.ReadImage(str(path), sitk.sitkFloat32), "LPS")
    except RuntimeError as error:
        raise VolumeError(f"{path}: not a readable CT; check the file") from error
    # Averaging before thinning: 0.7 mm pixels on a 3 mm grid would alias.
    for axis, step_mm in enumerate(image.GetSpacing()):
        if step_mm < 0.6 * spacing_mm:
            image = sitk.RecursiveGaussian(image, 0.35 * spacing_mm, direction=axis)
    grid = oriented_grid(image, spacing_mm)
    hu: NDArray[np.float32] = sitk.GetArrayFromImage(
        sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, -1024.0)
    )
    return hu


def collect(recipe: Recipe, data: Path, pseudo: Path) -> list[LabelledCT]:
    """Read every real case of `recipe` with its merged labels.

    Args:
        recipe: Names the cases.
        data: Folder with ct/ and truth/.
        pseudo: Folder with the teacher's label maps, `<case>.nii.gz`.

    Raises:
        KitError: A CT or its pseudo label is missing, or they are not of one shape.
    """
    collected = []
    for case in recipe.cases:
        hu = read_ct(data / "ct" / f"{case}_0000.nii.gz", recipe.synthesis_mm)
        if not (pseudo / f"{case}.nii.gz").is_file():
            missing = pseudo / f"{case}.nii.gz"
            raise KitError(f"{missing} is missing; run `python -m train small label` first")
        labels = read_anatomy(pseudo / f"{case}.nii.gz", "flare", recipe.synthesis_mm).labels
        truth = data / "truth" / f"{case}.nii.gz"
        if truth.is_file():
            real = read_anatomy(truth, "flare", recipe.synthesis_mm).labels
            labels = merged(real, labels, case in recipe.duodenum_in_stomach)
        if labels.shape != hu.shape:
            raise KitError(f"{case}: labels are {labels.shape}, the CT is {hu.shape}")
        collected.append(mask_lesions(LabelledCT(case, hu, labels)))
    return collected


def anatomies(recipe: Recipe, data: Path) -> list[Anatomy]:
    """Read every label map of the recipe's anatomies, in the order of their names."""
    found = []
    for place, ids in sorted(recipe.anatomies.items()):
        path = data / place
        files = sorted(path.glob("*.nii.gz")) if path.is_dir() else [path]
        if not files:
            raise KitError(f"{path}: no label maps found; check --data")
        found += [read_anatomy(file, ids, recipe.synthesis_mm) for file in files]
    return found
