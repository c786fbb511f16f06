"""`show`, `outside` and `estimate` take a CT in every form that `predict` takes."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from inference.cli import main

pytest.importorskip("pydicom")

from tests.inference import dicom_cts


def image_of(array):
    """An image on the voxels of `dicom_cts.series` with its first direction."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(dicom_cts.SPACING_MM[::-1])
    image.SetOrigin(dicom_cts.ORIGIN_MM.tolist())
    return image


def dicom_folder(hu, tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    dicom_cts.series(folder, hu.shape, hu=hu)
    (folder / "like.nii").unlink()
    return folder


def written(form, hu, tmp_path):
    """Write a CT in one of the forms, and return what the user names."""
    if form == "folder":
        return dicom_folder(hu, tmp_path)
    if form == "zip":
        made = shutil.make_archive(str(tmp_path / "ct"), "zip", dicom_folder(hu, tmp_path))
        return tmp_path / made
    sitk.WriteImage(image_of(hu), str(tmp_path / f"ct{form.lower()}"))
    return (tmp_path / f"ct{form.lower()}").rename(tmp_path / f"ct{form}")


@pytest.fixture
def run(manifest_path, boxes, tmp_path):
    """Run a command on a CT and its map; return what it wrote."""
    hu, labels = boxes
    sitk.WriteImage(image_of(labels), str(tmp_path / "a.nii.gz"))

    def call(command, form):
        out = tmp_path / f"{command}{form}.png"
        words = [command, written(form, hu, tmp_path), "-o", out]
        words += [] if command == "estimate" else [tmp_path / "a.nii.gz"]
        words += [] if command == "show" else ["--manifest", manifest_path]
        done = CliRunner().invoke(main, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        return out.read_bytes()

    return call


FORMS = [".nii.gz", ".NII", ".nrrd", ".mha", "folder", "zip"]


@pytest.mark.parametrize("form", FORMS)
def test_show_draws_the_same_picture(run, form):
    assert run("show", form) == run("show", ".nii")


@pytest.mark.parametrize("form", FORMS)
def test_outside_counts_the_same_voxels(run, form):
    found, expected = (json.loads(run("outside", one)) for one in (form, ".nii"))
    assert found.pop("case").startswith(("ct.", "series"))
    assert expected.pop("case") == "ct.nii"
    assert found == expected
    assert found["organs"]["liver"] == {"voxels": 20, "outside": 0, "outside_ml": 0.0}


@pytest.mark.parametrize("form", FORMS)
def test_estimate_prepares_the_same_grid(run, form):
    table = json.loads(run("estimate", form))
    assert table["input_shape"] == [6, 7, 8]
    assert table["working_shape"] == [9, 5, 8]  # 3 × 1.5 × 2 mm become 2 mm
    assert table["warnings"] == []


def test_what_holds_no_ct_or_several_is_one_line(tmp_path, boxes):
    sitk.WriteImage(image_of(boxes[1]), str(tmp_path / "a.nii.gz"))
    for folder in ("cts", "empty"):
        (tmp_path / folder).mkdir()
    for name in ("one", "two"):
        sitk.WriteImage(image_of(boxes[0]), str(tmp_path / "cts" / f"{name}.nrrd"))
    for place, message in (
        ("cts", "cts holds 2 CTs (one, two); give one of them"),
        ("empty", "empty holds no CT; .nii, .nii.gz, .nrrd"),
        ("none", "none does not exist; give a CT or a folder of CTs"),
    ):
        words = ["show", tmp_path / place, tmp_path / "a.nii.gz", "-o", tmp_path / "out.png"]
        done = CliRunner().invoke(main, [str(word) for word in words])
        assert done.exit_code == 1
        assert message in done.output
        assert "Traceback" not in done.output


def test_warnings_about_a_ct_that_is_no_nifti_file_are_shown(tmp_path, boxes):
    hu, labels = boxes
    np.ascontiguousarray(hu).tofile(tmp_path / "ct.raw")
    head = "ObjectType = Image\nNDims = 3\nDimSize = 8 7 6\nElementType = MET_SHORT\n"
    place = "ElementSpacing = 2 2 2\nElementDataFile = ct.raw\n"
    (tmp_path / "ct.mhd").write_text(head + place)
    map_of = sitk.GetImageFromArray(labels)
    map_of.SetSpacing((2, 2, 2))
    sitk.WriteImage(map_of, str(tmp_path / "a.nii.gz"))
    words = ["show", tmp_path / "ct.mhd", tmp_path / "a.nii.gz", "-o", tmp_path / "out.png"]
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "ct.mhd: the header says nothing of orientation" in done.output


def test_the_folder_that_one_stands_in_has_a_name(manifest_path, boxes, tmp_path, monkeypatch):
    hu, labels = boxes
    sitk.WriteImage(image_of(labels), str(tmp_path / "a.nii.gz"))
    monkeypatch.chdir(dicom_folder(hu, tmp_path))
    for command, more in (("estimate", []), ("outside", ["../a.nii.gz"])):
        words = [command, ".", *more, "--manifest", str(manifest_path), "-o", "../out.json"]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        assert json.loads((tmp_path / "out.json").read_text())["case"] == "series"
