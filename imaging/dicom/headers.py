"""What a DICOM file says of each of its images: one `Image` a slice, also of a multi-frame file.

A value that is missing or makes no sense is None; what follows from that is said elsewhere.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from imaging.dicom.series import Image
from imaging.errors import VolumeError

DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
CT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image
)


@contextmanager
def quietly(path: Path) -> Iterator[None]:
    """Turn whatever pydicom says of a damaged file into one line.

    Raises:
        VolumeError: It cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except VolumeError:
        raise
    except Exception as error:  # pydicom raises many kinds
        raise VolumeError(f"{path.name}: damaged DICOM file; copy it again") from error


def read_images(path: Path) -> list[Image]:
    """Return what a file says of each of its images.

    Raises:
        VolumeError: It cannot be read, or holds no image.
    """
    with quietly(path):
        read = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        if _text(read.get("file_meta", Dataset()), "MediaStorageSOPClassUID") == DICOMDIR_CLASS:
            raise VolumeError(f"{path.name}: a DICOMDIR; the files themselves were looked at")
        if not _whole(read, "Rows") or not _whole(read, "Columns"):
            raise VolumeError(f"{path.name}: no image in it")
        shared = _first(read, "SharedFunctionalGroupsSequence") or Dataset()
        frames = list(_value(read, "PerFrameFunctionalGroupsSequence") or [])
        frames = frames or [Dataset()] * (_whole(read, "NumberOfFrames") or 1)
        return [_image(path, at, read, shared, own) for at, own in enumerate(frames)]


def _image(path: Path, frame: int, read: Dataset, shared: Dataset, own: Dataset) -> Image:
    def group(sequence: str) -> Dataset:
        """Return what holds a frame's values: its own, that of all frames, or the file."""
        return _first(own, sequence) or _first(shared, sequence) or read

    measures, values = group("PixelMeasuresSequence"), group("PixelValueTransformationSequence")
    content, kind = group("FrameContentSequence"), group("CTImageFrameTypeSequence")
    reconstruction = group("CTReconstructionSequence")
    one_image = frame == 0 and (_whole(read, "NumberOfFrames") or 1) == 1
    placed = one_image or bool(own) or bool(shared)
    position = _numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3)
    return Image(
        file=path,
        frame=frame,
        modality=_text(read, "Modality").upper(),
        sop_class=_text(read, "SOPClassUID"),
        series_uid=_text(read, "SeriesInstanceUID"),
        study_uid=_text(read, "StudyInstanceUID"),
        number=_whole(read, "SeriesNumber"),
        description=_text(read, "SeriesDescription"),
        kind=_kind(kind, "FrameType") or _kind(read, "ImageType"),
        rows=_whole(read, "Rows") or 0,
        columns=_whole(read, "Columns") or 0,
        samples=_whole(read, "SamplesPerPixel") or 1,
        orientation=_numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        position_mm=position if placed else None,
        spacing_mm=_numbers(measures, "PixelSpacing", 2),
        slope=_number(values, "RescaleSlope"),
        intercept=_number(values, "RescaleIntercept"),
        rescale_type=_text(values, "RescaleType").upper(),
        lossy=_text(read, "LossyImageCompression") == "01",
        phase=_phase(read, content, reconstruction),
    )


def _phase(read: Dataset, content: Dataset, reconstruction: Dataset) -> tuple[tuple[str, str], ...]:
    """Return what may set volumes of one series apart, as `Image` has it."""
    return (
        ("phase", _text(content, "TemporalPositionIndex")),
        ("phase", _text(read, "TemporalPositionIdentifier")),
        ("stack", _text(content, "StackID")),
        ("acquisition", _text(content, "FrameAcquisitionNumber")),
        ("acquisition", _text(read, "AcquisitionNumber")),
        ("acquisition", _text(read, "AcquisitionUID")),
        ("cardiac phase", _text(read, "NominalPercentageOfCardiacPhase")),
        ("kernel", _text(reconstruction, "ConvolutionKernel")),
        ("kV", _text(read, "KVP")),
        ("image type", " ".join(_kind(read, "ImageType"))),
        ("acquisition time", _text(read, "AcquisitionTime")),
    )


def _value(holder: Dataset, name: str) -> Any:
    """Return an attribute; None where it is missing, empty or no value of its kind."""
    try:
        found = holder.get(name)
    except Exception:  # noqa: BLE001  # pydicom converts values when they are asked for
        return None
    return None if found is None or found == "" else found


def _first(holder: Dataset, name: str) -> Dataset | None:
    sequence = _value(holder, name)
    return sequence[0] if sequence else None


def _text(holder: Dataset, name: str) -> str:
    found = _value(holder, name)
    return "" if found is None else str(found).strip()


def _kind(holder: Dataset, name: str) -> tuple[str, ...]:
    found = _value(holder, name)
    parts = [found] if isinstance(found, str) else (found or [])
    return tuple(str(part).strip().upper() for part in parts)


def _whole(holder: Dataset, name: str) -> int | None:
    found = _number(holder, name)
    return None if found is None else int(found)


def _number(holder: Dataset, name: str) -> float | None:
    found = _numbers(holder, name, 1)
    return None if found is None else found[0]


def _numbers(holder: Dataset, name: str, count: int) -> tuple[float, ...] | None:
    """Return finite numbers, if there are `count` of them."""
    found = _value(holder, name)
    if found is None:
        return None
    try:
        parts = [found] if count == 1 else list(found)
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None
