"""Read a label map and say whether it lies on the voxels of another volume."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import VolumeError
from imaging.geometry import Grid, Shape
from imaging.nifti_header import Place
from imaging.volumes import Header, read_header, read_place, stored_voxels

_SAME_MM = 1e-3


@dataclass(frozen=True)
class LabelMap:
    """A label map as stored."""

    labels: NDArray[np.uint8]
    """uint8 [Z, Y, X]."""
    place: Place
    header: Header
    cut: str | None = None
    """The numbers in the file, where the labels were truncated from others; None where not."""

    @property
    def grid(self) -> Grid:
        """Shape and voxel size."""
        return self.place.grid(self.header.shape)

    def elsewhere_than(self, place: Place, shape: Shape) -> str | None:
        """Say how the map's voxels differ from those of a volume; None where they do not."""
        if self.header.shape != shape:
            return f"the map has {_times(self.header.shape)} voxels, not {_times(shape)}"
        for name in ("spacing_mm", "origin_mm", "direction"):
            found, wanted = getattr(self.place, name), getattr(place, name)
            if not np.allclose(found, wanted, rtol=0, atol=_SAME_MM):
                actual, expected = (np.round(v, 3).ravel().tolist() for v in (found, wanted))
                return f"the map's {name.removesuffix('_mm')} is {actual}, not {expected}"
        return None


def read_label_map(path: Path) -> LabelMap:
    """Read a label map.

    Raises:
        VolumeError: It cannot be read, or has values other than whole numbers from 0 to 255.
    """
    if not path.is_file():
        raise VolumeError(f"label map {path} is missing; run predict first")
    header = read_header(path)
    place = read_place(path, header)
    numbers = scaled_numbers(path, header)
    if problem := unlike_labels(numbers, header):
        raise VolumeError(f"{path.name}: labels must be whole numbers from 0 to 255; {problem}")
    return LabelMap(numbers.astype(np.uint8, copy=False), place, header)


def scaled_numbers(path: Path, header: Header) -> NDArray[Any]:
    """Read the numbers [Z, Y, X] with slope and intercept applied: float64 if the file has them.

    Raises:
        VolumeError: The file is cut or damaged, or holds no real numbers.
    """
    voxels = stored_voxels(path, header)
    if header.scaling is None:
        return voxels
    slope, intercept = header.scaling
    with np.errstate(over="ignore", invalid="ignore"):  # not finite then, and no label
        return voxels.astype(np.float64) * slope + intercept


def unlike_labels(numbers: NDArray[Any], header: Header) -> str | None:
    """Say why numbers cannot be labels; None if all are whole and from 0 to 255.

    Args:
        numbers: Of any real type and shape.
        header: Of their file: its slope or intercept may be the reason.
    """
    if numbers.dtype == np.uint8:
        return None
    low, high = numbers.min(), numbers.max()
    if low >= 0 and high <= 255:  # both are false for NaN
        if numbers.dtype.kind != "f":
            return None
        off = np.abs(numbers - np.rint(numbers))
        if not off.any():
            return None
        worst = np.unravel_index(int(off.argmax()), off.shape)
        problem = f"{numbers[worst]:.7g} is off by {off[worst]:.2g}"
    else:
        problem = f"there is {high if low >= 0 else low:.7g}"
    if header.scaling is None:
        return problem
    slope, intercept = header.scaling
    return f"{problem}: the header has a slope of {slope:.7g} and an intercept of {intercept:.7g}"


def _times(shape: Shape) -> str:
    return "×".join(map(str, reversed(shape)))
