"""CT series as scanners, archives and anonymisers leave them: right voxel by voxel."""

import copy

import numpy as np
import pytest
import SimpleITK as sitk

pydicom = pytest.importorskip("pydicom")

from pydicom.dataset import Dataset  # noqa: E402
from pydicom.uid import (  # noqa: E402
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from imaging.dicom.pixels import read_series  # noqa: E402
from imaging.volumes import write_labels  # noqa: E402
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
    big_endian,
    compressed,
    enhanced,
    images,
    write,
)


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
