"""Read a CT, write a label map that lies exactly where its CT lies.

The only module that meets SimpleITK's (x, y, z); everything else is (Z, Y, X). A label map is
written with the CT's own header bytes (only the data type changes), so its geometry is the input's
to the last bit, whichever of NIfTI's ways of saying it the input uses.
"""

import gzip
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.errors import GeometryError, VolumeError
from inference.files import replacing
from inference.geometry import Grid, Shape, as_shape, nearest_rotation

# ITK refuses a NIfTI whose direction is not orthonormal unless it is told, before it reads, to take
# the nearest rotation (13 of 8,762 FLARE volumes need it).
os.environ.setdefault("ITK_NIFTI_SFORM_PERMISSIVE", "1")
import SimpleITK as sitk

_HEADER_BYTES = 348  # NIfTI-1; offsets below are of its fields, from nifti1.h
_VOXELS_AT = 352
_ORTHONORMAL = 1e-3


@dataclass(frozen=True)
class Header:
    """The raw NIfTI-1 header of a three-dimensional file."""

    raw: bytes
    order: str
    """Byte order, "<" or ">"."""
    shape: Shape

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size (Z, Y, X) as stored, whatever it is."""
        x, y, z = struct.unpack_from(self.order + "3f", self.raw, 80)
        return z, y, x


@dataclass(frozen=True)
class Volume:
    """A CT as stored."""

    hu: NDArray[np.int16] | NDArray[np.float32]
    """[Z, Y, X] in Hounsfield units."""
    grid: Grid
    direction: NDArray[np.float64]
    """float64 [3, 3], orthonormal; column i is the LPS direction of index axis i in (X, Y, Z)."""
    header: Header
    warnings: tuple[str, ...] = ()


def read_header(path: Path) -> Header:
    """Read the header of a NIfTI-1 file.

    Raises:
        VolumeError: There is no such file, it is no NIfTI-1, or it is not three-dimensional.
    """
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            raw = stream.read(_HEADER_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise VolumeError(f"{path.name}: cannot be read ({error}); copy the file again") from error
    order = next((o for o in "<>" if raw[:4] == struct.pack(o + "i", _HEADER_BYTES)), None)
    if order is None or len(raw) < _HEADER_BYTES or raw[344:347] != b"n+1":
        raise VolumeError(f"{path.name}: not a NIfTI-1 file (.nii.gz); convert it")
    dims = struct.unpack_from(order + "8h", raw, 40)
    sizes = list(dims[1 : 1 + max(0, min(dims[0], 7))])
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) != 3 or min(sizes) < 1:
        told = "×".join(map(str, sizes)) or "no"
        raise VolumeError(f"{path.name}: {told} voxels; a CT has three dimensions, give one volume")
    return Header(raw, order, (sizes[2], sizes[1], sizes[0]))


def read_volume(path: Path) -> Volume:
    """Read a CT.

    Raises:
        VolumeError: It cannot be read, or holds nothing that can be labelled.
    """
    header = read_header(path)
    spacing = header.spacing_mm
    if not all(np.isfinite(spacing)) or min(spacing) <= 0:
        told = " × ".join(f"{s:g}" for s in reversed(spacing))
        raise VolumeError(f"{path.name}: voxel size {told} mm is not positive; mend the header")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise VolumeError(
            f"{path.name}: damaged or truncated ({reason}); copy the file again"
        ) from error
    hu = sitk.GetArrayFromImage(image).reshape(header.shape)
    if hu.dtype != np.int16:
        hu = hu.astype(np.float32)
        if broken := int(np.count_nonzero(~np.isfinite(hu))):
            raise VolumeError(f"{path.name}: {broken} voxels are NaN or infinite; mend the file")
    if hu.min() == hu.max():
        raise VolumeError(f"{path.name}: every voxel is {hu.flat[0]:g}; there is nothing to label")
    direction = np.array(image.GetDirection())[
        [i * image.GetDimension() + j for i in range(3) for j in range(3)]
    ].reshape(3, 3)
    return Volume(
        hu, Grid(header.shape, spacing), nearest_rotation(direction), header, _odd(header)
    )


def _odd(header: Header) -> tuple[str, ...]:
    """Say so when the stored sform is no rotation of the axes."""
    (code,) = struct.unpack_from(header.order + "h", header.raw, 254)
    rows = np.array(struct.unpack_from(header.order + "12f", header.raw, 280)).reshape(3, 4)
    if code <= 0:
        return ()
    lengths = np.linalg.norm(rows[:, :3], axis=0)
    if not np.isfinite(rows).all() or lengths.min() == 0:
        return ("the stored sform is singular; the axes were taken from elsewhere in the header",)
    axes = rows[:, :3] / lengths
    if np.abs(axes.T @ axes - np.eye(3)).max() > _ORTHONORMAL:
        return ("the stored direction is not orthonormal; the nearest rotation was used",)
    return ()


def write_labels(labels: NDArray[np.uint8], like: Header, path: Path) -> None:
    """Write uint8 [Z, Y, X] `labels` as .nii.gz with the geometry bytes of `like`.

    The same labels and header give the same bytes.

    Raises:
        GeometryError: `labels` is not of the shape of `like`.
        KitError: The file cannot be written.
    """
    if as_shape(labels) != like.shape:
        raise GeometryError(f"{path.name}: labels are {labels.shape}, the CT is {like.shape}")
    head = bytearray(like.raw)
    for offset, form, values in (
        (70, "2h", (2, 8)),  # datatype uint8, 8 bits
        (108, "3f", (float(_VOXELS_AT), 1.0, 0.0)),  # vox_offset, scl_slope, scl_inter
        (124, "2f", (0.0, 0.0)),  # display range
    ):
        struct.pack_into(like.order + form, head, offset, *values)
    with replacing(path) as partial, partial.open("wb") as stream:
        with gzip.GzipFile("", "wb", 3, stream, mtime=0) as packed:
            packed.write(bytes(head) + bytes(_VOXELS_AT - _HEADER_BYTES))
            packed.write(labels.tobytes())
