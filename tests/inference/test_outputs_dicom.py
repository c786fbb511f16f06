"""DICOM-SEG: every voxel where it was, in any orientation; terms, repairs, the same bytes."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

import inference
from imaging.errors import GeometryError, KitError
from imaging.organs import COLORS, ORGANS
from inference.cli import main
from inference.manifest import load_manifest
from inference.outputs.names import remove_old
from inference.outputs.segments import LabelledCase, segments_of
from inference.outputs.terms import term_of
from inference.report import CaseReport
from inference.shipped import DEFAULT_MANIFEST
from tests.inference import dicom_cts

highdicom = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

from imaging.dicom.pixels import read_series  # noqa: E402
from imaging.dicom.scan import find_series  # noqa: E402
from inference.outputs.dicom_seg import write_dicom_seg  # noqa: E402

SHAPE = (5, 6, 7)
MANIFEST = replace(load_manifest(DEFAULT_MANIFEST), name="tiny", sha256="ab" * 32)


def labels_of(shape=SHAPE):
    """Liver in a corner, tumour in it, left kidney elsewhere; some slices have none."""
    labels = np.zeros(shape, np.uint8)
    labels[1:3, 0:4, 2:6] = ORGANS["liver"]
    labels[2, 1, 3] = ORGANS["tumour"]
    labels[4, 5, 0:2] = ORGANS["left kidney"]
    return labels


def case_of(series, labels=None, organs=ORGANS):
    return LabelledCase(
        report=CaseReport("a"),
        labels=labels_of(series.header.shape) if labels is None else labels,
        header=series.header,
        segments=segments_of(organs),
        manifest=MANIFEST,
        source=series,
        read=lambda: pytest.fail("the CT is not needed"),
    )


def written(case, folder):
    """Write the DICOM-SEG; return its path and the warnings."""
    warnings = write_dicom_seg(case, folder)
    return folder / "a.seg.dcm", warnings


def in_the_patient(labels, direction):
    """Names of labelled voxels by their place in LPS, in mm."""
    names = {value: name for name, value in ORGANS.items()}
    z_mm, y_mm, x_mm = dicom_cts.SPACING_MM
    return {
        point(
            dicom_cts.ORIGIN_MM
            + x * x_mm * direction[:, 0]
            + y * y_mm * direction[:, 1]
            + z * z_mm * direction[:, 2]
        ): names[labels[z, y, x]]
        for z, y, x in np.argwhere(labels)
    }


def point(place):
    return tuple(np.round(place, 3).tolist())


def by_slicers_rules(path):
    """Read a DICOM-SEG as 3D Slicer does: each frame where its own attributes say."""
    read = pydicom.dcmread(path)
    names = {item.SegmentNumber: item.SegmentLabel for item in read.SegmentSequence}
    shared = read.SharedFunctionalGroupsSequence[0]
    row, column = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3))
    down_mm, right_mm = shared.PixelMeasuresSequence[0].PixelSpacing
    found = {}
    frames = np.reshape(read.pixel_array, (-1, read.Rows, read.Columns))
    for pixels, groups in zip(frames, read.PerFrameFunctionalGroupsSequence, strict=True):
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for y, x in np.argwhere(pixels):
            place = point(corner + x * right_mm * row + y * down_mm * column)
            assert place not in found
            found[place] = names[number]
    return found


def by_highdicom(path):
    """Read it with highdicom: a volume with an affine from (slice, row, column) to LPS."""
    read = highdicom.seg.segread(path)
    volume = read.get_volume(combine_segments=True, allow_missing_positions=True)
    names = {number: read.get_segment_description(number).SegmentLabel
             for number in read.segment_numbers}  # fmt: skip
    return {
        point((volume.affine @ (*index, 1))[:3]): names[volume.array[tuple(index)]]
        for index in np.argwhere(volume.array)
    }


@pytest.mark.parametrize("direction", dicom_cts.DIRECTIONS)
def test_every_voxel_is_where_it_was_in_48_orientations(tmp_path, direction):
    expected = in_the_patient(labels_of(), direction)
    assert len(expected) == 2 * 4 * 4 + 2
    dicom_cts.series(tmp_path, SHAPE, direction, hu=100 * labels_of().astype(np.int16))
    ((found,), _) = find_series(sorted(tmp_path.glob("*.dcm")), tmp_path)
    labels = (read_series(found).hu // 100).astype(np.uint8)  # in the order of the kit's reader
    path, warnings = written(case_of(found, labels), tmp_path)
    assert warnings == ()
    assert by_slicers_rules(path) == expected
    assert by_highdicom(path) == expected


@pytest.mark.parametrize("direction", [dicom_cts.DIRECTIONS[n] for n in (1, 18, 47)])
def test_slices_may_be_in_falling_order(tmp_path, direction):
    case = case_of(dicom_cts.series(tmp_path, SHAPE, direction))
    path, _ = written(case, tmp_path)
    expected = in_the_patient(case.labels, direction)
    assert by_slicers_rules(path) == by_highdicom(path) == expected


def test_predict_of_a_dicom_folder_writes_its_map_as_dicom_seg(tmp_path, network, boxes):
    pytest.importorskip("openvino")
    manifest_path = network(spacing_mm=dicom_cts.SPACING_MM).folder / "weights_manifest.json"
    direction = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # sagittal slices
    (tmp_path / "ct").mkdir()
    dicom_cts.series(tmp_path / "ct", boxes[0].shape, direction, hu=boxes[0])
    (tmp_path / "ct" / "like.nii").unlink()
    words = ("predict", tmp_path / "ct", tmp_path / "out", "--manifest", manifest_path,
             "--also", "dicom-seg,seg-nrrd")  # fmt: skip
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "out").glob("*.seg.dcm")
    case = path.name.removesuffix(".seg.dcm")
    read = sitk.ReadImage(str(tmp_path / "out" / f"{case}.nii.gz"))
    labels = sitk.GetArrayFromImage(read)
    expected = {
        point(read.TransformIndexToPhysicalPoint(index[::-1].tolist())): int(labels[tuple(index)])
        for index in np.argwhere(labels)
    }
    assert len(expected) == 24
    values = {"liver": 1, "tumour": 2}
    assert {place: values[name] for place, name in by_slicers_rules(path).items()} == expected
    slicers = sitk.ReadImage(str(tmp_path / "out" / f"{case}.seg.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(slicers), labels)
    np.testing.assert_allclose(slicers.GetOrigin(), read.GetOrigin(), atol=1e-5)
    np.testing.assert_allclose(slicers.GetDirection(), read.GetDirection(), atol=1e-6)


@pytest.mark.parametrize("direction", [dicom_cts.DIRECTIONS[n] for n in (0, 21, 35)])
def test_frames_of_a_multi_frame_series_are_placed_too(tmp_path, direction):
    case = case_of(dicom_cts.multi_frame(tmp_path, SHAPE, direction))
    path, warnings = written(case, tmp_path)
    assert warnings == ()
    expected = in_the_patient(case.labels, direction)
    assert by_slicers_rules(path) == by_highdicom(path) == expected
    read = pydicom.dcmread(path)
    assert (read.ContentDate, read.ContentTime) == ("20230406", "090807")


def test_segments_have_names_terms_colours_and_say_what_made_them(tmp_path):
    case = case_of(dicom_cts.series(tmp_path, SHAPE))
    read = highdicom.seg.segread(written(case, tmp_path)[0])
    liver, kidney, tumour = (read.get_segment_description(number) for number in (1, 2, 3))
    assert [one.segment_label for one in (liver, kidney, tumour)] == [
        "liver", "left kidney", "tumour",
    ]  # fmt: skip
    assert read.number_of_segments == 3
    codes = pydicom.sr.codedict.codes
    assert liver.segmented_property_category == codes.cid7150.AnatomicalStructure
    assert liver.segmented_property_type == codes.cid7154.Liver
    assert kidney.segmented_property_type == codes.cid7154.Kidney
    (side,) = kidney.segmented_property_type.SegmentedPropertyTypeModifierCodeSequence
    assert (side.CodeValue, side.CodeMeaning) == ("7771000", "Left")
    assert tumour.segmented_property_category == codes.cid7150.MorphologicallyAbnormalStructure
    assert tumour.segmented_property_type == codes.cid7159.Neoplasm
    (made_by,) = liver.algorithm_identification
    assert made_by.AlgorithmName == "tiny"
    assert made_by.AlgorithmVersion == inference.__version__
    assert made_by.AlgorithmParameters == f"manifest_sha256={'ab' * 32}"
    color = highdicom.color.CIELabColor.from_dicom_value(liver.RecommendedDisplayCIELabValue)
    assert np.abs(np.subtract(color.to_rgb(), COLORS[ORGANS["liver"]])).max() <= 1
    assert (read.PatientID, read.StudyInstanceUID) == ("P1", f"{dicom_cts.ROOT}.2")
    assert read.FrameOfReferenceUID == f"{dicom_cts.ROOT}.4"
    remove_old(tmp_path, ["a"])
    assert not (tmp_path / "a.seg.dcm").exists()
    assert (read.SeriesNumber, read.Modality, read.Manufacturer) == (1007, "SEG", "flare23-kit")


def test_frames_refer_to_the_images_they_were_drawn_on(tmp_path):
    case = case_of(dicom_cts.series(tmp_path, SHAPE))
    read = pydicom.dcmread(written(case, tmp_path)[0])
    for groups in read.PerFrameFunctionalGroupsSequence:
        z = groups.PlanePositionSequence[0].ImagePositionPatient[2]
        (source,) = groups.DerivationImageSequence[0].SourceImageSequence
        number = round((z - dicom_cts.ORIGIN_MM[2]) / dicom_cts.SPACING_MM[0])
        assert source.ReferencedSOPInstanceUID == f"{dicom_cts.ROOT}.1.{number + 1}"


def test_every_organ_has_a_term_of_dicoms_own_tables():
    codes = pydicom.sr.codedict.codes
    for segment in segments_of(ORGANS):
        term = term_of(segment)
        assert not term.private
        tables = (codes.cid7159,) if segment.name == "tumour" else (codes.cid7151, codes.cid7154)
        names = [name for table in tables for name in table.dir()]
        known = {getattr(table, name).value: getattr(table, name).meaning
                 for table in tables for name in table.dir()}  # fmt: skip
        assert names
        assert known[term.kind.value] == term.kind.meaning
        assert term.category.value in {code.value for code in codes.cid7150.concepts.values()}
        side = segment.name.split()[0].capitalize()
        assert (term.side and term.side.meaning) == (side if side in ("Left", "Right") else None)
        if term.side:
            assert codes.SCT.Right.value == "24028007" if side == "Right" else "7771000"


def test_the_same_input_gives_the_same_bytes_whatever_the_files_are_called(tmp_path):
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path, _ = written(case_of(dicom_cts.series(tmp_path / name, SHAPE)), tmp_path / name)
        found.append(path.read_bytes())
    assert found[0] == found[1]
    read = pydicom.dcmread(tmp_path / "one" / "a.seg.dcm")
    assert (read.ContentDate, read.ContentTime) == ("20230405", "101112")  # of the study
    assert "InstanceCreationDate" not in read
    labels = labels_of()
    labels[0, 0, 0] = 1
    other = case_of(dicom_cts.series(tmp_path / "one", SHAPE), labels)
    changed = pydicom.dcmread(written(other, tmp_path)[0])
    assert changed.SOPInstanceUID != read.SOPInstanceUID  # another content is another object
    assert changed.SeriesInstanceUID != read.SeriesInstanceUID


UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")


def anonymised(dataset, number):
    """Take out everything that a series can do without, as coarse anonymisers do."""
    for keyword in (*UIDS, "PatientID", "PatientName", "PatientBirthDate", "StudyDate",
                    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
                    "SeriesNumber", "SOPClassUID"):  # fmt: skip
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.PatientSex = "X"


def test_an_anonymised_series_is_mended_from_its_content(tmp_path):
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        case = case_of(dicom_cts.series(tmp_path / name, SHAPE, change=anonymised))
        path, warnings = written(case, tmp_path / name)
        found.append((path.read_bytes(), warnings))
    assert found[0] == found[1]
    (said,) = found[0][1]
    for part in (
        "DICOM-SEG: StudyInstanceUID, SeriesInstanceUID, FrameOfReferenceUID made from the files'",
        "SOPInstanceUID of 5 images made from the files' content, for it is missing or repeated",
        "SOPClassUID taken for that of CT Image Storage",
        "left empty, for the series has none: PatientID, PatientName, PatientBirthDate, Acc",
        "left empty, for it is not valid: PatientSex",
    ):
        assert part in said
    assert by_slicers_rules(path) == by_highdicom(path) == in_the_patient(
        case.labels, dicom_cts.DIRECTIONS[0]
    )  # fmt: skip
    read = pydicom.dcmread(path)
    uids = {read.StudyInstanceUID, read.SeriesInstanceUID, read.FrameOfReferenceUID,
            read.SOPInstanceUID}  # fmt: skip
    assert len(uids) == 4
    assert all(uid.startswith("2.25.") and uid.is_valid for uid in uids)
    assert (read.ContentDate, read.ContentTime) == ("19000101", "000000")


def test_a_repeated_uid_and_two_studies_are_mended_and_odd_dates_left_out(tmp_path):
    def change(dataset, number):
        dataset.SOPInstanceUID = f"{dicom_cts.ROOT}.1.{max(number, 1)}"
        dataset.StudyInstanceUID = f"{dicom_cts.ROOT}.2{number % 2}"
        dataset["StudyDate"]._value = "ANON"  # pydicom itself refuses to set it
        dataset["StudyTime"]._value = "noon"

    case = case_of(dicom_cts.series(tmp_path, SHAPE, change=change))
    path, (said,) = written(case, tmp_path)
    assert "StudyInstanceUID of one image taken for all, for they differ" in said
    assert "SOPInstanceUID of 2 images made" in said
    assert said.endswith("not valid: StudyDate, StudyTime")  # values may tell of a patient
    read = pydicom.dcmread(path)
    assert read.StudyInstanceUID == f"{dicom_cts.ROOT}.20"
    assert (read.StudyDate, read.ContentDate) == ("", "19000101")


def test_values_that_are_only_unusual_are_kept_without_a_word(tmp_path):
    def change(dataset, number):
        dataset.PatientName = "ANON"
        dataset["PatientID"]._value = "x" * 80
        dataset["StudyInstanceUID"]._value = "1.2.003.4"
        dataset.SeriesNumber = None

    path, warnings = written(case_of(dicom_cts.series(tmp_path, SHAPE, change=change)), tmp_path)
    assert warnings == ()
    with pydicom.config.disable_value_validation():
        read = pydicom.dcmread(path)
        assert read.StudyInstanceUID == "1.2.003.4"
        assert (read.PatientName, read.PatientID, read.SeriesNumber) == ("ANON", "x" * 80, 1000)


def test_a_label_without_a_term_gets_a_private_code_and_it_is_said(tmp_path):
    labels = labels_of()
    case = case_of(dicom_cts.series(tmp_path, SHAPE), labels, {"liver": 1, "portal vein": 14})
    labels[labels == ORGANS["left kidney"]] = 0
    path, warnings = written(case, tmp_path)
    assert warnings == ("DICOM-SEG: portal vein without a SNOMED CT term",)
    described = highdicom.seg.segread(path).get_segment_description(2)
    kind = described.segmented_property_type
    assert (kind.value, kind.scheme_designator) == ("LABEL14", "99FLARE23KIT")


def test_an_empty_map_gives_no_file_and_says_so(tmp_path):
    case = case_of(dicom_cts.series(tmp_path, SHAPE), np.zeros(SHAPE, np.uint8))
    path, warnings = written(case, tmp_path)
    assert warnings == ("no DICOM-SEG was written, for no organ was found",)
    assert not path.exists()


@pytest.mark.parametrize("source", [None, "file"])
def test_a_case_that_is_no_dicom_series_is_refused(tmp_path, source):
    case = case_of(dicom_cts.series(tmp_path, SHAPE))
    case = replace(case, source=source and tmp_path / "a_0000.nii.gz")
    with pytest.raises(KitError, match=r"a was not read from a DICOM series.*leave out --also dic"):
        write_dicom_seg(case, tmp_path)


def test_frames_of_slices_that_are_not_quite_evenly_spaced_lie_where_the_images_do(tmp_path):
    def moved(dataset, number):
        z = 30.125 + 3 * number + (0.5 if number == 2 else 0)
        dataset.ImagePositionPatient = [*dataset.ImagePositionPatient[:2], z]

    case = case_of(dicom_cts.series(tmp_path, SHAPE, change=moved))
    found = by_slicers_rules(written(case, tmp_path)[0])
    assert {place[2] for place in found} == {33.125, 36.625, 42.125}


def test_images_that_lie_elsewhere_than_the_map_are_refused(tmp_path):
    def moved(dataset, number):
        dataset.ImagePositionPatient = [*dataset.ImagePositionPatient[:2], 30.125 + 3.4 * number]

    case = case_of(dicom_cts.series(tmp_path, SHAPE, change=moved))
    with pytest.raises(GeometryError, match=r"image 5 lies 1\.6 mm from its slice"):
        write_dicom_seg(case, tmp_path)
    assert not (tmp_path / "a.seg.dcm").exists()

    def aside(dataset, number):
        dataset.ImagePositionPatient = [-11.5 + 0.4 * number, *dataset.ImagePositionPatient[1:]]

    case = case_of(dicom_cts.series(tmp_path, SHAPE, change=aside))
    with pytest.raises(GeometryError, match=r"image 2 lies 0\.4 mm from its slice"):
        write_dicom_seg(case, tmp_path)
    (tmp_path / "more").mkdir()
    case = case_of(dicom_cts.series(tmp_path, SHAPE))
    more = dicom_cts.header_of((6, 6, 7), dicom_cts.DIRECTIONS[0], tmp_path / "more")
    case = replace(case, header=more)
    with pytest.raises(GeometryError, match="the label map has 6 slices, not 5"):
        write_dicom_seg(case, tmp_path)
