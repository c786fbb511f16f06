"""A case from file to file: labels worked out by hand, reports, and cases that fail."""

import json
import threading
from typing import ClassVar

import numpy as np
import pytest
import SimpleITK as sitk

from imaging.errors import EngineError, KitError, ManifestError, VolumeError
from imaging.geometry import Grid
from imaging.volumes import read_volume
from inference.counts import volumes_ml
from inference.engines import open_engines
from inference.manifest import ComponentRule
from inference.pipeline import find_cases, predict_folder
from inference.predictor import Predictor, Progress
from inference.preparing import Preparer
from inference.report import CaseReport
from inference.settings import Settings

pytest.importorskip("onnx")
pytest.importorskip("openvino")

ONE_THREAD = {"threads": 1, "precision": "f32"}
TURNED = (0, 0, 1, -1, 0, 0, 0, -1, 0)
"""Stored X grows to Anterior, Y to Inferior, Z to Left: sagittal slices."""


@pytest.fixture
def label(tmp_path, write_ct, network):
    """Write a CT, label it with the tiny network; return labels [Z, Y, X] and the case's report."""

    def run(hu, manifest=None, settings=None, **place):
        path = write_ct(tmp_path / "inputs" / "a_0000.nii.gz", hu, **place)
        settings = Settings(**{**ONE_THREAD, **(settings or {})})
        report = predict_folder({"a": path}, tmp_path / "out", manifest or network(), settings)
        (case,) = report.cases
        assert case.status == "done", case.error
        return sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "a.nii.gz"))), case

    return run


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_labels_are_those_worked_out(label, boxes, engine):
    hu, expected = boxes
    labels, case = label(hu, settings={"engine": engine})
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.uint8
    # 20 and 4 voxels of 8 mm³
    assert case.volumes_ml == {"liver": 0.16, "tumour": 0.032}
    assert case.input_shape == case.working_shape == (6, 7, 8)
    # patch 4 x 5 x 6, half a patch apart: 1 + ceil(2 / 2), ceil(2 / 2.5), ceil(2 / 3) along each
    assert case.windows == 2 * 2 * 2
    assert sorted(case.seconds) == [
        "clean",
        "labels",
        "network",
        "prepare",
        "read",
        "total",
        "write",
    ]
    assert case.warnings == ()


@pytest.mark.parametrize("engine", ["openvino", "torch"])
@pytest.mark.parametrize("tta", ["shift", "finer", "scales", "flip-x", "full"])
def test_augmentation_gives_the_same_labels_where_the_network_is_sure(label, boxes, engine, tta):
    pytest.importorskip(engine)
    hu, expected = boxes
    labels, case = label(hu, settings={"engine": engine, "tta": tta})
    np.testing.assert_array_equal(labels, expected)
    # 8 plain windows; one between them; others of a patch's size, as 7 % of 4, 5, 6 is no voxel
    more = {"shift": 1, "finer": 8, "scales": 16}
    assert (case.tta, case.windows) == (tta, 8 + more.get(tta, 0))
    assert f", tta {tta}, " in case.details


@pytest.mark.parametrize("orientation", [None, "RAS", "LPS", "SAR", "AIL"])
@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), TURNED])
def test_any_orientation_gives_the_same_labels(label, network, boxes, orientation, direction):
    hu, expected = boxes
    labels, _ = label(hu, network(orientation=orientation), direction=direction)
    np.testing.assert_array_equal(labels, expected)


def test_the_network_sees_the_orientation_it_asks_for(label, network, boxes):
    # sagittal slices of 2 mm, 4 mm along stored Z: in LPS that is X, so X is halved on a 4 mm grid
    manifest = network(orientation="LPS", spacing_mm=(2.0, 2.0, 4.0))
    _, case = label(boxes[0], manifest, spacing_mm=(4.0, 2.0, 2.0), direction=TURNED)
    assert case.working_shape == (7, 8, 6)  # Z <- stored Y, Y <- stored X, X <- stored Z


@pytest.mark.parametrize(
    "settings", [{"blending": "constant"}, {"step": 1.0}, {"tta": "flip-x"}, {"tta": "full"}]
)
def test_a_network_of_single_voxels_says_the_same_however_it_is_moved(label, boxes, settings):
    labels, _ = label(boxes[0], settings=settings)
    np.testing.assert_array_equal(labels, boxes[1])


def test_crop_to_nonzero_leaves_the_border_as_background(label, network, boxes):
    hu, expected = (np.pad(array, ((2, 1), (0, 3), (1, 0))) for array in boxes)
    labels, case = label(hu, network(crop="nonzero"))
    np.testing.assert_array_equal(labels, expected)
    assert case.input_shape == (9, 10, 9)
    assert case.working_shape == (6, 7, 8)


def test_a_coarser_working_grid(label, network):
    # columns 0 0 200 200 200 200 0 0 on half the voxels: 0 200 200 0, then half-way values
    # 0 50 150 200 200 150 50 0; 50 is a tie of background and liver, 150 of liver and tumour
    hu = np.full((2, 2, 8), 0, dtype=np.int16)
    hu[:, :, 2:6] = 200
    labels, case = label(hu, network(spacing_mm=(2.0, 2.0, 4.0)))
    assert case.working_shape == (2, 2, 4)
    # logits 0, x - 1/2, 2 x - 2 are interpolated: at 1/4 of the way to x = 2 they are 0, 0, -1
    # and at 3/4 of it 0, 1, 1; the lower class wins ties
    assert labels[0, 0].tolist() == [0, 0, 1, 2, 2, 1, 0, 0]


def test_component_rules_are_applied_unless_switched_off(label, network, boxes):
    hu, expected = boxes[0].copy(), boxes[1].copy()
    hu[5, 6, 7] = 100
    manifest = network(postprocess=(ComponentRule("liver", keep="largest"),))
    cleaned, _ = label(hu, manifest)
    np.testing.assert_array_equal(cleaned, expected)
    left, case = label(hu, manifest, settings={"clean": False})
    expected[5, 6, 7] = 1
    np.testing.assert_array_equal(left, expected)
    assert "clean" not in case.seconds


@pytest.fixture
def one_broken(tmp_path, write_ct, boxes):
    """Cases a and c are good, b is broken."""
    for name in "abc":
        write_ct(tmp_path / "inputs" / f"{name}_0000.nii.gz", boxes[0])
    (tmp_path / "inputs" / "b_0000.nii.gz").write_text("broken")
    return find_cases(tmp_path / "inputs")


def test_a_case_that_fails_does_not_stop_the_others(one_broken, tmp_path, network, boxes):
    seen = []
    progress = Progress(
        case=lambda name, windows: seen.append(f"{name}: {windows} windows"),
        done=lambda case: seen.append(f"{case.case}: {case.status}"),
    )
    report = predict_folder(
        one_broken, tmp_path / "out", network(), Settings(**ONE_THREAD), progress
    )
    assert seen == ["a: 8 windows", "a: done", "b: failed", "c: 8 windows", "c: done"]
    assert [case.case for case in report.failed] == ["b"]
    for name in "ac":
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / f"{name}.nii.gz")))
        np.testing.assert_array_equal(labels, boxes[1])


def test_run_json(one_broken, tmp_path, network):
    manifest = network()
    report = predict_folder(one_broken, tmp_path / "out", manifest, Settings(**ONE_THREAD))
    report.write(tmp_path / "run.json")
    table = json.loads((tmp_path / "run.json").read_text())
    assert table["schema"] == 1
    assert (table["manifest"], table["manifest_sha256"]) == ("tiny", manifest.sha256)
    assert table["settings"]["threads"] == 1
    assert table["engine"]["name"] == "openvino"
    assert table["cpu"]
    good, bad, _ = table["cases"]
    assert (good["case"], good["status"], good["error"]) == ("a", "done", None)
    assert good["volumes_ml"] == {"liver": 0.16, "tumour": 0.032}
    assert good["peak_memory_mib"] > 1
    assert bad["status"] == "failed"
    assert bad["error"].startswith("b_0000.nii.gz: not a NIfTI-1 file")
    assert bad["volumes_ml"] == {}


def test_a_second_run_gives_the_same_bytes(one_broken, tmp_path, network):
    for folder in ("one", "two"):
        predict_folder(one_broken, tmp_path / folder, network(), Settings(**ONE_THREAD))
    for name in ("a.nii.gz", "c.nii.gz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.fixture
def prepared(boxes, write_ct, tmp_path, monkeypatch):
    """Two cases, "a" and "b", in the folder "in"; an event of each, set once it is prepared."""
    for name in "ab":
        write_ct(tmp_path / "in" / f"{name}_0000.nii.gz", boxes[0])
    done = {name: threading.Event() for name in "ab"}

    def prepare(self, ct, report):
        found = prepare_ct(self, ct, report)
        done[report.case].set()
        return found

    prepare_ct = Preparer.prepare_ct
    monkeypatch.setattr(Preparer, "prepare_ct", prepare)
    return done


def test_the_first_ct_is_prepared_while_the_engine_starts(prepared, tmp_path, network, monkeypatch):
    in_time = []

    def opened(*arguments):
        in_time.append(prepared["a"].wait(20))
        return open_engines(*arguments)

    monkeypatch.setattr("inference.segmentation.open_engines", opened)
    cases = find_cases(tmp_path / "in")
    report = predict_folder(cases, tmp_path / "out", network(), Settings(**ONE_THREAD))
    assert in_time == [True]
    assert not report.failed


def test_the_next_ct_is_prepared_meanwhile(prepared, tmp_path, network):
    in_time = []
    # at the first window of "a" it is not the turn of "b": whoever works ahead does it meanwhile
    seen = Progress(window=lambda: in_time.append(prepared["b"].wait(20)))
    cases = find_cases(tmp_path / "in")
    report = predict_folder(cases, tmp_path / "out", network(), Settings(**ONE_THREAD), seen)
    assert in_time
    assert all(in_time)
    assert not report.failed


def test_labels_keep_the_place_of_their_ct(label, boxes, tmp_path):
    label(boxes[0], spacing_mm=(5.0, 0.7, 0.8), direction=TURNED)
    ct = sitk.ReadImage(str(tmp_path / "inputs" / "a_0000.nii.gz"))
    labels = sitk.ReadImage(str(tmp_path / "out" / "a.nii.gz"))
    assert labels.GetOrigin() == ct.GetOrigin()
    assert labels.GetSpacing() == ct.GetSpacing()
    assert labels.GetDirection() == ct.GetDirection()


def test_a_network_of_other_classes_than_the_manifest_is_refused(one_broken, tmp_path, network):
    manifest = network(labels={"liver": 1})
    report = predict_folder(one_broken, tmp_path / "out", manifest, Settings(**ONE_THREAD))
    message = "the network says 3 classes, the manifest names 1 and background; "
    assert report.cases[0].error.startswith(message)
    assert report.cases[0].warnings == ("an empty label map was written in its place",)


@pytest.mark.parametrize(
    "odd", [(np.nan,), (np.inf,), (-np.inf,), (np.inf, -np.inf), (3e38, 3e38, 3e38)], ids=str
)
def test_a_network_that_answers_no_numbers_fails_the_case(network, boxes, write_ct, tmp_path, odd):
    class Broken:
        description: ClassVar = {}

        def infer(self, patches):
            answer = np.repeat(patches, 3, axis=1)
            answer[0, 1].flat[: len(odd)] = odd
            return answer

    volume = read_volume(write_ct(tmp_path / "a_0000.nii.gz", boxes[0]))
    predictor, report = Predictor(network(), Broken(), Settings()), CaseReport("a")
    with pytest.raises(EngineError, match="NaN or infinity"):
        predictor.label(predictor.prepare(volume, report), report)


def test_organ_volumes():
    labels = np.zeros((4, 5, 6), dtype=np.uint8)
    labels[1:3], labels[3, 0] = 1, 14
    # 2 slices of 30 voxels and a row of 6, 2 µl each
    found = volumes_ml(labels, {"liver": 1, "spleen": 3, "tumour": 14}, voxel_ml=0.002)
    assert found == {"liver": 0.12, "spleen": 0.0, "tumour": 0.012}


def test_a_flip_that_was_not_trained_stops_the_run(one_broken, tmp_path, network):
    manifest = network(window=network().window.__class__((4, 5, 6), 0.5, "gaussian", "none", ()))
    with pytest.raises(KitError, match="trained"):
        predict_folder(one_broken, tmp_path / "out", manifest, Settings(tta="full", **ONE_THREAD))


def test_weights_are_checked_before_anything_is_labelled(one_broken, tmp_path, network):
    manifest = network()
    manifest.weights("onnx").write_bytes(b"changed")
    with pytest.raises(ManifestError, match="7 bytes, the manifest says"):
        predict_folder(one_broken, tmp_path / "out", manifest, Settings(**ONE_THREAD))
    assert list((tmp_path / "out").iterdir()) == []


def test_cases_are_found_by_their_suffix_in_order(tmp_path):
    for name in ("b_0000.nii.gz", "a_0000.nii.gz", "a.nii.gz", "c_0001.nii.gz", "._a_0000.nii.gz"):
        (tmp_path / name).touch()
    assert list(find_cases(tmp_path)) == ["a", "b"]


def test_volume_knows_its_grid(write_ct, tmp_path, boxes):
    path = write_ct(tmp_path / "a_0000.nii.gz", boxes[0], spacing_mm=(5.0, 0.5, 0.25))
    assert read_volume(path).grid == Grid((6, 7, 8), (5.0, 0.5, 0.25))
    with pytest.raises(VolumeError):
        read_volume(tmp_path / "b_0000.nii.gz")
