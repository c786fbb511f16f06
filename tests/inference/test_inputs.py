"""What `predict` takes: any format, one CT or many."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from imaging.label_maps import read_label_map
from imaging.volumes import read_volume
from inference import Settings, open_predictor
from inference.inputs import found_inputs
from inference.pipeline import predict_folder

pytest.importorskip("onnx")
pytest.importorskip("openvino")
pytest.importorskip("pydicom")

from tests.imaging.dicom_files import images, phantom, write
from tests.inference.ct_files import as_dicom, write_as, zipped

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples" / "TS_example_0000.nii.gz"
ONE_THREAD = Settings(threads=1, precision="f32")


def report_of(folder):
    return json.loads((folder / "run.json").read_text())


def maps_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "run.json")


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """A part of a real CT in every form, by name."""
    folder = tmp_path_factory.mktemp("forms")
    part = sitk.ReadImage(str(SAMPLE))[30:54, 40:64, 50:74]
    ct = folder / "TS_example_0000.nii.gz"
    sitk.WriteImage(part, str(ct))
    dicom = as_dicom(ct, folder / "dicom")
    return {
        "nifti": ct,
        "nii": write_as(folder / "a.nii", ct),
        "nrrd": write_as(folder / "a.nrrd", ct, useCompression=True),
        "mha": write_as(folder / "a.mha", ct),
        "dicom": dicom,
        "zip": zipped(dicom, folder / "dicom.zip"),
        "text": str(dicom),
        "image": part,
    }


def test_one_ct_in_any_form_has_the_same_labels_voxel_for_voxel(forms, network):
    # a network of single voxels on a real CT: liver and tumour are the numbers about 100 and 200
    settings = replace(ONE_THREAD, step=1.0)
    with open_predictor(network(spacing_mm=(4.0, 4.0, 4.0)), settings) as predictor:
        found = {name: predictor.segment(ct) for name, ct in forms.items()}
        volume = read_volume(forms["nifti"])
        found["array"] = predictor.segment(
            volume.hu, spacing_mm=volume.grid.spacing_mm, direction=volume.direction
        )
    expected = found["nifti"]
    assert np.unique(expected.labels).tolist() == [0, 1, 2]
    assert np.count_nonzero(expected.labels) == 973
    for name, one in found.items():
        np.testing.assert_array_equal(one.labels, expected.labels, err_msg=name)
        assert one.report.warnings == expected.report.warnings, name
        assert one.report.volumes_ml == expected.report.volumes_ml, name
    assert found["dicom"].report.case == "dicom"
    assert found["dicom"].source.files == tuple(sorted(Path(forms["dicom"]).iterdir()))
    assert found["nrrd"].source == forms["nrrd"]
    assert found["array"].source is found["image"].source is None


def test_their_maps_lie_where_the_ct_lies(forms, network, tmp_path, predict):
    for name in ("nifti", "nrrd", "mha", "dicom", "zip"):
        done = predict(forms[name], tmp_path / name, "--step", 1)
        assert done.exit_code == 0, done.stderr
    expected = read_label_map(tmp_path / "nifti" / "TS_example.nii.gz")
    for name, case in (("nrrd", "a"), ("mha", "a"), ("dicom", "dicom"), ("zip", "dicom")):
        found = read_label_map(tmp_path / name / f"{case}.nii.gz")
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_allclose(found.place.origin_mm, expected.place.origin_mm, atol=1e-3)
        np.testing.assert_allclose(found.place.direction, expected.place.direction, atol=1e-6)
        assert found.place.spacing_mm.tolist() == expected.place.spacing_mm.tolist()
        assert found.place.warnings == ()


@pytest.fixture
def mixed(tmp_path, write_ct, boxes):
    """A folder of any mix of formats."""
    folder = tmp_path / "in"
    ct = write_ct(folder / "a_0000.nii.gz", boxes[0])
    write_as(folder / "b.nrrd", ct)
    write_as(folder / "c_0000.mha", ct)
    write_as(folder / "d.mhd", ct)
    write_as(folder / "e.nii", ct)
    shutil.copy(ct, folder / "F_0000.NII.GZ")
    as_dicom(ct, folder / "patient" / "scan")
    shutil.copy(ct, folder / "a_0001.nii.gz")
    (folder / "notes.txt").write_text("nothing of use")
    (folder / "empty").mkdir()
    shutil.copy(ct, write_ct(folder / "deeper" / "g.nii.gz", boxes[0]))
    return folder


def test_a_folder_of_any_mix(mixed, tmp_path, predict, boxes):
    done = predict(mixed, tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    cases = ["F", "a", "b", "c", "d", "e", "patient_scan"]
    assert maps_in(tmp_path / "out") == [f"{case}.nii.gz" for case in cases]
    for case in cases:
        found = read_label_map(tmp_path / "out" / f"{case}.nii.gz")
        np.testing.assert_array_equal(found.labels, boxes[1])
    report = report_of(tmp_path / "out")
    assert [case["case"] for case in report["cases"]] == cases
    assert report["passed_over"] == {
        "a_0001.nii.gz": "a further channel",
        "notes.txt": "no CT",
        "empty": "a folder without DICOM files",
        "deeper": "a folder without DICOM files; give it as INPUTS for its 1 CT",
    }
    line = next(line for line in done.stderr.splitlines() if line.startswith("passed over in "))
    assert "notes.txt (no CT)" in line


def test_the_series_that_were_found_are_shown_in_80_columns(tmp_path, predict):
    folder = write(images(phantom()), tmp_path / "in" / "P1")
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    write(images(phantom(2), "1.2.3.9", number=1, **scout), folder, "s{}")
    broken = images(phantom(), "1.2.3.8", number=3, SeriesDescription="Thorax 1.0 I70f")
    write([broken[0], *broken[2:]], folder, "b{}")
    done = predict(tmp_path / "in", tmp_path / "out")
    assert done.exit_code == 1
    table = [line for line in done.stderr.splitlines() if line and line[0] in " ┏┃┡│├└"]
    assert len(table) > 9
    assert max(map(len, table)) <= 80
    shown = " ".join(done.stderr.replace("│", " ").split())
    assert "2 of 3 DICOM series are labelled; choose with --series" in shown
    assert "left out: a localiser" in shown
    assert "P1_3: failed: P1_3: 1 slice is missing, at 302.5 mm" in done.stderr
    assert maps_in(tmp_path / "out") == ["P1_2.nii.gz"]  # no grid, no empty map
    rows = report_of(tmp_path / "out")["series"]
    assert [(row["number"], row["slices"]) for row in rows] == [(2, 6), (3, 5), (1, 2)]
    assert rows[0]["becomes"] == "P1_2"
    assert rows[1]["becomes"].startswith("P1_3: refused: 1 slice is missing")
    assert rows[2]["becomes"] == "left out: a localiser"


def test_one_series_is_chosen_by_number_or_uid(tmp_path, predict):
    folder = write(images(phantom()), tmp_path / "in")
    write(images(phantom(), "1.2.3.6", number=5), folder, "b{}")
    for asked, case in (("5", "in_5"), ("1.2.3.4", "in_2")):
        out = tmp_path / asked
        done = predict(folder, out, "--series", asked)
        assert done.exit_code == 0, done.stderr
        assert maps_in(out) == [f"{case}.nii.gz"]
        assert "not requested" in {row["becomes"] for row in report_of(out)["series"]}
    done = predict(folder, tmp_path / "o", "--series", "9")
    assert done.exit_code == 1
    assert "no series 9 in" in done.stderr
    assert "there are: 2 (Abdomen 2.5), 5 (Abdomen 2.5)" in done.stderr
    done = predict(folder, tmp_path / "o", "--series", "5", "--challenge")
    assert done.exit_code == 2
    assert "--series is for DICOM, which --challenge does not read" in done.stderr
    assert not (tmp_path / "o").exists()


def test_a_zip_with_several_series_and_files(tmp_path, write_ct, boxes, predict):
    folder = write(images(phantom()), tmp_path / "export" / "S1")
    write(images(phantom(), "1.2.3.6"), tmp_path / "export" / "S2")
    zipped(folder.parent, tmp_path / "in.zip")
    done = predict(tmp_path / "in.zip", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert maps_in(tmp_path / "out") == ["export_S1.nii.gz", "export_S2.nii.gz"]
    (tmp_path / "in").mkdir()
    shutil.move(tmp_path / "in.zip", tmp_path / "in")
    write_ct(tmp_path / "in" / "a.nii.gz", boxes[0])
    with found_inputs(tmp_path / "in") as found:
        assert list(found.cases) == ["a", "export_S1", "export_S2"]
        unpacked = found.cases["export_S1"].folder
        assert unpacked.is_dir()
    assert not unpacked.exists()


def test_a_second_run_does_not_take_its_own_results(tmp_path, predict, write_ct, boxes):
    folder = write(images(phantom()), tmp_path / "P1")
    for _ in range(2):
        done = predict(folder, folder / "out")
        assert done.exit_code == 0, done.stderr
        assert report_of(folder / "out")["passed_over"] == {}
    write_ct(tmp_path / "in" / "a_0000.nii.gz", boxes[0])
    assert predict(tmp_path / "in", tmp_path / "in").exit_code == 0
    done = predict(tmp_path / "in", tmp_path / "in")
    assert "a.nii.gz and a_0000.nii.gz would both be case a" in done.stderr


def test_a_map_is_not_written_over_its_ct(tmp_path, predict, write_ct, boxes):
    ct = write_ct(tmp_path / "a.nii.gz", boxes[0])
    done = predict(ct, tmp_path)
    assert done.exit_code == 1
    assert "the label map of a would be written over the CT" in done.stderr


def test_a_series_knows_its_place_in_a_folder_of_cases(tmp_path, network):
    write(images(phantom()), tmp_path / "P1")
    with found_inputs(tmp_path / "P1") as found:
        report = predict_folder(found.cases, tmp_path / "out", network(), ONE_THREAD)
    assert [case.status for case in report.cases] == ["done"]
