"""Read a CT of any single-file format: NIfTI by `imaging.volumes`, NRRD and MetaImage by ITK.

A CT that is no NIfTI file gets the header that it would have as one, so all that follows is the
same: checks, warnings, and the label map's geometry.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import GeometryError, VolumeError
from imaging.geometry import Shape, SpacingMm, as_shape
from imaging.hounsfield import hounsfield
from imaging.volumes import (
    MOST_VOXELS,
    Header,
    Volume,
    check_spacing,
    made_header,
    place_in,
    read_header,
    read_volume,
    volume_of,
)

if TYPE_CHECKING:
    import SimpleITK as sitk  # imported only for what ITK reads: it takes as long as NumPy

NIFTI = (".nii.gz", ".nii")
BY_ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
_LPS = "axes to Left, Posterior, Superior"
_LENGTH_1 = 1e-3
"""By how much a direction's columns may differ from length 1."""
_TEXT_BYTES = 1 << 16
"""Longest text header of a MetaImage or NRRD file that is looked at."""
_AXES = {".nrrd": ("space directions",), ".mha": ("transformmatrix", "orientation", "rotation")}
_AXES |= {".nhdr": _AXES[".nrrd"], ".mhd": _AXES[".mha"]}
"""Keys that say where the axes point to."""
_SIZES = {".nrrd": ("space directions", "spacings"), ".mha": ("elementspacing", "elementsize")}
_SIZES |= {".nhdr": _SIZES[".nrrd"], ".mhd": _SIZES[".mha"]}
"""Keys that say how large a voxel is."""


def suffix_of(name: str) -> str | None:
    """Return the suffix by which a file's name says its format, in small letters; None if none."""
    lower = name.lower()
    return next((suffix for suffix in (*NIFTI, *BY_ITK) if lower.endswith(suffix)), None)


def case_of(name: str) -> str:
    """Return the case's name: the file's, without the suffix of its format and `_0000`."""
    suffix = suffix_of(name) or ""
    return name[: len(name) - len(suffix)].removesuffix("_0000")


def read_file(path: Path) -> Volume:
    """Read a CT in NIfTI, NRRD or MetaImage.

    Raises:
        VolumeError: It cannot be read, or there is nothing in it to label.
    """
    return read_volume(path) if suffix_of(path.name) not in BY_ITK else _read_by_itk(path)


def read_file_header(path: Path) -> Header:
    """Return the header of a CT in any of these formats; of NRRD and MetaImage one made of theirs.

    Raises:
        VolumeError: As of `read_file`, where the header says so.
    """
    if suffix_of(path.name) not in BY_ITK:
        return read_header(path)
    return _header(path.name, _opened(path))


def volume_of_image(image: "sitk.Image", name: str = "ct") -> Volume:
    """Return the volume of an image in memory.

    Args:
        image: Of three dimensions, one real number per voxel, in Hounsfield units.
        name: What messages call it.

    Raises:
        VolumeError: It is no such image, or there is nothing in it to label.
    """
    import SimpleITK as sitk

    header = _header(name, image)
    voxels: NDArray[Any] = sitk.GetArrayFromImage(image)
    return volume_of(name, hounsfield(name, voxels.reshape(header.shape)), header)


def volume_of_array(
    array: NDArray[Any],
    spacing_mm: SpacingMm | None,
    direction: Sequence[Sequence[float]] | NDArray[np.float64] | None = None,
) -> Volume:
    """Return the volume of an array in memory.

    Args:
        array: [Z, Y, X], of real numbers in Hounsfield units; not changed.
        spacing_mm: (Z, Y, X).
        direction: [3, 3], column i the LPS direction of index axis i in (X, Y, Z), of length 1;
            None: the axes X, Y, Z grow to Left, Posterior, Superior, and a warning says so.

    Raises:
        VolumeError: It is no such array, or there is nothing in it to label.
    """
    if array.ndim != 3 or array.dtype.kind not in "iuf" or not array.size:
        raise VolumeError(f"an array of {array.dtype} {array.shape}; give numbers [Z, Y, X] in HU")
    size = np.array((0, 0, 0) if spacing_mm is None else spacing_mm, np.float64)
    if size.shape != (3,) or not np.isfinite(size).all() or size.min() <= 0:
        raise VolumeError(f"spacing_mm is {spacing_mm}; give an array's voxel size (Z, Y, X) in mm")
    axes = np.array(np.eye(3) if direction is None else direction, np.float64)
    if axes.shape != (3, 3) or abs(np.linalg.norm(axes, axis=0) - 1).max() > _LENGTH_1:
        raise VolumeError(f"direction is {direction}; give three columns of length 1")
    header = made_header(as_shape(array), np.zeros(3), axes * size[::-1])
    assumed = None if direction is not None else f"no direction was given; {_LPS} were assumed"
    return volume_of("array", hounsfield("array", array), header, assumed)


def _read_by_itk(path: Path) -> Volume:
    import SimpleITK as sitk

    reader = _opened(path)
    header = _header(path.name, reader)
    check_spacing(path.name, place_in(path.name, header))
    _refuse_cut(path)
    try:
        voxels: NDArray[Any] = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise VolumeError(f"{path.name}: damaged or truncated; copy the file again") from error
    hu = hounsfield(path.name, voxels.reshape(header.shape))
    return volume_of(path.name, hu, header, *_assumed(path))


def _opened(path: Path) -> "sitk.ImageFileReader":
    """Read the header with ITK."""
    import SimpleITK as sitk

    if not path.is_file():
        raise VolumeError(f"{path.name}: no such file; give the path of a CT")
    try:
        str(path).encode()  # at another name SimpleITK ends the process
    except UnicodeEncodeError as error:
        raise VolumeError(f"{path.name}: its path is not UTF-8; rename it") from error
    reader = sitk.ImageFileReader()
    try:
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
    except RuntimeError as error:
        what = "NRRD" if suffix_of(path.name) in BY_ITK[:2] else "MetaImage"
        raise VolumeError(f"{path.name}: not a readable {what} file; copy it again") from error
    return reader


def _header(name: str, image: Any) -> Header:
    """Return the NIfTI header of a `sitk.Image`, or of what an `ImageFileReader` will read."""
    import SimpleITK as sitk

    sizes, dimension = list(image.GetSize()), image.GetDimension()
    components = (
        image.GetNumberOfComponentsPerPixel()
        if isinstance(image, sitk.Image)
        else image.GetNumberOfComponents()
    )
    if components != 1 or "complex" in sitk.GetPixelIDValueAsString(image.GetPixelID()):
        raise VolumeError(f"{name}: not one number per voxel; give a CT")
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    count = "×".join(map(str, sizes))
    if len(sizes) != 3:
        raise VolumeError(f"{name}: {count} voxels; a CT has three dimensions, give one volume")
    if math.prod(sizes) > MOST_VOXELS:
        raise VolumeError(f"{name}: {count} voxels are more than any CT has; mend the header")
    axes: NDArray[np.float64] = np.array(image.GetDirection()).reshape(dimension, dimension)
    spacing: NDArray[np.float64] = np.array(image.GetSpacing()[:3])
    columns = axes[:3, :3] * spacing
    shape: Shape = (sizes[2], sizes[1], sizes[0])
    try:
        return made_header(shape, np.array(image.GetOrigin()[:3]), columns)
    except GeometryError as error:
        raise VolumeError(f"{name}: {error}") from error


def _text(path: Path) -> tuple[dict[str, str], int]:
    """Return keys, in small letters, and values of a text header, and where it ends."""
    with path.open("rb") as stream:
        start = stream.read(_TEXT_BYTES)
    found: dict[str, str] = {}
    at = 0
    for line in start.splitlines(keepends=True):
        at += len(line)
        text = line.decode("latin-1").strip()
        if not text:
            break
        key, _, value = text.partition("=" if "=" in text.partition(":")[0] else ":")
        found[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            break
    return found, at


def _assumed(path: Path) -> Iterator[str]:
    """Say what a header leaves open and ITK assumes."""
    suffix, (keys, _) = suffix_of(path.name) or "", _text(path)
    if keys.keys().isdisjoint(_AXES[suffix]):
        yield f"the header says nothing of orientation; {_LPS} were assumed, as ITK does"
    if keys.keys().isdisjoint(_SIZES[suffix]):
        yield "the header says nothing of the voxel size; 1 mm was assumed"


def _refuse_cut(path: Path) -> None:
    """Refuse a MetaImage whose file is too short; ITK's own words on it go past the screen."""
    keys, at = _text(path)
    place = keys.get("elementdatafile", "")
    if suffix_of(path.name) not in BY_ITK[2:] or " " in place or "%" in place or place == "LIST":
        return
    bytes_each = {"CHAR": 1, "SHORT": 2, "INT": 4, "FLOAT": 4, "DOUBLE": 8, "LONG": 4}
    kind = keys.get("elementtype", "").removeprefix("MET_").removeprefix("U")
    count = math.prod(int(n) for n in keys.get("dimsize", "0").split() if n.isdigit())
    needed = count * bytes_each.get(kind, 0)
    if keys.get("compresseddata", "").lower() == "true":
        packed = keys.get("compresseddatasize", "")
        needed = int(packed) if packed.isdigit() else 0
    data = path if place == "LOCAL" else path.parent / place
    there = data.stat().st_size - (at if data == path else 0) if data.is_file() else 0
    if there < needed:
        raise VolumeError(
            f"{path.name}: damaged or truncated ({there} of {needed} bytes of voxels); "
            "copy the file again"
        )
