"""The numbers of DICOM images: uncompressed ones from the bytes, compressed ones by GDCM.

GDCM, which is in SimpleITK, gets each compressed frame in a small file of its own that says only
how the frame is stored. So no header of the wild reaches it, and slope and intercept are applied
here, slice by slice.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    generate_uid,
)

from imaging.dicom.headers import quietly
from imaging.dicom.series import Image, Series
from imaging.errors import VolumeError
from imaging.geometry import Shape
from imaging.hounsfield import Scaling, hounsfield_of_parts
from imaging.volumes import Volume, volume_of

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_WORDS = {
    "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PhotometricInterpretation",
}  # fmt: skip
"""All that GDCM needs to know of a frame."""
_JPEGS = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes)
_END_OF_JPEG = b"\xff\xd9"


def same_pixels(one: Image, other: Image) -> bool:
    """Tell whether two images have the same numbers, by their stored bytes."""
    if (one.slope, one.intercept) != (other.slope, other.intercept):
        return False
    (_, first), (_, second) = _all_stored((one, other))
    return np.array_equal(first, second)


def read_series(series: Series) -> Volume:
    """Read the voxels of a series, each slice with its own slope and intercept.

    Raises:
        VolumeError: They form no volume, or cannot be read.
    """
    if series.left_out or series.problem or series.header is None:
        raise VolumeError(f"{series.name}: {series.left_out or series.problem}")
    shape = series.header.shape
    hu = hounsfield_of_parts(series.name, shape, _scaled(series.slices, shape))
    return volume_of(series.name, hu, series.header, *series.warnings)


def _scaled(slices: tuple[Image, ...], shape: Shape) -> Iterator[tuple[NDArray[Any], Scaling]]:
    """Yield the stored numbers [Y, X] of each slice of a volume, with slope and intercept."""
    for one, stored in _all_stored(slices):
        if stored.shape != shape[1:]:
            raise VolumeError(f"{one.file.name}: {stored.shape} pixels, not {shape[1:]}")
        yield stored, one.scaling


def _all_stored(slices: tuple[Image, ...]) -> Iterator[tuple[Image, NDArray[Any]]]:
    """Yield each slice's stored numbers [Y, X]; a file of several is read once."""
    path, read = None, Dataset()
    for one in slices:
        with quietly(one.file):
            if one.file != path:
                path, read = one.file, pydicom.dcmread(one.file, force=True)
            stored = _stored(one.file, read, one.frame)
        yield one, stored


def _stored(path: Path, read: Dataset, frame: int) -> NDArray[Any]:
    """Return the stored numbers [Y, X] of one frame."""
    if "PixelData" not in read:
        raise VolumeError(f"{path.name}: no pixels in it; copy the file again")
    syntax = UID(str(read.get("file_meta", Dataset()).get("TransferSyntaxUID", "")))
    if syntax and syntax.is_encapsulated:
        return _by_gdcm(path, read, frame, syntax)
    order = "<" if read.original_encoding[1] is not False else ">"
    bits = int(read.BitsAllocated)
    if bits not in (8, 16, 32) or read.SamplesPerPixel != 1:
        raise VolumeError(f"{path.name}: {bits} bits a pixel; 8, 16 or 32 of one colour are read")
    count = read.Rows * read.Columns
    there = len(read.PixelData) // (bits // 8) - frame * count
    if there < count:
        raise VolumeError(
            f"{path.name}: truncated ({max(there, 0)} of {count} pixels); copy the file again"
        )
    kind = f"{order}{'i' if read.PixelRepresentation else 'u'}{bits // 8}"
    words = np.frombuffer(read.PixelData, kind, count, frame * count * (bits // 8))
    return _without_spare_bits(words.reshape(read.Rows, read.Columns), read)


def _without_spare_bits(words: NDArray[Any], read: Dataset) -> NDArray[Any]:
    """Clear bits above and below those that hold the number; extend its sign."""
    bits = words.dtype.itemsize * 8
    used, high = int(read.get("BitsStored", bits)), int(read.get("HighBit", bits - 1))
    if used >= bits:
        return words
    native = words.astype(words.dtype.newbyteorder("="))
    return np.asarray(np.right_shift(np.left_shift(native, bits - 1 - high), bits - used))


def _by_gdcm(path: Path, read: Dataset, frame: int, syntax: UID) -> NDArray[Any]:
    """Return the numbers of a compressed frame."""
    count = int(read.get("NumberOfFrames") or 1)
    packed = get_frame(read.PixelData, frame, number_of_frames=count)
    if syntax in _JPEGS and _END_OF_JPEG not in packed[-3:]:
        raise VolumeError(f"{path.name}: truncated (its JPEG has no end); copy the file again")
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "frame.dcm"
        _write_alone(packed, read, syntax, alone)
        try:
            found: NDArray[Any] = sitk.GetArrayFromImage(
                sitk.ReadImage(str(alone), imageIO="GDCMImageIO")
            )
        except RuntimeError as error:
            raise VolumeError(
                f"{path.name}: GDCM cannot decode its pixels ({syntax.name}); decompress it first"
            ) from error
    return found.reshape(found.shape[-2:])


def _write_alone(packed: bytes, read: Dataset, syntax: UID, path: Path) -> None:
    """Write a DICOM file of one compressed frame."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = UID(_SECONDARY_CAPTURE)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    alone = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    alone.SOPClassUID = meta.MediaStorageSOPClassUID
    alone.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    for word in _WORDS:
        setattr(alone, word, read[word].value)
    alone.PixelData = encapsulate([packed])
    alone.save_as(path, enforce_file_format=True)
