"""What `predict` cannot take: one line says why, and a case that fails has an empty map."""

import json
import shutil
import sys
import zipfile

import pytest

from imaging.errors import KitError
from imaging.extras import how_to_install
from imaging.label_maps import read_label_map
from inference.inputs import found_inputs

pytest.importorskip("onnx")
pytest.importorskip("openvino")
pytest.importorskip("pydicom")

from tests.imaging.dicom_files import images, phantom, write
from tests.inference.ct_files import as_dicom, write_as, zipped


def report_of(folder):
    return json.loads((folder / "run.json").read_text())


def same_case(folder, ct):
    shutil.copy(ct, folder / "ct.nii.gz")
    return folder, "ct.nii.gz and ct_0000.nii.gz would both be case ct; rename one"


def series_and_file(folder, ct):
    as_dicom(ct, folder / "ct")
    return folder, "ct_0000.nii.gz and the DICOM series in ct would both be case ct"


def nothing(folder, ct):
    (folder / "none").mkdir()
    return folder / "none", "none holds no CT; .nii, .nii.gz, .nrrd"


def not_there(folder, ct):
    return folder / "none", "none does not exist; give a CT or a folder of CTs"


def text(folder, ct):
    (folder / "a.txt").write_text("text")
    return folder / "a.txt", "a.txt is no CT; .nii, .nii.gz, .nrrd"


def only_a_scout(folder, ct):
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    below = write(images(phantom(2), **scout), folder / "P1")
    return below, "DICOM series left out: P1_2 (a localiser)"


def one_slice_of_a_series(folder, ct):
    below = write(images(phantom()), folder / "P1", "{}.dcm")
    return below / "3.dcm", "DICOM series left out: 3_2 (one image, no volume)"


def damaged_zip(folder, ct):
    (folder / "a.zip").write_bytes(b"PK\x03\x04" + bytes(50))
    return folder / "a.zip", "a.zip: damaged .zip ("


def empty_zip(folder, ct):
    zipfile.ZipFile(folder / "a.zip", "w").close()
    return folder / "a.zip", "a.zip holds no CT; .nii, .nii.gz"


def encrypted_zip(folder, ct):
    path = zipped(write(images(phantom(2)), folder / "P1"), folder / "a.zip")
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(mark)
        while start >= 0:
            content[start + at] |= 1
            start = content.find(mark, start + 1)
    path.write_bytes(content)
    return path, "a.zip: an encrypted .zip; unpack it first"


@pytest.mark.parametrize(
    "arrange",
    [
        same_case,
        series_and_file,
        nothing,
        not_there,
        text,
        only_a_scout,
        one_slice_of_a_series,
        damaged_zip,
        empty_zip,
        encrypted_zip,
    ],
)
def test_what_cannot_start_says_why_in_one_line(tmp_path, write_ct, boxes, predict, arrange):
    ct = write_ct(tmp_path / "in" / "ct_0000.nii.gz", boxes[0])
    inputs, message = arrange(ct.parent, ct)
    done = predict(inputs, tmp_path / "out")
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert not (tmp_path / "out").exists()


def test_a_zip_that_does_not_fit_on_the_disk(tmp_path, monkeypatch):
    path = zipped(write(images(phantom()), tmp_path / "P1"), tmp_path / "a.zip")
    full = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    with (
        pytest.raises(KitError, match=r"a\.zip unpacks to 0 MiB, .* has 0 MiB; set TMPDIR"),
        found_inputs(path),
    ):
        pass


def test_without_pydicom_it_says_what_to_type(tmp_path, predict, monkeypatch, write_ct, boxes):
    write(images(phantom()), tmp_path / "in")
    write_ct(tmp_path / "nifti" / "a.nii.gz", boxes[0])
    (tmp_path / "nifti" / "b.txt").write_text("text")
    for name in ("scan", "stack", "pixels", "headers"):
        monkeypatch.delitem(sys.modules, f"imaging.dicom.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    done = predict(tmp_path / "in", tmp_path / "out")
    assert done.exit_code == 1
    advice = how_to_install("dicom")
    assert done.stderr == (
        f"Error: a DICOM file cannot be read: pydicom is not installed; {advice}\n"
    )
    assert predict(tmp_path / "nifti", tmp_path / "out").exit_code == 0


def test_a_damaged_nrrd_has_an_empty_map(tmp_path, predict, write_ct, boxes):
    ct = write_ct(tmp_path / "a.nii.gz", boxes[0])
    path = write_as(tmp_path / "in" / "b.nrrd", ct)
    path.write_bytes(path.read_bytes()[:-9])
    done = predict(path, tmp_path / "out")
    assert done.exit_code == 1
    assert "b: failed: b.nrrd: damaged or truncated" in done.stderr
    assert "an empty label map was written in its place" in done.stderr
    found = read_label_map(tmp_path / "out" / "b.nii.gz")
    assert found.labels.shape == boxes[0].shape
    assert not found.labels.any()


def test_an_unreadable_slice_leaves_an_empty_map(tmp_path, predict):
    made = images(phantom())
    made[1].PixelData = made[1].PixelData[:-20]
    done = predict(write(made, tmp_path / "P1"), tmp_path / "out")
    assert done.exit_code == 1
    assert "P1: failed: IM0001: truncated (80 of 90 pixels)" in done.stderr
    assert read_label_map(tmp_path / "out" / "P1.nii.gz").labels.shape == (6, 9, 10)


def test_what_a_series_warns_of_is_in_the_report_and_strict_refuses_it(tmp_path, predict):
    made = images(phantom())
    folder = write([*made, made[2]], tmp_path / "P1")
    said = "1 doubled image with the same pixels dropped"
    assert predict(folder, tmp_path / "out").exit_code == 0
    assert said in report_of(tmp_path / "out")["cases"][0]["warnings"]
    done = predict(folder, tmp_path / "out", "--strict")
    assert f"P1: failed: P1: {said}; refused by --strict" in done.stderr
