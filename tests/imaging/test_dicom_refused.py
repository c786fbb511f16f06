"""DICOM files that form no volume or cannot be read: one line says why."""

import copy

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from pydicom.encaps import encapsulate, get_frame  # noqa: E402
from pydicom.uid import (  # noqa: E402
    MPEG4HP41,
)

from imaging.dicom.pixels import read_series  # noqa: E402
from imaging.errors import VolumeError  # noqa: E402
from tests.imaging.dicom_checks import (  # noqa: E402
    HU,
    Z_MM,
    check,
    each,
    found_in,
    only,
    without,
)
from tests.imaging.dicom_files import (  # noqa: E402
    ORIGIN_MM,
    as_jpeg_2000,
    images,
    write,
)


def missing(*gone):
    return lambda made: [data for at, data in enumerate(made) if at not in gone]


def tilted(made):
    step = (0, np.tan(np.radians(12)) * Z_MM, Z_MM)
    return images(HU, step_mm=[float(round(mm, 6)) for mm in step])


def differing(made):
    again = copy.deepcopy(made[2])
    again.PixelData = made[3].PixelData
    return [*made, again]


def irregular(made):
    for at, z in enumerate((0, 1, 3, 7, 8, 12.4)):
        made[at].ImagePositionPatient = [*ORIGIN_MM[:2], 300 + z]
    return made


def beside(made):
    made[3].ImagePositionPatient = [ORIGIN_MM[0] + 4, ORIGIN_MM[1], ORIGIN_MM[2] + 3 * Z_MM]
    return made


def long_direction(made):
    for data in made:
        data.ImageOrientationPatient = [1, 0.2, 0, 0, 1, 0]
    return made


def one_without_position(made):
    del made[4].ImagePositionPatient
    return made


def frames_without_places(made):
    data = made[0]
    data.NumberOfFrames = 6
    data.PixelData = b"".join(other.PixelData for other in made)
    return [data]


def far_away(made):
    made[5].ImagePositionPatient = [0, 0, 1e30]
    return made


def too_large(made):
    for data in made:
        data.Rows = data.Columns = 65535
    return made


REFUSED = {
    "missing_slice": (missing(3), "1 slice is missing, at 307.5 mm; the others are 2.5 mm apart"),
    "missing_slices": (missing(1, 2), "2 slices are missing, at 302.5, 305 mm"),
    "tilted_gantry": (tilted, "the gantry was tilted by 12 degrees; resample"),
    "other_pixels_at_a_position": (
        differing,
        "different images at 1 of 6 positions; are two series mixed?",
    ),
    "irregular": (irregular, "slices are 1 to 4.4 mm apart; resample them to even distances"),
    "beside": (beside, "slices lie up to 4 mm beside the line through the first and the last"),
    "no_position": (one_without_position, "no Image Position (Patient) in 1 of 6 images"),
    "no_orientation": (
        without("ImageOrientationPatient"),
        "no Image Orientation (Patient) in 6 of 6 images",
    ),
    "no_spacing": (without("PixelSpacing"), "no Pixel Spacing in 6 of 6 images"),
    "bent_axes": (long_direction, "is not two directions at right angles"),
    "far_away": (far_away, "positions or voxel sizes are no CT's; mend the header"),
    "too_large": (too_large, "65535×65535×6 voxels are more than any CT has; mend the header"),
    "frames_without_places": (
        frames_without_places,
        "no Image Position (Patient) in 6 of 6 images",
    ),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_what_forms_no_volume_is_refused_with_the_reason(tmp_path, change, message):
    write(change(images(HU)), tmp_path / "a")
    series = only(tmp_path / "a")
    assert message in series.problem
    with pytest.raises(VolumeError) as raised:
        read_series(series)
    assert str(raised.value) == f"a: {series.problem}"
    assert "\n" not in str(raised.value)


def cut_pixels(made):
    made[1].PixelData = made[1].PixelData[:-20]
    return made


def no_pixels(made):
    del made[1].PixelData
    return made


def with_frame(change):
    """Change the compressed bytes of one slice."""

    def changed(made):
        made = each(as_jpeg_2000)(made)
        frame = get_frame(made[1].PixelData, 0, number_of_frames=1)
        made[1].PixelData = encapsulate([change(frame)])
        made[1]["PixelData"].is_undefined_length = True
        return made

    return changed


def a_film(made):
    made = each(as_jpeg_2000)(made)
    made[1].file_meta.TransferSyntaxUID = MPEG4HP41
    return made


def air_only(made):
    for data in made:
        data.PixelData = bytes(len(data.PixelData))
    return made


def micrometres(made):
    for data in made:
        data.PixelSpacing = [800, 750]
    return made


UNREADABLE = {
    "cut": (cut_pixels, "IM0001: truncated (80 of 90 pixels); copy the file again"),
    "no_pixels": (no_pixels, "IM0001: no pixels in it"),
    "cut_jpeg": (
        with_frame(lambda frame: frame[:-40]),
        "IM0001: truncated (its JPEG has no end); copy the file again",
    ),
    "damaged_jpeg": (
        with_frame(lambda frame: bytes(60) + frame[60:]),
        "IM0001: GDCM cannot decode its pixels (JPEG 2000",
    ),
    "film": (a_film, "IM0001: GDCM cannot decode its pixels (MPEG-4"),
    "air_only": (air_only, "a: every voxel is -1024; there is nothing to label"),
    "micrometres": (micrometres, "a: voxel size 750 × 800 × 2.5 mm is no CT's"),
}


@pytest.mark.parametrize(("change", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_one_line(tmp_path, change, message):
    write(change(images(HU)), tmp_path / "a")
    with pytest.raises(VolumeError) as raised:
        read_series(only(tmp_path / "a"))
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_a_damaged_header_is_named_and_the_others_are_read(tmp_path, as_nifti):
    folder = write(images(HU), tmp_path / "a")
    (folder / "broken.dcm").write_bytes((folder / "IM0002").read_bytes()[:400])
    (folder / "nothing.dcm").write_bytes(bytes(128) + b"DICM")
    (folder / "junk.dcm").write_bytes(bytes(128) + b"DICM" + b"\xfe" * 300)
    series, passed, _ = found_in(folder)
    check(series[0], as_nifti())
    assert {path.rpartition("/")[2] for path in passed} == {
        "broken.dcm", "nothing.dcm", "junk.dcm",
    }  # fmt: skip
    assert set(passed.values()) <= {"damaged DICOM file; copy it again", "no image in it"}
