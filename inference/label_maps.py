"""Read a label map and say whether it lies on the voxels of another volume."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.errors import VolumeError
from inference.geometry import Grid, Shape
from inference.place import Place
from inference.volumes import Header, read_header, read_place, stored_voxels

_SAME_MM = 1e-3


@dataclass(frozen=True)
class LabelMap:
    """A label map as stored."""

    labels: NDArray[np.uint8]
    """uint8 [Z, Y, X]."""
    place: Place
    header: Header

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
                told, told_of = (np.round(v, 3).ravel().tolist() for v in (found, wanted))
                return f"the map's {name.removesuffix('_mm')} is {told}, not {told_of}"
        return None


def read_label_map(path: Path) -> LabelMap:
    """Read a label map.

    Raises:
        VolumeError: It cannot be read, or holds something else than whole numbers from 0 to 255.
    """
    if not path.is_file():
        raise VolumeError(f"label map {path} is missing; run predict first")
    header = read_header(path)
    place = read_place(path, header)
    voxels = stored_voxels(path, header)
    if header.scaling is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # found out below
            voxels = voxels * header.scaling[0] + header.scaling[1]
    if voxels.dtype != np.uint8:
        with np.errstate(invalid="ignore"):
            whole = voxels.astype(np.uint8)
        if not np.array_equal(whole, voxels):
            raise VolumeError(f"{path.name}: labels must be whole numbers from 0 to 255")
        voxels = whole
    return LabelMap(voxels, place, header)


def _times(shape: Shape) -> str:
    return "×".join(map(str, reversed(shape)))
