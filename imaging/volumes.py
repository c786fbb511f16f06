"""Read a CT; write a label map on exactly the voxels of its CT.

A label map is written with the CT's own header bytes; only the data type changes. So its geometry
is that of the input to the last bit, whether the input has an sform, a qform or neither.

NIfTI is read without ITK, which cannot open every file name, ends the process at some headers,
fills the missing part of a truncated file and turns NaN into 0 without a warning.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip, igzip_lib
from numpy.typing import NDArray

from imaging import extent, intensities
from imaging.compressed import fill_from_gzip, is_gzip, parts_from_gzip
from imaging.errors import GeometryError, VolumeError
from imaging.files import replacing
from imaging.geometry import Grid, Shape, SpacingMm, as_shape, nearest_rotation
from imaging.hounsfield import UNSCALED, Hu, hounsfield_of_parts
from imaging.nifti_header import HEADER_BYTES, LEAST_MM, MOST_MM, Place, new_header, place_of

_VOXELS_AT = 352  # in NIfTI-1; offsets below are of its fields, from nifti1.h
MOST_VOXELS = 1 << 31  # 512 x 512 x 8192; a damaged header can claim 2**45
_DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8",
    256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
"""NIfTI-1 datatype codes that hold one real number per voxel."""


@dataclass(frozen=True)
class Header:
    """The raw NIfTI-1 header of a three-dimensional file."""

    raw: bytes
    order: str
    """Byte order, "<" or ">"."""
    shape: Shape

    @property
    def pixdim(self) -> tuple[float, float, float]:
        """Voxel size (Z, Y, X) by pixdim, unchecked; `Place` has the checked one."""
        x, y, z = struct.unpack_from(self.order + "3f", self.raw, 80)
        return z, y, x

    @property
    def dtype(self) -> np.dtype[np.generic] | None:
        """Type of the voxels as stored; None if they are not one real number each."""
        (code,) = struct.unpack_from(self.order + "h", self.raw, 70)
        return np.dtype(self.order + _DTYPES[code]) if code in _DTYPES else None

    @property
    def voxels_at(self) -> int:
        """Offset of the first voxel in bytes."""
        (offset,) = struct.unpack_from(self.order + "f", self.raw, 108)
        return int(offset) if HEADER_BYTES <= offset < 2**31 else _VOXELS_AT

    @property
    def scaling(self) -> tuple[float, float] | None:
        """Slope and intercept from stored numbers to HU; None where they are HU already."""
        slope, intercept = struct.unpack_from(self.order + "2f", self.raw, 112)
        if slope == 0 or not math.isfinite(slope):
            return None
        if not math.isfinite(intercept):
            intercept = 0.0
        return None if (slope, intercept) == (1, 0) else (slope, intercept)

    @property
    def scaling_warning(self) -> str | None:
        """Why slope or intercept could not be applied; None where they could."""
        slope, intercept = struct.unpack_from(self.order + "2f", self.raw, 112)
        if slope == 0 or not math.isfinite(slope):
            if intercept == 0 or not math.isfinite(intercept):
                return None
            return f"the intercept {intercept:g} was not applied, for the slope is {slope:g}"
        return None if math.isfinite(intercept) else f"the intercept is {intercept}; 0 was taken"


@dataclass(frozen=True)
class Volume:
    """A CT as stored."""

    hu: Hu
    """[Z, Y, X] in Hounsfield units; int16 where they all are such integers."""
    grid: Grid
    direction: NDArray[np.float64]
    """float64 [3, 3], orthonormal; column i is the LPS direction of index axis i in (X, Y, Z)."""
    header: Header
    warnings: tuple[str, ...] = ()


def made_header(
    shape: Shape, origin_mm: NDArray[np.float64], columns: NDArray[np.float64]
) -> Header:
    """Return the header of voxels that no NIfTI file holds; arguments as of `new_header`."""
    return Header(new_header(shape, origin_mm, columns), "<", shape)


def read_header(path: Path) -> Header:
    """Read the header of a NIfTI-1 file.

    Raises:
        VolumeError: The file is missing or not NIfTI-1, or it does not have a CT's dimensions.
    """
    try:
        # Not igzip, which reads ahead: a cut file may still have a whole header.
        with gzip.open(path) if is_gzip(path) else path.open("rb") as stream:
            raw = stream.read(HEADER_BYTES)
    except FileNotFoundError as error:
        raise VolumeError(f"{path.name}: there is no such file; check the path") from error
    except (OSError, EOFError, zlib.error) as error:
        raise VolumeError(f"{path.name}: cannot be read ({error}); copy the file again") from error
    order = next((o for o in "<>" if raw[:4] == struct.pack(o + "i", HEADER_BYTES)), None)
    if order is None or len(raw) < HEADER_BYTES or raw[344:347] != b"n+1":
        raise VolumeError(f"{path.name}: not a NIfTI-1 file (.nii.gz); convert it")
    dims = struct.unpack_from(order + "8h", raw, 40)
    sizes = list(dims[1 : 1 + max(0, min(dims[0], 7))])
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) != 3 or min(sizes) < 1:
        count = "×".join(map(str, sizes)) or "no"
        raise VolumeError(
            f"{path.name}: {count} voxels; a CT has three dimensions, give one volume"
        )
    if math.prod(sizes) > MOST_VOXELS:
        count = "×".join(map(str, sizes))
        raise VolumeError(f"{path.name}: {count} voxels are more than any CT has; mend the header")
    return Header(raw, order, (sizes[2], sizes[1], sizes[0]))


def read_volume(path: Path) -> Volume:
    """Read a CT.

    Raises:
        VolumeError: It cannot be read, or there is nothing in it to label.
    """
    header = read_header(path)
    check_spacing(path.name, read_place(path, header))
    hu = _hounsfield_of(path, header)
    return volume_of(path.name, hu, header, header.scaling_warning)


def check_spacing(name: str, place: Place) -> None:
    """Refuse a voxel size that no CT has, before the voxels are read.

    Raises:
        VolumeError: It is not 0.05 to 50 mm.
    """
    if not LEAST_MM <= place.spacing_mm.min() <= place.spacing_mm.max() <= MOST_MM:
        size = " × ".join(f"{mm:g}" for mm in place.spacing_mm.tolist())
        raise VolumeError(
            f"{name}: voxel size {size} mm is no CT's ({LEAST_MM:g} to {MOST_MM:g} mm); "
            "mend the header: are its units metres or micrometres?"
        )


def volume_of(name: str, hu: Hu, header: Header, *warnings: str | None) -> Volume:
    """Return the volume of voxels that were read, from a file of any format.

    Args:
        name: What messages call it.
        hu: [Z, Y, X] in Hounsfield units, finite.
        header: Where the voxels lie.
        warnings: What is known about it already; None is left out.

    Raises:
        VolumeError: The voxel size is no CT's, or all voxels are the same.
    """
    place = place_in(name, header)
    check_spacing(name, place)
    if all((part == hu.flat[0]).all() for part in hu):  # ends with the first slice that is not
        raise VolumeError(f"{name}: every voxel is {hu.flat[0]:g}; there is nothing to label")
    grid, direction = place.grid(header.shape), nearest_rotation(place.direction)
    odd = (extent.unlike_patient(grid, direction), intensities.warning(hu))
    said = (*place.warnings, *warnings, *odd)
    return Volume(
        hu,
        grid,
        direction,
        header,
        tuple(warning for warning in said if warning),
    )


def read_place(path: Path, header: Header | None = None) -> Place:
    """Read where a file's voxels lie.

    Args:
        path: The file.
        header: Its header, if it has been read already.

    Raises:
        VolumeError: The file is missing, or its header has no usable geometry.
    """
    return place_in(path.name, header or read_header(path))


def place_in(name: str, header: Header) -> Place:
    """Return where voxels lie; errors name the file."""
    try:
        return place_of(header.raw, header.order, header.shape)
    except GeometryError as error:
        raise VolumeError(f"{name}: {error}") from error


def stored_voxels(path: Path, header: Header) -> NDArray[Any]:
    """Read the numbers [Z, Y, X] as they are stored, before slope and intercept.

    Raises:
        VolumeError: The file is cut or damaged, or holds no real numbers.
    """
    voxels = np.empty(header.shape, _dtype_of(path, header))
    with _naming(path):
        fill_from_gzip(voxels.reshape(-1).view(np.uint8), path, header.voxels_at)
    return voxels


def _hounsfield_of(path: Path, header: Header) -> Hu:
    """Read the voxels [Z, Y, X] in HU; as long as they are not int16, never all at once."""
    dtype = _dtype_of(path, header)
    if dtype == np.int16 and header.scaling is None:
        return stored_voxels(path, header)
    parts = parts_from_gzip(path, header.voxels_at, math.prod(header.shape) * dtype.itemsize)
    scaling = header.scaling or UNSCALED
    with _naming(path):
        return hounsfield_of_parts(
            path.name, header.shape, ((part.view(dtype), scaling) for part in parts)
        )


def _dtype_of(path: Path, header: Header) -> np.dtype[np.generic]:
    if header.dtype is None:
        raise VolumeError(f"{path.name}: not one number per voxel; give a CT or a label map")
    return header.dtype


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file that is damaged."""
    try:
        yield
    except (OSError, EOFError, igzip_lib.error) as error:  # type: ignore[misc]  # wrong stub
        raise VolumeError(
            f"{path.name}: damaged or truncated ({error}); copy the file again"
        ) from error


def write_labels(labels: NDArray[np.uint8], like: Header, path: Path) -> None:
    """Write uint8 [Z, Y, X] `labels` as .nii.gz with the geometry bytes of `like`.

    The same labels and header give the same bytes.

    Raises:
        GeometryError: `labels` is not of the shape of `like`.
        KitError: The file cannot be written.
    """
    if as_shape(labels) != like.shape:
        raise GeometryError(f"{path.name}: labels are {labels.shape}, the CT is {like.shape}")
    _write(labels, like, path)


def write_volume(
    voxels: NDArray[np.int16] | NDArray[np.uint8], spacing_mm: SpacingMm, path: Path
) -> None:
    """Write an array [Z, Y, X] that was not read from a file; axes to Superior, Posterior, Left.

    The same array gives the same bytes.

    Raises:
        KitError: The file cannot be written.
    """
    header = made_header(as_shape(voxels), np.zeros(3), np.diag(spacing_mm[::-1]))
    _write(voxels, header, path)


def _write(voxels: NDArray[np.int16] | NDArray[np.uint8], like: Header, path: Path) -> None:
    """Write `voxels` with the geometry bytes of `like`."""
    code, kind = (2, "u1") if voxels.dtype == np.uint8 else (4, "i2")
    head = bytearray(like.raw)
    for offset, form, values in (
        (70, "2h", (code, 8 * voxels.itemsize)),
        (108, "3f", (float(_VOXELS_AT), 1.0, 0.0)),  # vox_offset, scl_slope, scl_inter
        (124, "2f", (0.0, 0.0)),  # display range
    ):
        struct.pack_into(like.order + form, head, offset, *values)
    with replacing(path) as partial, partial.open("wb") as stream:
        with igzip.IGzipFile("", "wb", 1, stream, mtime=0) as packed:
            packed.write(bytes(head) + bytes(_VOXELS_AT - HEADER_BYTES))
            for part in voxels:  # slice by slice: no second copy of a long CT's labels is held
                packed.write(part.astype(like.order + kind, copy=False).tobytes())
