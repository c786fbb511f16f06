"""Which DICOM files are one case, what it is called, and what is left out."""

import shutil
from pathlib import Path

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from pydicom.dataset import Dataset  # noqa: E402

from imaging.dicom.files import dicom_files  # noqa: E402
from imaging.dicom.headers import read_images  # noqa: E402
from imaging.dicom.pixels import read_series, same_pixels  # noqa: E402
from imaging.errors import VolumeError  # noqa: E402
from tests.imaging.dicom_checks import (  # noqa: E402
    HU,
    Z_MM,
    cases_in,
    check,
    found_in,
    names_of,
    only,
    without,
)
from tests.imaging.dicom_files import (  # noqa: E402
    ORIGIN_MM,
    enhanced,
    header,
    images,
    phantom,
    write,
)


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
