"""Read one CT, whatever it is given as; formats other than NIfTI are imported when they come."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from imaging.errors import KitError, VolumeError
from imaging.geometry import SpacingMm
from imaging.volumes import Header, Volume, read_header, read_volume
from inference.report import CaseReport

if TYPE_CHECKING:
    import SimpleITK as sitk
    from numpy.typing import NDArray

    from imaging.dicom.series import Series

Source: TypeAlias = "Path | Series"
"""What a CT is read from: a file, or a series of DICOM files."""
AnyCt: TypeAlias = "str | Path | Series | Volume | sitk.Image | NDArray[Any]"
"""All that `segment` takes."""
Direction: TypeAlias = "Sequence[Sequence[float]] | NDArray[np.float64]"
_NIFTI = (".nii.gz", ".nii")


def read_ct(ct: "Source | Volume", report: CaseReport, *, strict: bool = False) -> Volume:
    """Return a CT; if it is no volume yet, read it and add the seconds to `report`.

    Raises:
        VolumeError: It cannot be read, or `strict` and there is a warning about it.
    """
    if isinstance(ct, Volume):
        volume = ct
    else:
        with report.stage("read"):
            volume = _read(ct)
    if strict and volume.warnings:
        name = report.case if isinstance(ct, Volume) else ct.name
        raise VolumeError(f"{name}: {'; '.join(volume.warnings)}; refused by --strict")
    return volume


def header_of(ct: Source) -> Header:
    """Return the geometry of a CT whose voxels may be unreadable.

    Raises:
        VolumeError: Its geometry cannot be read either.
    """
    if isinstance(ct, Path):
        if _is_nifti(ct):
            return read_header(ct)
        from imaging.formats import read_file_header

        return read_file_header(ct)
    if ct.header is None:
        raise VolumeError(f"{ct.name}: no volume")
    return ct.header


@contextmanager
def opened_ct(
    ct: AnyCt, spacing_mm: SpacingMm | None = None, direction: "Direction | None" = None
) -> Iterator["Source | Volume"]:
    """Yield a CT as what `read_ct` takes; a .zip is unpacked until the end of the block.

    Args:
        ct: A path of one CT, a series, an image or an array [Z, Y, X] in HU.
        spacing_mm: Of an array, (Z, Y, X).
        direction: Of an array; [3, 3], column i the LPS direction of index axis i in (X, Y, Z).

    Raises:
        KitError: It is not one CT.
    """
    import SimpleITK as sitk

    is_array = isinstance(ct, np.ndarray)
    if not is_array and (spacing_mm is not None or direction is not None):
        raise KitError("spacing_mm and direction are for arrays; every other CT has its own")
    if isinstance(ct, sitk.Image):
        from imaging.formats import volume_of_image

        yield volume_of_image(ct)
    elif isinstance(ct, np.ndarray):
        from imaging.formats import volume_of_array

        yield volume_of_array(ct, spacing_mm, direction)
    elif isinstance(ct, (str, Path)) and not _is_nifti(Path(ct)):
        from inference.inputs import one_ct

        with one_ct(Path(ct)) as source:
            yield source
    elif isinstance(ct, (str, Path)):
        yield Path(ct)
    else:
        from imaging.dicom.series import Series

        if not isinstance(ct, (Volume, Series)):
            raise KitError(
                "a CT is a path, an array, a SimpleITK image, a Volume or a Series, not "
                f"{type(ct).__name__}"
            )
        yield ct


def read_one(path: Path) -> Volume:
    """Read the one CT of a path: NIfTI, NRRD, MetaImage, a DICOM folder or a .zip of one.

    Raises:
        KitError: It cannot be read, or there are several CTs.
    """
    with opened_ct(path) as ct:
        return read_ct(ct, CaseReport(case_name(ct)))


def case_name(ct: "Source | Volume") -> str:
    """Return the name of a CT's case: its file's, without format and `_0000`; "ct" in memory."""
    if isinstance(ct, Volume):
        return "ct"
    if isinstance(ct, Path):
        from imaging.formats import case_of

        return case_of(ct.name)
    return ct.name


def _is_nifti(path: Path) -> bool:
    return path.name.lower().endswith(_NIFTI)


def _read(ct: Source) -> Volume:
    if isinstance(ct, Path):
        if _is_nifti(ct):
            return read_volume(ct)
        from imaging.formats import read_file

        return read_file(ct)
    from imaging.dicom.series import needing_pydicom

    with needing_pydicom():
        from imaging.dicom.pixels import read_series
    return read_series(ct)
