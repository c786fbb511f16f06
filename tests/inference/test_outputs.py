"""What `predict` writes beside label maps: each output read back, and what happens without it."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

import inference
from imaging.extras import how_to_install
from imaging.files import passed_over
from imaging.geometry import Grid
from imaging.nifti_header import place_of
from imaging.organs import COLORS, ORGANS
from imaging.volumes import read_header, read_volume
from inference.cli import KINDS, main
from inference.manifest import load_manifest
from inference.outputs import writing
from inference.outputs.itk_snap import write_label_descriptions
from inference.outputs.names import remove_old
from inference.outputs.seg_nrrd import write_seg_nrrd
from inference.outputs.segments import LabelledCase, segments_of
from inference.outputs.statistics import organ_statistics
from inference.report import CaseReport
from inference.shipped import DEFAULT_MANIFEST
from inference.tools.show import overlay_png
from tests.inference import dicom_cts

pytest.importorskip("openvino")

ROOT = Path(__file__).parents[2]
ALL = "seg-nrrd,itk-snap,masks,statistics,preview"
PLACE = {"spacing_mm": (3.0, 1.5, 2.0), "direction": (0, 0, 1, -1, 0, 0, 0, -1, 0)}


@pytest.fixture
def predict(tmp_path, manifest_path, write_ct, boxes):
    """Label case a (liver of 20 voxels, tumour of 4) with the tiny network; options as words."""
    write_ct(tmp_path / "in" / "a_0000.nii.gz", boxes[0])

    def run(*words, outputs="out"):
        options = ("--manifest", manifest_path, "--threads", 1, "--precision", "f32")
        words = ("predict", tmp_path / "in", tmp_path / outputs, *options, *words)
        return CliRunner().invoke(main, [str(word) for word in words])

    return run


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_all_outputs_are_written_and_the_map_is_as_without_them(predict, tmp_path):
    assert predict("--also", ALL).exit_code == 0
    assert predict(outputs="plain").exit_code == 0
    assert files_in(tmp_path / "out") == [
        "a.nii.gz",
        "a.png",
        "a.seg.nrrd",
        "itk_snap_labels.txt",
        "masks/a/liver.nii.gz",
        "masks/a/tumour.nii.gz",
        "organ_statistics.csv",
        "organ_statistics.json",
        "run.json",
    ]
    assert files_in(tmp_path / "plain") == ["a.nii.gz", "run.json"]
    maps = [(tmp_path / name / "a.nii.gz").read_bytes() for name in ("out", "plain")]
    assert maps[0] == maps[1]
    seconds = json.loads((tmp_path / "out" / "run.json").read_text())["cases"][0]["seconds"]
    assert seconds["total"] >= seconds["outputs"] > 0


def test_what_scoring_passes_over_in_a_folder_of_all_outputs(predict, tmp_path):
    from imaging.files import RESULTS

    predict("--also", ALL)
    assert passed_over(tmp_path / "out", ".nii.gz", beside=RESULTS) == {"masks": "a folder"}


def test_kinds_are_those_that_can_be_written():
    assert KINDS == writing.KINDS


def test_a_prediction_of_label_maps_alone_imports_nothing_of_the_outputs(
    predict, tmp_path, manifest_path
):
    words = ("-m", "inference", "predict", tmp_path / "in", tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *map(str, words), "--manifest", str(manifest_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = set(re.findall(r"^import time:.*\|\s*([\w.]+)$", done.stderr, re.MULTILINE))
    assert "inference.pipeline" in names
    assert not {name for name in names if name.startswith("inference.outputs")}
    assert names.isdisjoint({"PIL", "pydicom", "highdicom"})


# --organs


def test_only_the_requested_organs_are_kept_everywhere(predict, tmp_path, boxes):
    done = predict("--organs", "Tumour", "--also", "masks,itk-snap", "--also", "statistics")
    assert done.exit_code == 0, done.output
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "a.nii.gz")))
    np.testing.assert_array_equal(found, np.where(boxes[1] == 2, 2, 0))
    case = json.loads((tmp_path / "out" / "run.json").read_text())["cases"][0]
    assert (case["volumes_ml"], case["empty"]) == ({"tumour": 0.032}, [])
    assert "liver" not in done.output
    assert files_in(tmp_path / "out" / "masks") == ["a/tumour.nii.gz"]
    assert "liver" not in (tmp_path / "out" / "organ_statistics.csv").read_text()
    assert "liver" not in (tmp_path / "out" / "itk_snap_labels.txt").read_text()


def test_none_of_the_requested_organs_is_said(predict, tmp_path, write_ct, boxes):
    write_ct(tmp_path / "in" / "a_0000.nii.gz", np.where(boxes[0] == 200, 100, boxes[0]))
    done = predict("--organs", "tumour")
    assert "the label map is empty: no requested organ was found" in done.output


def test_an_unknown_organ_is_wrong_usage_and_the_names_are_listed(predict, tmp_path):
    done = predict("--organs", "liver,bladder,heart")
    assert done.exit_code == 2
    said = "--organs: the network 'tiny' has no label bladder, heart; it has: liver, tumour"
    assert said in done.output
    assert not (tmp_path / "out").exists()


def test_names_of_organs_may_have_capitals_and_underscores(network):
    manifest = network(labels={"right kidney": 1, "liver": 2})
    assert manifest.chosen(("LIVER", "right_kidney")) == {"right kidney": 1, "liver": 2}
    assert manifest.chosen((" Right Kidney",)) == {"right kidney": 1}
    assert manifest.chosen(()) == manifest.labels


def test_an_unknown_kind_is_wrong_usage_and_the_kinds_are_listed(predict):
    done = predict("--also", "masks,rtstruct,stl")
    assert done.exit_code == 2
    assert f"rtstruct, stl is none of: {', '.join(KINDS)}" in done.output


# what fails


def test_dicom_seg_of_a_nifti_file_fails_the_case_and_the_rest_is_there(predict, tmp_path):
    pytest.importorskip("highdicom")
    done = predict("--also", "dicom-seg,masks")
    assert done.exit_code == 1
    assert (
        "a: failed: no dicom-seg: a was not read from a DICOM series, to which a DICOM-SEG must "
        "refer; give the series, or leave out --also dicom-seg; the label map was written"
    ) in done.output
    assert "Traceback" not in done.output
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "a.nii.gz")))
    assert labels.any()
    assert (tmp_path / "out" / "masks" / "a" / "liver.nii.gz").is_file()
    case = json.loads((tmp_path / "out" / "run.json").read_text())["cases"][0]
    assert (case["status"], case["volumes_ml"]["liver"]) == ("failed", 0.16)


def test_a_missing_package_is_named_before_anything_is_done(predict, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    monkeypatch.delitem(sys.modules, "inference.outputs.dicom_seg", raising=False)
    done = predict("--also", "dicom-seg")
    assert done.exit_code == 1
    assert f"DICOM-SEG needs highdicom; {how_to_install('dicom')}" in done.output
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_fails_its_case_and_not_the_others(
    predict, tmp_path, write_ct, boxes
):
    write_ct(tmp_path / "in" / "b_0000.nii.gz", boxes[0])
    (tmp_path / "out" / "a.seg.nrrd" / "full").mkdir(parents=True)
    done = predict("--also", "seg-nrrd,preview")
    assert done.exit_code == 1
    assert "1 of 2 cases failed" in done.output
    assert re.search(r"a: failed: no seg-nrrd: cannot write .*a\.seg\.nrrd: ", done.output)
    assert files_in(tmp_path / "out") == [
        "a.nii.gz", "a.png", "b.nii.gz", "b.png", "b.seg.nrrd", "run.json",
    ]  # fmt: skip


def test_a_table_that_cannot_be_written_is_one_line_and_the_maps_are_there(predict, tmp_path):
    (tmp_path / "out" / "organ_statistics.csv" / "full").mkdir(parents=True)
    done = predict("--also", "statistics")
    assert done.exit_code == 1
    assert re.search(r"Error: cannot write .*organ_statistics\.csv: ", done.output)
    assert "Traceback" not in done.output
    assert files_in(tmp_path / "out") == ["a.nii.gz", "organ_statistics.json", "run.json"]


def test_a_later_run_removes_what_it_does_not_write_anew(predict, tmp_path):
    predict("--also", ALL)
    (tmp_path / "out" / "masks" / "a" / "mine.txt").write_text("mine")
    (tmp_path / "out" / "other.seg.nrrd").write_text("another case's")
    assert predict().exit_code == 0
    assert files_in(tmp_path / "out") == [
        "a.nii.gz", "masks/a/mine.txt", "other.seg.nrrd", "run.json",
    ]  # fmt: skip
    (tmp_path / "out" / "masks" / "a" / "mine.txt").unlink()
    remove_old(tmp_path / "out", ["a"])
    assert not (tmp_path / "out" / "masks").exists()


# each output


def test_what_others_saved_under_such_names_stays(predict, tmp_path):
    predict("--also", "seg-nrrd,preview")
    edited = tmp_path / "out" / "a.seg.nrrd"
    comment = f"# flare23-kit {inference.__version__}\n".encode()
    assert comment in edited.read_bytes()
    edited.write_bytes(edited.read_bytes().replace(comment, b""))  # as Slicer does
    sitk.WriteImage(sitk.Image(8, 8, sitk.sitkUInt8), str(tmp_path / "out" / "a.png"))
    assert predict().exit_code == 0
    assert files_in(tmp_path / "out") == ["a.nii.gz", "a.png", "a.seg.nrrd", "run.json"]


def test_masks_are_ones_with_the_header_of_the_map(predict, tmp_path, boxes):
    predict("--also", "masks")
    whole = read_header(tmp_path / "out" / "a.nii.gz")
    for organ, value in (("liver", 1), ("tumour", 2)):
        path = tmp_path / "out" / "masks" / "a" / f"{organ}.nii.gz"
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        np.testing.assert_array_equal(mask, boxes[1] == value)
        assert mask.dtype == np.uint8
        assert read_header(path).raw == whole.raw


def test_an_organ_that_was_not_found_has_an_empty_mask(predict, tmp_path, write_ct, boxes):
    write_ct(tmp_path / "in" / "a_0000.nii.gz", np.where(boxes[0] == 200, 100, boxes[0]))
    predict("--also", "masks")
    mask = sitk.ReadImage(str(tmp_path / "out" / "masks" / "a" / "tumour.nii.gz"))
    assert not sitk.GetArrayFromImage(mask).any()


def test_the_preview_is_the_picture_that_show_draws(predict, tmp_path):
    predict("--preview")
    assert files_in(tmp_path / "out") == ["a.nii.gz", "a.png", "run.json"]
    # `show` names labels as FLARE does: 2 is the right kidney; the manifest here says tumour
    overlay_png(tmp_path / "in" / "a_0000.nii.gz", tmp_path / "out" / "a.nii.gz",
                tmp_path / "shown.png")  # fmt: skip
    pictures = [sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[:, :-270]
                for path in (tmp_path / "out" / "a.png", tmp_path / "shown.png")]  # fmt: skip
    rows = min(len(picture) for picture in pictures)
    np.testing.assert_array_equal(pictures[0][:rows], pictures[1][:rows])


def test_label_descriptions_of_itk_snap(tmp_path):
    assert write_label_descriptions(case_of(None, None), tmp_path) == ()
    lines = (tmp_path / "itk_snap_labels.txt").read_text().splitlines()
    rows = [line for line in lines if not line.startswith("#")]
    read = [re.fullmatch(r' *(\d+) +(\d+) +(\d+) +(\d+) +([01]) +([01]) +([01]) +"(.*)"', row)
            for row in rows]  # fmt: skip
    assert [row.group(1, 8) for row in read] == [
        ("0", "background"), *((str(value), name) for name, value in ORGANS.items()),
    ]  # fmt: skip
    assert read[0].group(5, 6, 7) == ("0", "0", "0")
    for row in read[1:]:
        assert tuple(map(int, row.group(2, 3, 4))) == COLORS[int(row.group(1))]
        assert row.group(5, 6, 7) == ("1", "1", "1")


def test_organs_of_another_network_have_colours_of_their_own():
    segments = segments_of({"portal vein": 1, "liver": 2, "colon": 3})
    assert [segment.name for segment in segments] == ["portal vein", "liver", "colon"]
    assert segments[1].rgb == COLORS[ORGANS["liver"]]
    assert len({segment.rgb for segment in segments}) == 3


# .seg.nrrd


def case_of(labels, header):
    manifest = load_manifest(DEFAULT_MANIFEST)
    return LabelledCase(
        labels=labels,
        report=CaseReport("a"),
        header=header,
        segments=segments_of(ORGANS),
        manifest=manifest,
        read=lambda: pytest.fail("the CT is not needed"),
    )


def fields_of(path):
    """The fields of an NRRD file: standard ones, then keys and values."""
    head = path.read_bytes().partition(b"\n\n")[0].decode()
    return dict(re.findall(r"^([^:\n]+)(?:: |:=)(.*)$", head, re.MULTILINE))


@pytest.mark.parametrize("direction", dicom_cts.DIRECTIONS)
def test_seg_nrrd_lies_where_the_ct_does(tmp_path, direction):
    shape = (4, 5, 6)
    labels = np.random.default_rng(0).integers(0, 15, shape, dtype=np.uint8)
    header = dicom_cts.header_of(shape, direction, tmp_path)
    write_seg_nrrd(case_of(labels, header), tmp_path)
    fields = fields_of(tmp_path / "a.seg.nrrd")
    assert fields["space"] == "left-posterior-superior"
    assert fields["sizes"] == "6 5 4"
    place = place_of(header.raw, header.order, shape)
    axes = [eval(axis) for axis in fields["space directions"].split()]
    np.testing.assert_array_equal(np.transpose(axes), place.direction * place.spacing_mm)
    np.testing.assert_allclose(np.transpose(axes), direction * dicom_cts.SPACING_MM[::-1])
    assert eval(fields["space origin"]) == tuple(place.origin_mm)
    if np.linalg.det(direction) > 0:  # ITK refuses the others
        read = sitk.ReadImage(str(tmp_path / "a.seg.nrrd"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(read), labels)
        np.testing.assert_allclose(read.GetDirection(), direction.ravel(), atol=1e-6)
        np.testing.assert_allclose(read.GetOrigin(), dicom_cts.ORIGIN_MM, atol=1e-5)
        np.testing.assert_allclose(read.GetSpacing(), dicom_cts.SPACING_MM[::-1], atol=1e-6)


def test_seg_nrrd_names_every_segment_as_slicer_reads_it(tmp_path):
    header = dicom_cts.header_of((4, 5, 6), np.eye(3), tmp_path)
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 2, 3], labels[3, 4, 5] = ORGANS["liver"], ORGANS["tumour"]
    write_seg_nrrd(case_of(labels, header), tmp_path)
    fields = fields_of(tmp_path / "a.seg.nrrd")
    segments = [{key.partition("_")[2]: value for key, value in fields.items()
                 if key.startswith(f"Segment{number}_")} for number in range(15)]  # fmt: skip
    assert segments.pop() == {}
    for segment, (name, value) in zip(segments, ORGANS.items(), strict=True):
        assert (segment["Name"], segment["LabelValue"]) == (name, str(value))
        assert (segment["ID"], segment["Layer"]) == (f"Segment_{value}", "0")
        rgb = [float(part) * 255 for part in segment["Color"].split()]
        np.testing.assert_allclose(rgb, COLORS[value], atol=0.01)
        # Slicer cuts the layer that all share to the extent of its first segment
        assert segment["Extent"] == "0 5 0 4 0 3"
    assert fields["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    assert fields["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert fields["Segmentation_SourceRepresentation"] == "Binary labelmap"
    assert segments[1]["Tags"] == (
        "TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list"
        "~SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^24028007^Right"
        "~Anatomic codes - DICOM master list~^^~^^|"
    )
    assert (
        "~SCT^49755003^Morphologically Altered Structure~SCT^108369006^Neoplasm~^^~"
        in (segments[13]["Tags"])
    )


def test_seg_nrrd_has_the_same_bytes_every_time(tmp_path):
    header = dicom_cts.header_of((4, 5, 6), np.eye(3), tmp_path)
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_seg_nrrd(case_of(np.ones((4, 5, 6), np.uint8), header), tmp_path / name)
        found.append((tmp_path / name / "a.seg.nrrd").read_bytes())
    assert found[0] == found[1]


# statistics


def test_statistics_of_one_organ_worked_out():
    hu = np.zeros((4, 5, 6), np.int16)
    mask = np.zeros(hu.shape, bool)
    mask[1, 2, 0:5] = True  # 0 10 20 30 100
    hu[1, 2, 0:5] = [100, 30, 20, 10, 0]
    # mean 160 / 5; variance (68² + 2² + 12² + 22² + 32²) / 5 = 6280 / 5
    # ranks of 5 values are 0 to 4: 5 % is 0.2 of the way to 10, 95 % is 0.8 of the way to 100
    assert organ_statistics(mask, hu, Grid(hu.shape, (5.0, 2.0, 1.0))) == {
        "volume_ml": 0.05,
        "mean_hu": 32.0,
        "sd_hu": 35.44,
        "percentiles_hu": {"5": 2.0, "25": 10.0, "50": 20.0, "75": 30.0, "95": 86.0},
        "box": [[1, 2], [2, 3], [0, 5]],
        "box_mm": [5.0, 2.0, 5.0],
        "pieces": 1,
    }


def test_pieces_touch_at_corners_and_the_box_is_around_all_of_them():
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True  # the first two touch
    found = organ_statistics(mask, np.zeros(mask.shape, np.float32), Grid((4, 4, 4), (1, 1, 1)))
    assert (found["pieces"], found["box"]) == (2, [[0, 4]] * 3)


def test_an_organ_without_a_voxel_has_no_figures():
    mask = np.zeros((2, 2, 2), bool)
    found = organ_statistics(mask, np.zeros(mask.shape, np.int16), Grid((2, 2, 2), (1, 1, 1)))
    assert found == {"volume_ml": 0.0, "mean_hu": None, "sd_hu": None, "percentiles_hu": None,
                     "box": None, "box_mm": None, "pieces": 0}  # fmt: skip


def test_statistics_are_one_table_of_all_cases(predict, tmp_path, write_ct, boxes, manifest_path):
    write_ct(tmp_path / "in" / "b_0000.nii.gz", np.where(boxes[0] == 200, 100, boxes[0]), **PLACE)
    assert predict("--also", "statistics").exit_code == 0
    table = json.loads((tmp_path / "out" / "organ_statistics.json").read_text())
    assert (table["schema"], table["kit"], table["manifest"]) == (1, inference.__version__, "tiny")
    assert len(table["manifest_sha256"]) == 64
    assert list(table["cases"]) == ["a", "b"]
    liver = table["cases"]["a"]["liver"]
    assert (liver["label"], liver["volume_ml"], liver["mean_hu"]) == (1, 0.16, 100.0)
    assert liver["box"] == [[1, 3], [2, 5], [1, 5]]
    assert liver["box_mm"] == [4.0, 6.0, 8.0]
    text = (tmp_path / "out" / "organ_statistics.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [(row["case"], row["organ"]) for row in rows] == [
        ("a", "liver"), ("a", "tumour"), ("b", "liver"), ("b", "tumour"),
    ]  # fmt: skip
    assert rows[1]["p50_hu"] == rows[1]["mean_hu"] == "200.0"
    assert (rows[1]["box_z_first"], rows[1]["box_z_last_plus_1"]) == ("1", "2")
    assert (rows[1]["box_x_mm"], rows[1]["pieces"]) == ("4.0", "1")
    empty = rows[3]
    assert (empty["volume_ml"], empty["mean_hu"], empty["box_z_first"]) == ("0.0", "", "")
    assert empty["pieces"] == "0"


def test_a_stored_axis_does_not_change_the_figures_of_an_organ(tmp_path, write_ct, boxes):
    volume = read_volume(write_ct(tmp_path / "a.nii.gz", boxes[0], **PLACE))
    found = organ_statistics(boxes[1] == 1, volume.hu, volume.grid)
    assert found["volume_ml"] == 0.18  # 20 voxels of 9 mm³
    assert found["box_mm"] == [6.0, 4.5, 8.0]
