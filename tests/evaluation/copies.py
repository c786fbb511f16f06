"""Generated bodies, and copies of a CT as they get into other data sets.

`python -m tests.evaluation.copies CT FOLDER` writes eleven copies of a real CT (docs/leakage.md).
"""

import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

SUFFIX = "_0000.nii.gz"


def body(seed, shape=(40, 64, 76), spacing_mm=(3.0, 3.0, 3.0), origin=(0.0, 0.0, 0.0)):
    """Return a CT of an ellipse of fat with soft tissue, gas and bone in it, as the seed has it."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    middle = np.array(shape) / 2
    radius = middle * rng.uniform(0.7, 0.95, 3)
    wide = 1 + rng.uniform(-0.3, 0.3) * (z / shape[0] - 0.5)  # and narrower upwards or downwards
    inside = ((y - middle[1]) / radius[1]) ** 2 + ((x - middle[2]) / radius[2]) ** 2 < wide
    hu = np.where(inside, -90, -1000) + np.zeros(shape)
    for _ in range(50):
        place = middle + rng.uniform(-0.75, 0.75, 3) * radius
        size = rng.uniform(2, 8, 3)
        blob = sum(((a - p) / s) ** 2 for a, p, s in zip((z, y, x), place, size, strict=True)) < 1
        hu[blob & inside] = rng.choice([-800, 20, 60, 110, 160, 400])
    image = sitk.GetImageFromArray(hu.astype(np.float32))
    image.SetSpacing(spacing_mm[::-1])
    image.SetOrigin(origin)
    image = sitk.SmoothingRecursiveGaussian(image, 3.0)
    noise = sitk.GetImageFromArray(rng.normal(0, 12, shape).astype(np.float32))
    noise.CopyInformation(image)
    return sitk.Cast(image + noise, sitk.sitkInt16)


def save(image, folder, case):
    """Write a CT as <case>_0000.nii.gz."""
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(folder / f"{case}{SUFFIX}"), useCompression=True)


def windowed(image, low, high):
    """Return a window in 8 bits."""
    found = sitk.IntensityWindowing(sitk.Cast(image, sitk.sitkFloat32), low, high, 0, 255)
    return sitk.Cast(found, sitk.sitkUInt8)


def cropped(image, share):
    """Return the middle `share` of every axis, where it lies."""
    size = np.array(image.GetSize())
    cut = (size * (1 - share) / 2).astype(int)
    return sitk.Crop(image, cut.tolist(), cut.tolist())


def resampled(image, spacing_mm):
    """Return the CT with other voxels, (X, Y, Z)."""
    old, new = np.array(image.GetSpacing()), np.array(spacing_mm, float)
    size = np.floor(np.array(image.GetSize()) * old / new).astype(int)
    corner = image.TransformContinuousIndexToPhysicalPoint(((new / old - 1) / 2).tolist())
    return sitk.Resample(
        image, size.tolist(), sitk.Transform(), sitk.sitkLinear, corner, new.tolist(),
        image.GetDirection(), -1024, image.GetPixelID(),
    )  # fmt: skip


def flipped(image, *axes):
    """Return the voxels mirrored along axes (Z, Y, X), with a header that does not say so."""
    array = np.flip(sitk.GetArrayFromImage(image), axes).copy()
    found = sitk.GetImageFromArray(array)
    found.SetSpacing(image.GetSpacing())
    return found


def copies(image):
    """Return eleven copies by name."""
    small = cropped(image, 0.6)
    return {
        "window": windowed(image, -160, 240),
        "wide_window": windowed(image, -1000, 1000),
        "cropped": small,
        "cropped_elsewhere": flipped(small),
        "resampled": resampled(image, (3, 3, 3)),
        "resampled_finer": resampled(image, (1.5, 1.5, 2.5)),
        "mirrored": flipped(image, 2),
        "turned": flipped(image, 0, 1),
        "ras": sitk.DICOMOrient(image, "RAS"),
        "all": flipped(resampled(windowed(small, -160, 240), (3, 3, 3)), 2),
        "all_small": flipped(resampled(windowed(cropped(image, 0.4), -160, 240), (2, 2, 2)), 0),
    }


if __name__ == "__main__":
    _, ct, target = sys.argv
    for name, made in copies(sitk.ReadImage(ct)).items():
        save(made, Path(target), name)
