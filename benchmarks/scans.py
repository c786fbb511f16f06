"""A real CT on another grid: scans of any size with the texture and organs of a real one."""

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.geometry import Grid, Orientation
from imaging.volumes import read_volume, write_volume

_AIR_HU = -1024.0


def lay(ct: Path, grid: Grid, target: Path) -> None:
    """Write `ct` on `grid`, organs in their true size.

    In plane the CT is in the middle and air is around it. Along the body it is mirrored at its
    ends, again and again, until the grid is full: every slice shows a real one's anatomy.

    Raises:
        VolumeError: `ct` cannot be read.
        KitError: `target` cannot be written.
    """
    volume = read_volume(ct)
    turn = Orientation.to("LPS", volume.direction)
    turned: NDArray[Any] = turn.apply(volume.hu)
    image = sitk.GetImageFromArray(turned.astype(np.float32))
    image.SetSpacing(turn.grid(volume.grid).spacing_mm[::-1])
    once = _on_grid(image, grid)
    slices = mirrored_indices(grid.shape[0], len(once))
    write_volume(once[slices], grid.spacing_mm, target)


def mirrored_indices(count: int, size: int) -> NDArray[np.intp]:
    """Return `count` indices that go from 0 to `size` - 1, back to 0, and so on."""
    period = max(1, 2 * size - 2)
    place = np.arange(count, dtype=np.intp) % period
    return np.minimum(place, period - place)


def _on_grid(image: sitk.Image, grid: Grid) -> NDArray[np.int16]:
    """Resample to the grid's spacing and slices' shape; as many slices as the CT is long."""
    (z_mm, y_mm, x_mm), (_, rows, columns) = grid.spacing_mm, grid.shape
    length_mm = image.GetSize()[2] * image.GetSpacing()[2]
    size = (columns, rows, max(1, int(length_mm / z_mm)))
    middle = [0.5 * (n - 1) * mm for n, mm in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    spacing = (x_mm, y_mm, z_mm)
    origin = [m - 0.5 * (n - 1) * mm for m, n, mm in zip(middle, size, spacing, strict=True)]
    laid = sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, origin, spacing, np.eye(3).ravel().tolist(),
        _AIR_HU,
    )  # fmt: skip
    hu: NDArray[np.int16] = np.rint(sitk.GetArrayFromImage(laid)).astype(np.int16)
    return hu
