"""Whatever happens to one case, the others are done, and every map there is of this run."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from imaging.errors import KitError, in_one_line
from imaging.files import passed_over, passed_over_message
from imaging.label_maps import read_label_map
from imaging.volumes import write_volume
from inference.cli import main
from inference.pipeline import find_cases, predict_folder
from inference.results_table import volumes_table
from inference.screen import predict_inputs
from inference.settings import Settings
from tests.imaging.bad_files import SFORM_CODE, SFORM_ROW_X, patched

pytest.importorskip("onnx")
pytest.importorskip("openvino")

ONE_THREAD = Settings(threads=1, precision="f32")


@pytest.fixture
def folders(tmp_path, write_ct, boxes):
    """Three good cases, a, b and c, and where their maps go."""
    for name in "abc":
        write_ct(tmp_path / "in" / f"{name}_0000.nii.gz", boxes[0])
    return tmp_path / "in", tmp_path / "out"


def failing(monkeypatch, error, where="inference.ct.read_volume", case="b"):
    """Let `where` raise `error` for one case."""
    module, _, name = where.rpartition(".")
    real = getattr(__import__(module, fromlist=[name]), name)

    def fails(*arguments):
        if any(str(argument).endswith(f"{case}_0000.nii.gz") for argument in arguments) or any(
            str(argument).endswith(f"{case}.nii.gz") for argument in arguments
        ):
            raise error
        return real(*arguments)

    monkeypatch.setattr(where, fails)


def in_the_middle(monkeypatch, error):
    """Let the preparing of the second case raise `error`."""
    import inference.view

    real, calls = inference.view.resample_linear, []

    def fails(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr("inference.view.resample_linear", fails)


ERRORS = [
    (np.linalg.LinAlgError("SVD did not converge"), "b_0000.nii.gz: unexpected LinAlgError at "),
    (ZeroDivisionError("division by zero"), "b_0000.nii.gz: unexpected ZeroDivisionError at "),
    (RuntimeError("a\nmany\nlines\n"), "b_0000.nii.gz: unexpected RuntimeError at "),
    (MemoryError(), "b_0000.nii.gz: not enough memory"),
    (RuntimeError("itk::ERROR: Image: Failed to allocate memory for image."), "not enough memory"),
    (RuntimeError("std::bad_alloc"), "b_0000.nii.gz: not enough memory"),
    (UnicodeDecodeError("utf-8", b"\xfc", 0, 1, "invalid"), "b_0000.nii.gz: unexpected Unicode"),
    (KitError("b: an error of the kit"), "b: an error of the kit"),
]


@pytest.mark.parametrize(("error", "message"), ERRORS, ids=[type(e).__name__ for e, _ in ERRORS])
@pytest.mark.parametrize("place", ["read", "prepare", "write"])
def test_any_error_costs_one_case(folders, network, boxes, monkeypatch, error, message, place):
    inputs, outputs = folders
    if place == "prepare":
        in_the_middle(monkeypatch, error)
    elif place == "read":
        failing(monkeypatch, error)
    else:
        failing(monkeypatch, error, "inference.pipeline.write_labels", "b")
    report = predict_folder(find_cases(inputs), outputs, network(), ONE_THREAD)
    assert [case.status for case in report.cases] == ["done", "failed", "done"]
    broken = report.cases[1]
    assert message in broken.error
    assert "\n" not in broken.error
    assert broken.volumes_ml == {}
    for name in "ac":
        found = read_label_map(outputs / f"{name}.nii.gz").labels
        np.testing.assert_array_equal(found, boxes[1])
    if place == "write":
        assert not (outputs / "b.nii.gz").exists()
    else:
        assert not read_label_map(outputs / "b.nii.gz").labels.any()


def test_itk_without_memory_is_named():
    with pytest.raises(RuntimeError) as raised:
        sitk.Image([60000, 60000, 60000], sitk.sitkFloat32)
    assert in_one_line(raised.value, "ct") == "ct: not enough memory"


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_run_json_is_written_when_the_run_is_ended(folders, network, monkeypatch, end):
    inputs, outputs = folders
    in_the_middle(monkeypatch, end)
    with pytest.raises(type(end)):
        predict_inputs(inputs, outputs, network(), ONE_THREAD, outputs / "run.json")
    table = json.loads((outputs / "run.json").read_text())
    assert [case["status"] for case in table["cases"]] == ["done", "failed", "not reached"]
    assert table["ended"] == "ended by a signal"


def test_no_map_of_an_earlier_run_is_left(folders, network, monkeypatch):
    inputs, outputs = folders
    predict_folder(find_cases(inputs), outputs, network(), ONE_THREAD)
    (outputs / "another.nii.gz").write_bytes(b"somebody's own")
    for broken in "ac":
        (inputs / f"{broken}_0000.nii.gz").write_bytes(b"")
    in_the_middle(monkeypatch, KeyboardInterrupt())
    report = predict_folder(find_cases(inputs), outputs, network(), ONE_THREAD)
    assert [case.status for case in report.cases] == ["failed", "done", "failed"]
    assert sorted(path.name for path in outputs.iterdir()) == ["another.nii.gz", "b.nii.gz"]


def test_a_run_that_is_ended_leaves_no_map_of_an_earlier_one(folders, network, monkeypatch):
    inputs, outputs = folders
    predict_folder(find_cases(inputs), outputs, network(), ONE_THREAD)
    in_the_middle(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        predict_folder(find_cases(inputs), outputs, network(), ONE_THREAD)
    assert [path.name for path in outputs.iterdir()] == ["a.nii.gz"]


def test_a_map_is_not_written_over_a_ct(folders, network, tmp_path):
    inputs, outputs = folders
    shutil.copy(inputs / "a_0000.nii.gz", inputs / "a_0000_0000.nii.gz")
    before = {path.name: path.read_bytes() for path in inputs.iterdir()}
    (tmp_path / "link").symlink_to(inputs)
    for out in (inputs, tmp_path / "link", inputs / ".." / "in"):
        with pytest.raises(KitError, match="the label map of a_0000 would be written over the CT"):
            predict_folder(find_cases(inputs), out, network(), ONE_THREAD)
    outputs.mkdir()
    (outputs / "d.nii.gz").write_bytes(before["b_0000.nii.gz"])
    (inputs / "d_0000.nii.gz").symlink_to(outputs / "d.nii.gz")
    with pytest.raises(KitError, match="the label map of d would be written over the CT"):
        predict_folder({"d": inputs / "d_0000.nii.gz"}, outputs, network(), ONE_THREAD)
    assert {p.name: p.read_bytes() for p in inputs.iterdir() if not p.is_symlink()} == before
    assert (outputs / "d.nii.gz").read_bytes() == before["b_0000.nii.gz"]


def test_a_folder_may_hold_cts_and_maps(folders, network):
    inputs, _ = folders
    report = predict_folder(find_cases(inputs), inputs, network(), ONE_THREAD)
    assert not report.failed
    assert len(list(inputs.iterdir())) == 6


PASSED_OVER = {
    "UP_0000.NII.GZ": "capital letters in its suffix",
    "_0000.nii.gz": "no case's name",
    "folder": "a folder",
    "noindex.nii.gz": "no _0000 in its name",
    "plain_0000.nii": "not compressed",
    "scan.nrrd": "no .nii.gz",
    "second_0001.nii.gz": "a further channel",
}


def test_what_is_passed_over_is_named(folders, manifest_path):
    inputs, outputs = folders
    for name in PASSED_OVER:
        if name == "folder":
            (inputs / name).mkdir()
        else:
            shutil.copy(inputs / "a_0000.nii.gz", inputs / name)
    (inputs / ".DS_Store").touch()
    words = ["predict", str(inputs), str(outputs), "--manifest", str(manifest_path)]
    done = CliRunner().invoke(main, [*words, "--challenge"])
    assert done.exit_code == 0
    line = next(line for line in done.stderr.splitlines() if line.startswith("passed over in "))
    for name, why in PASSED_OVER.items():
        assert f"{name} ({why})" in line
    table = json.loads((outputs / "run.json").read_text())
    assert table["passed_over"] == PASSED_OVER
    assert sorted(p.name for p in outputs.iterdir()) == [
        "a.nii.gz", "b.nii.gz", "c.nii.gz", "run.json",
    ]  # fmt: skip


def test_maps_of_an_earlier_run_are_named(folders, manifest_path):
    inputs, outputs = folders
    outputs.mkdir(exist_ok=True)
    for name in ("old.nii.gz", "older.nii.gz", "a.nii.gz"):
        (outputs / name).write_bytes(b"from before")
    words = ["predict", str(inputs), str(outputs), "--manifest", str(manifest_path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0
    line = done.stderr.splitlines()[-1]
    assert line == (f"{outputs} also holds maps of 2 cases that this run did not make: old, older")
    table = json.loads((outputs / "run.json").read_text())
    assert table["left_over"] == ["old", "older"]


def test_without_maps_of_an_earlier_run_nothing_is_said(folders, manifest_path):
    inputs, outputs = folders
    words = ["predict", str(inputs), str(outputs), "--manifest", str(manifest_path)]
    done = CliRunner().invoke(main, words)
    assert "also holds" not in done.stderr
    again = CliRunner().invoke(main, words)
    assert "also holds" not in again.stderr
    assert json.loads((outputs / "run.json").read_text())["left_over"] == []


def test_where_nothing_fits_the_reason_is_given(tmp_path):
    (tmp_path / "ct.nii").touch()
    with pytest.raises(KitError, match=r"holds no .*passed over in .*ct\.nii \(not compressed\)"):
        find_cases(tmp_path)


def test_many_are_counted(tmp_path):
    for number in range(13):
        (tmp_path / f"{number:02}.nii").touch()
    message = passed_over_message(passed_over(tmp_path, ".nii.gz"), tmp_path)
    assert message.endswith("09.nii (not compressed), 3 more")


@pytest.mark.parametrize("name", ["[bold]", "scan[red]1", ":smile:", "[link=x]"])
def test_names_are_printed_as_they_are(tmp_path, write_ct, boxes, manifest_path, name):
    write_ct(tmp_path / "in" / f"{name}_0000.nii.gz", boxes[0])
    words = ["predict", str(tmp_path / "in"), str(tmp_path / "out"), "--manifest"]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(main, [*words, str(manifest_path)])
    assert done.exit_code == 0
    assert any(line.startswith(f"{name}: done") for line in done.stderr.splitlines())
    assert any(f" {name} " in line for line in done.stderr.splitlines() if "organ" in line)


def test_a_title_with_a_closing_tag_ends_nothing(network):
    from imaging.terminal import terminal
    from inference.report import CaseReport, RunReport

    volumes_ml = {"liver": 1.0, "tumour": 0.0}
    case = CaseReport("[/red]", "done", volumes_ml=volumes_ml)
    report = RunReport("m", "0", {}, cases=[case])
    console = terminal(width=100)
    with console.capture() as captured:
        console.print(volumes_table(report, network()))
    assert "[/red]" in captured.get()


def test_a_name_in_latin_1_is_done(folders, manifest_path, boxes):
    inputs, outputs = folders
    name = os.fsdecode(b"M\xfcller")
    shutil.copy(inputs / "a_0000.nii.gz", inputs / f"{name}_0000.nii.gz")
    words = ["predict", str(inputs), str(outputs), "--manifest", str(manifest_path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.stderr
    found = read_label_map(outputs / f"{name}.nii.gz").labels
    np.testing.assert_array_equal(found, boxes[1])
    table = json.loads((outputs / "run.json").read_text())
    assert name in {case["case"] for case in table["cases"]}


@pytest.fixture
def ambiguous(tmp_path, write_ct):
    """A CT with 1024 added, one of two orientations, and a good one."""
    hu = np.full((12, 14, 16), -1000, dtype=np.int16)
    hu[2:10, 3:11, 3:13] = -100
    hu[3:9, 4:10, 4:12] = 50
    write_ct(tmp_path / "in" / "added_0000.nii.gz", (hu + 1024).astype(np.int16))
    write_ct(tmp_path / "in" / "good_0000.nii.gz", hu)
    path = write_ct(tmp_path / "in" / "turned_0000.nii.gz", hu)
    patched(path, SFORM_CODE, "h", 2)
    patched(path, SFORM_ROW_X, "f", 2.0)
    return tmp_path


@pytest.mark.parametrize("strict", [False, True])
def test_strict_refuses_a_ct_with_a_warning(ambiguous, manifest_path, strict):
    words = ["predict", str(ambiguous / "in"), str(ambiguous / "out"), "--manifest"]
    done = CliRunner().invoke(main, [*words, str(manifest_path), *(["--strict"] * strict)])
    assert done.exit_code == int(strict), done.stderr
    table = json.loads((ambiguous / "out" / "run.json").read_text())
    cases = {case["case"]: case for case in table["cases"]}
    # The CTs are noise; the map's warning is none about the CT.
    empty = "the label map is empty: no organ was found"
    assert (cases["good"]["status"], cases["good"]["warnings"]) == ("done", [empty])
    for name, reason in (("added", "about +1,0"), ("turned", "the sform says RPS and the qform")):
        case = cases[name]
        assert case["status"] == ("failed" if strict else "done")
        assert reason in (case["error"] if strict else case["warnings"][0])
        assert not strict or case["error"].endswith("refused by --strict")
        assert any(reason in line for line in done.stderr.splitlines() if line.startswith(name))


def test_estimate_and_show_show_warnings(ambiguous, manifest_path):
    ct = ambiguous / "in" / "turned_0000.nii.gz"
    done = CliRunner().invoke(main, ["estimate", str(ct), "--manifest", str(manifest_path)])
    assert "turned_0000.nii.gz: the sform says RPS and the qform" in done.stderr
    words = ["predict", str(ambiguous / "in"), str(ambiguous / "out"), "--manifest"]
    CliRunner().invoke(main, [*words, str(manifest_path)])
    labels = ambiguous / "out" / "turned.nii.gz"
    words = ["show", str(ct), str(labels), "-o", str(ambiguous / "a.png")]
    assert "the sform says RPS" in CliRunner().invoke(main, words).stderr


def test_two_writers_of_one_file_use_two_names(tmp_path):
    from imaging.files import replacing

    target = tmp_path / ("x" * 250 + ".json")
    with replacing(target) as one, replacing(target) as other:
        assert one != other
        assert one.suffix == ".json"
        one.write_text("one")
        other.write_text("other")
    assert target.read_text() == "one"
    assert list(tmp_path.iterdir()) == [target]


def test_a_written_volume_has_no_warning(tmp_path):
    path = tmp_path / "a.nii.gz"
    write_volume(np.zeros((4, 5, 6), np.uint8), (1.0, 2.0, 3.0), path)
    assert read_label_map(Path(path)).place.warnings == ()
