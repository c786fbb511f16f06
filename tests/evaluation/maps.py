"""Label maps made in the test."""

import numpy as np
import SimpleITK as sitk


def box(shape, z, y, x, label=1):
    """Return a map of `shape` [Z, Y, X] with `label` in the box of three (start, stop)."""
    labels = np.zeros(shape, np.uint8)
    labels[slice(*z), slice(*y), slice(*x)] = label
    return labels


def write_map(labels, path, spacing_mm=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), direction=None):
    """Write a [Z, Y, X] array; spacing is (Z, Y, X), origin and direction are ITK's (X, Y, Z)."""
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing([float(mm) for mm in reversed(spacing_mm)])
    image.SetOrigin(origin)
    if direction is not None:
        image.SetDirection(direction)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True)


def write_both(path, first=1):
    """Write a CT that is a label map too, so that a program may copy it; return its bytes."""
    labels = (np.arange(24).reshape(2, 3, 4) + first) % 15
    write_map(labels.astype(np.int16), path)
    return path.read_bytes()
