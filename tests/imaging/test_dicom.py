"""CT series as scanners, archives and anonymisers leave them: right voxel by voxel, or refused."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pydicom = pytest.importorskip("pydicom")

from pydicom.dataset import Dataset  # noqa: E402
from pydicom.encaps import encapsulate, get_frame  # noqa: E402
from pydicom.uid import (  # noqa: E402
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from imaging.dicom.files import dicom_files  # noqa: E402
from imaging.dicom.headers import read_images  # noqa: E402
from imaging.dicom.pixels import read_series, same_pixels  # noqa: E402
from imaging.dicom.scan import find_series  # noqa: E402
from imaging.errors import VolumeError  # noqa: E402
from imaging.volumes import read_volume, write_labels  # noqa: E402
from tests.imaging.dicom_files import (  # noqa: E402
    ORIGIN_MM,
    SPACING_MM,
    as_jpeg_2000,
    big_endian,
    compressed,
    enhanced,
    header,
    images,
    phantom,
    write,
)

HU = phantom()
Z_MM = SPACING_MM[0]
EYE = np.eye(3)


def found_in(folder):
    files, other = dicom_files(folder)
    series, passed = find_series(files, folder)
    return series, passed, other


def cases_in(folder):
    return [one for one in found_in(folder)[0] if one.left_out is None]


def only(folder):
    (one,) = cases_in(folder)
    return one


@pytest.fixture
def as_nifti(tmp_path):
    """Read what the same voxels are as a NIfTI file."""

    def read(hu=HU, direction=EYE, origin_mm=ORIGIN_MM, spacing_mm=SPACING_MM):
        image = sitk.GetImageFromArray(hu)
        image.SetSpacing(spacing_mm[::-1])
        image.SetOrigin(origin_mm)
        image.SetDirection(np.asarray(direction, float).ravel().tolist())
        sitk.WriteImage(image, str(tmp_path / "same.nii.gz"))
        return read_volume(tmp_path / "same.nii.gz")

    return read


def place(volume):
    return np.frombuffer(volume.header.raw[280:328], "<f4").reshape(3, 4)


def check(series, expected, warnings=()):
    assert series.problem is None
    found = read_series(series)
    np.testing.assert_array_equal(found.hu, expected.hu)
    assert found.hu.dtype == expected.hu.dtype
    assert found.grid.shape == expected.grid.shape
    assert found.grid.spacing_mm == pytest.approx(expected.grid.spacing_mm, rel=1e-6)
    np.testing.assert_allclose(place(found), place(expected), atol=1e-4)
    np.testing.assert_allclose(found.direction, expected.direction, atol=1e-6)
    assert found.warnings == warnings
    return found


def shuffled(made):
    """Neither names nor instance numbers say the order."""
    order = [3, 0, 5, 1, 4, 2]
    for at, data in enumerate(made):
        data.InstanceNumber = order[at]
    return [made[at] for at in order]


def one_instance_number(made):
    for data in made:
        data.InstanceNumber = 1
    return made[::-1]


def each(change):
    return lambda made: [change(data) for data in made]


def with_spare_bits(made):
    """Bits over the 12 that count hold an overlay."""
    for data in made:
        words = np.frombuffer(data.PixelData, "<u2") | 0xA000
        data.PixelData = words.astype("<u2").tobytes()
    return made


def implicit(data):
    data = copy.deepcopy(data)
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return data


def deflated(data):
    data = copy.deepcopy(data)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return data


def padded_names(made):
    """Values of the wild: blanks, a wrong length of a UID, a private block."""
    for data in made:
        data.SeriesDescription = " Abdomen 2.5  "
        block = data.private_block(0x0099, "A SCANNER", create=True)
        block.add_new(1, "LO", "a secret")
    return made


RIGHT = {
    "plain": lambda made: made,
    "wrong_slice_order": shuffled,
    "one_instance_number": one_instance_number,
    "rle": each(compressed(RLELossless)),
    "jpeg_2000": each(as_jpeg_2000),
    "big_endian": each(big_endian),
    "implicit": each(implicit),
    "deflated": each(deflated),
    "spare_bits": with_spare_bits,
    "private_tags": padded_names,
}


@pytest.mark.parametrize("change", RIGHT.values(), ids=RIGHT)
def test_odd_series_are_right_voxel_by_voxel(tmp_path, as_nifti, change, capfd):
    write(change(images(HU)), tmp_path / "a")
    check(only(tmp_path / "a"), as_nifti())
    assert capfd.readouterr() == ("", "")


def test_jpeg_ls(tmp_path, as_nifti):
    pytest.importorskip("jpeg_ls")
    write(each(compressed(JPEGLSLossless))(images(HU)), tmp_path / "a")
    check(only(tmp_path / "a"), as_nifti())


@pytest.mark.parametrize("change", [lambda data: data, as_jpeg_2000], ids=["stored", "jpeg_2000"])
def test_signed_numbers(tmp_path, as_nifti, change):
    made = images(HU, PixelRepresentation=1, RescaleIntercept=0, BitsStored=16, HighBit=15)
    write([change(data) for data in made], tmp_path / "a")
    check(only(tmp_path / "a"), as_nifti())


def test_twelve_signed_bits_are_extended(tmp_path, as_nifti):
    made = images(HU, PixelRepresentation=1, RescaleIntercept=0)
    for data in made:
        words = np.frombuffer(data.PixelData, "<i2") & 0x0FFF
        data.PixelData = words.astype("<u2").tobytes()
    write(made, tmp_path / "a")
    check(only(tmp_path / "a"), as_nifti())


def test_a_rescale_of_its_own_for_each_slice(tmp_path, as_nifti):
    made = []
    for at, data in enumerate(images(HU)):
        data.RescaleIntercept = -1024 - 10 * at
        words = HU[at].astype(np.int64) + 1024 + 10 * at
        data.PixelData = words.astype("<u2").tobytes()
        made.append(data)
    write(made, tmp_path / "a")
    check(only(tmp_path / "a"), as_nifti())


def test_a_slope_that_is_no_whole_number_gives_float32(tmp_path, as_nifti):
    hu = (HU // 2 * 2 + 1000).astype(np.float32) * np.float32(0.5) - 1000
    write(images(hu, RescaleSlope=0.5, RescaleIntercept=-1024), tmp_path / "a")
    check(only(tmp_path / "a"), as_nifti(hu))


def test_numbers_past_16_bits_give_float32(tmp_path, as_nifti):
    hu = HU.astype(np.float32)
    hu[0, 0, 0] = 60000
    made = images(hu, BitsStored=16, HighBit=15)
    write(made, tmp_path / "a")
    found = read_series(only(tmp_path / "a"))
    np.testing.assert_array_equal(found.hu, hu)
    assert found.hu.dtype == np.float32


ORIENTATIONS = {
    "feet_first": ((-1, 0, 0, 0, 1, 0), "FFS"),
    "prone": ((-1, 0, 0, 0, -1, 0), "HFP"),
    "coronal": ((1, 0, 0, 0, 0, -1), "HFS"),
    "sagittal": ((0, 1, 0, 0, 0, -1), "HFS"),
    "oblique": ((0.96, 0.28, 0, -0.28, 0.96, 0), "HFS"),
}


@pytest.mark.parametrize(("cosines", "position"), ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_any_orientation(tmp_path, as_nifti, cosines, position):
    row, column = np.array(cosines[:3], float), np.array(cosines[3:], float)
    normal = np.cross(row, column)
    made = images(
        HU,
        step_mm=(normal * Z_MM).tolist(),
        ImageOrientationPatient=list(cosines),
        PatientPosition=position,
    )
    write(made[::-1], tmp_path / "a")
    expected = as_nifti(direction=np.column_stack([row, column, normal]))
    found = check(only(tmp_path / "a"), expected)
    write_labels(np.zeros(HU.shape, np.uint8), found.header, tmp_path / "map.nii.gz")
    written = sitk.ReadImage(str(tmp_path / "map.nii.gz"))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "a")))
    theirs = reader.Execute()
    index = (3, 2, 1)
    assert written.TransformIndexToPhysicalPoint(index) == pytest.approx(
        theirs.TransformIndexToPhysicalPoint(index), abs=1e-4
    )


@pytest.mark.parametrize("change", [lambda data: data, as_jpeg_2000, compressed(RLELossless)])
def test_enhanced_multi_frame(tmp_path, as_nifti, change):
    write([change(enhanced(HU))], tmp_path / "a")
    series = only(tmp_path / "a")
    check(series, as_nifti())
    assert [one.frame for one in series.slices] == [0, 1, 2, 3, 4, 5]
    assert series.files == (tmp_path / "a" / "IM0000",)


def test_enhanced_frames_in_another_order_with_a_slope_of_their_own(tmp_path, as_nifti):
    hu = HU // 2 * 2
    data = enhanced(hu, [1, 2, 1, 1, 2, 1])
    order = [5, 2, 0, 1, 3, 4]
    words = np.frombuffer(data.PixelData, "<u2").reshape(hu.shape)
    data.PixelData = words[order].tobytes()
    frames = list(data.PerFrameFunctionalGroupsSequence)
    data.PerFrameFunctionalGroupsSequence = pydicom.Sequence([frames[at] for at in order])
    write([data], tmp_path / "a")
    series = only(tmp_path / "a")
    check(series, as_nifti(hu))
    assert [one.frame for one in series.slices] == [2, 3, 1, 4, 5, 0]


def test_files_of_any_name_among_others(tmp_path, as_nifti):
    made = images(HU)
    folder = write(made[:3], tmp_path / "a", "{}.dcm")
    write(made[3:], folder / "below", "noname{}")
    for data in made[3:4]:  # no preamble and no meta group, as of 1995
        bare = copy.deepcopy(data)
        del bare.file_meta
        (folder / "below" / "noname0").unlink()
        bare.save_as(
            folder / "below" / "bare", implicit_vr=True, little_endian=True,
            enforce_file_format=False,
        )  # fmt: skip
    (folder / "notes.txt").write_text("not DICOM" * 100)
    (folder / "picture.jpg").write_bytes(b"\xff\xd8" + bytes(500))
    (folder / ".hidden").write_bytes(b"x")
    directory = Dataset()
    directory.file_meta = pydicom.dataset.FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    directory.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    directory.DirectoryRecordSequence = []
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)
    series, passed, other = found_in(folder)
    check(series[0], as_nifti())
    assert len(series) == 1
    assert passed == {str(folder / "DICOMDIR"): "a DICOMDIR; the files themselves were looked at"}
    assert [path.name for path in other] == ["notes.txt", "picture.jpg"]


def without(*names):
    def change(made):
        for data in made:
            for name in names:
                if name in data:
                    delattr(data, name)
        return made

    return change


def lossy(made):
    for data in made:
        data.LossyImageCompression = "01"
    return made


def doubled(made):
    again = copy.deepcopy(made[2])
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return [*made, again]


def no_rescale(made):
    for data, plane in zip(made, HU, strict=True):
        data.PixelRepresentation, data.BitsStored, data.HighBit = 1, 16, 15
        data.PixelData = plane.astype("<i2").tobytes()
    return without("RescaleSlope", "RescaleIntercept", "RescaleType")(made)


def rounded(made):
    """Positions to a tenth of a mm are still 2.5 mm apart, but for one."""
    made[2].ImagePositionPatient = [*ORIGIN_MM[:2], ORIGIN_MM[2] + 2 * Z_MM + 0.2]
    return made


SAID = {
    "no_uids": (without("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"), ()),
    "doubled_slice": (doubled, ("1 doubled image with the same pixels dropped",)),
    "no_modality": (
        without("Modality"),
        ("the files do not say their modality; CT was assumed",),
    ),
    "no_rescale": (
        no_rescale,
        ("no rescale slope and intercept; the stored numbers were taken for HU",),
    ),
    "lossy": (lossy, ("the images were compressed with loss",)),
    "uneven": (rounded, ("slices are 2.3 to 2.7 mm apart; 2.5 mm each was taken",)),
    "no_number": (without("SeriesNumber", "SeriesDescription", "InstanceNumber"), ()),
}


@pytest.mark.parametrize(("change", "warnings"), SAID.values(), ids=SAID)
def test_what_is_dropped_or_assumed_is_said(tmp_path, as_nifti, change, warnings):
    write(change(images(HU)), tmp_path / "a")
    check(only(tmp_path / "a"), as_nifti(), warnings)


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


def names_of(series):
    return [(one.name, one.outcome) for one in series]


def test_two_series_mixed_in_a_folder_are_two_cases(tmp_path, as_nifti):
    other = HU + np.int16(7)
    folder = write(images(HU, "1.2.3.4"), tmp_path / "mixed", "a{}")
    write(images(other, "1.2.3.6", number=5), folder, "b{}")
    first, second = cases_in(folder)
    assert names_of([first, second]) == [("mixed_2", ""), ("mixed_5", "")]
    check(first, as_nifti())
    check(second, as_nifti(other))


def test_two_series_without_uids_are_told_apart_by_what_there_is(tmp_path, as_nifti):
    bare = without("StudyInstanceUID", "SeriesInstanceUID")
    folder = write(bare(images(HU, SeriesDescription="thin")), tmp_path / "mixed", "a{}")
    write(bare(images(HU + np.int16(7), SeriesDescription="soft")), folder, "b{}")
    first, second = cases_in(folder)
    assert [one.name for one in (first, second)] == ["mixed_2", "mixed_2_2"]
    assert [one.description for one in (first, second)] == ["soft", "thin"]
    check(second, as_nifti())


def test_phases_in_one_series_are_cases_of_their_own(tmp_path, as_nifti):
    late = HU + np.int16(50)
    folder = write(images(HU, AcquisitionNumber=1), tmp_path / "liver", "a{}")
    write(images(late, AcquisitionNumber=2), folder, "b{}")
    first, second = cases_in(folder)
    assert first.description == "Abdomen 2.5, acquisition 1"
    check(first, as_nifti())
    check(second, as_nifti(late))


def test_a_short_phase_between_the_slices_of_a_long_one(tmp_path, as_nifti):
    folder = write(images(HU, AcquisitionNumber=1), tmp_path / "liver", "a{}")
    origin_mm = (*ORIGIN_MM[:2], ORIGIN_MM[2] + Z_MM + 0.4)
    write(images(HU[1:4], AcquisitionNumber=2, origin_mm=origin_mm), folder, "b{}")
    first, second = cases_in(folder)
    check(first, as_nifti())
    check(second, as_nifti(HU[1:4], origin_mm=origin_mm))


def test_two_halves_without_the_slice_between_them_are_refused(tmp_path):
    made = images(phantom(7))
    for at, data in enumerate(made):
        data.AcquisitionNumber = 1 + (at > 3)
    write([*made[:3], *made[4:]], tmp_path / "a")
    assert only(tmp_path / "a").problem.startswith("1 slice is missing, at 307.5 mm")


def test_phases_of_an_enhanced_file(tmp_path, as_nifti):
    twice = np.concatenate([HU, HU + np.int16(50)])
    data = enhanced(twice)
    for at, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        content.TemporalPositionIndex = 1 + at // 6
        frame.FrameContentSequence = pydicom.Sequence([content])
        place_mm = [*ORIGIN_MM[:2], ORIGIN_MM[2] + at % 6 * Z_MM]
        frame.PlanePositionSequence[0].ImagePositionPatient = place_mm
    write([data], tmp_path / "a")
    first, second = cases_in(tmp_path / "a")
    assert [one.description[-7:] for one in (first, second)] == ["phase 1", "phase 2"]
    check(first, as_nifti())
    check(second, as_nifti(HU + np.int16(50)))


def test_parts_of_other_size_or_orientation_are_apart(tmp_path, as_nifti):
    folder = write(images(HU), tmp_path / "a", "a{}")
    write(images(HU[:, :5]), folder, "b{}")
    coronal = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "step_mm": (0, Z_MM, 0)}
    write(images(HU, **coronal), folder, "c{}")
    found = cases_in(folder)
    assert sorted(one.header.shape for one in found) == [(6, 5, 10), (6, 9, 10), (6, 9, 10)]
    assert len({one.name for one in found}) == 3


SCOUT = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
LEFT_OUT = {
    "localiser": (SCOUT, 2, "a localiser"),
    "named_localiser": ({"ImageType": ["ORIGINAL"], "SeriesDescription": "Topogram 0.6"}, 2,
                        "a localiser"),
    "mr": ({"Modality": "MR"}, 6, "modality MR"),
    "mip": ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]}, 6, "projections, not slices"),
    "effective_z": ({"RescaleType": "Z_EFF"}, 6, "its numbers are Z_EFF, not Hounsfield units"),
    "one_image": ({}, 1, "one image, no volume"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "count", "reason"), LEFT_OUT.values(), ids=LEFT_OUT)
@pytest.mark.parametrize("own_series", [True, False])
def test_what_is_no_ct_volume_is_left_out_with_the_reason(
    tmp_path, as_nifti, changes, count, reason, own_series
):
    folder = write(images(HU), tmp_path / "a")
    uid = "1.2.3.9" if own_series else "1.2.3.4"
    made = images(HU[:count, :4, :4], uid, number=1, **changes)
    write(made, folder, "odd{}")
    series, _, _ = found_in(folder)
    assert sorted(names_of(series)) == [("a", ""), ("a_1", f"left out: {reason}")]
    check(series[0], as_nifti())
    with pytest.raises(VolumeError, match=reason):
        read_series(series[1])


def test_a_screen_save_and_colours_are_left_out(tmp_path):
    save = header("1.2.3.9", SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Rows=4, Columns=4)
    del save.ImageOrientationPatient
    save.PixelData = bytes(32)
    colours = header("1.2.3.8", SamplesPerPixel=3, Rows=4, Columns=4)
    colours.PhotometricInterpretation, colours.PlanarConfiguration = "RGB", 0
    colours.PixelData = bytes(96)
    folder = write([save, colours], tmp_path / "a")
    assert [one.left_out for one in found_in(folder)[0]] == [
        "colour images",
        "no CT images: a screen save or a report",
    ]


def test_a_tree_names_cases_by_its_folders(tmp_path):
    root = tmp_path / "export"
    write(images(HU, "1.2.3.4"), root / "Müller, A." / "ST 1" / "SE1")
    write(images(HU, "1.2.3.6"), root / "P2" / "SE1")
    write(images(HU, "1.2.3.7", number=3), root / "P2" / "SE1", "c{}")
    write(images(HU, "1.2.3.8"), root / ("9." * 90))
    names = {one.name for one in cases_in(root)}
    assert {"Müller_A._ST_1_SE1", "P2_SE1_2", "P2_SE1_3"} < names
    assert max(map(len, names)) <= 100


def test_a_series_copied_into_two_folders_is_one(tmp_path, as_nifti):
    folder = write(images(HU), tmp_path / "a" / "one")
    shutil.copytree(folder, tmp_path / "a" / "two")
    check(
        only(tmp_path / "a"),
        as_nifti(),
        ("6 doubled images with the same pixels dropped",),
    )


def test_folders_of_results_and_loops_of_links_are_not_looked_at(tmp_path):
    folder = write(images(HU), tmp_path / "a")
    write(images(HU), folder / "out", "seg{}")
    (folder / "loop").symlink_to(folder)
    files, _ = dicom_files(folder, folder / "out")
    assert len(files) == 6


THEIRS = Path(pydicom.__file__).parent / "data" / "test_files"
"""Files that others wrote; pydicom brings them."""


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE", "MR_small_bigendian", "MR_small_expb", "MR_small_implicit",
        "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_padded",
    ],
)  # fmt: skip
def test_one_image_in_the_encodings_of_others(name):
    if not (THEIRS / f"{name}.dcm").is_file():
        pytest.skip("pydicom brings no test files")
    (plain,), (other,) = (read_images(THEIRS / f"{one}.dcm") for one in ("MR_small", name))
    assert same_pixels(plain, other)
    (ct,) = read_images(THEIRS / "CT_small.dcm")
    assert not same_pixels(ct, plain)


def test_a_media_of_others():
    folder = THEIRS / "dicomdirtests"
    if not folder.is_dir():
        pytest.skip("pydicom brings no test files")
    series, passed, _ = found_in(folder)
    assert [names_of([one]) for one in series if one.left_out is None and not one.problem] == [
        [("98892001_CT5N", "")]
    ]
    volume = read_series(next(one for one in series if one.name == "98892001_CT5N"))
    assert (volume.grid.shape, volume.grid.spacing_mm[0]) == ((5, 16, 16), 2.5)
    brain = next(one for one in series if one.description == "Routine Brain")
    assert brain.problem.startswith("161 slices are missing, at -98.23, -96.98,")
    assert {one.left_out for one in series if one.left_out} == {
        "modality CR", "modality MR", "a localiser",
    }  # fmt: skip
    assert set(passed.values()) == {
        "a DICOMDIR; the files themselves were looked at", "no image in it",
    }  # fmt: skip
