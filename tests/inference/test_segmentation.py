"""The one call: the labels of a CT in memory are those that `predict` writes."""

import doctest
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imaging.errors import KitError, ManifestError, VolumeError
from imaging.volumes import read_volume, write_labels
from inference import Progress, Settings, open_predictor, segment
from inference.pipeline import predict_folder

pytest.importorskip("onnx")
pytest.importorskip("openvino")

ROOT = Path(__file__).parents[2]
ONE_THREAD = Settings(threads=1, precision="f32")


@pytest.fixture
def ct(tmp_path, write_ct, boxes):
    return write_ct(tmp_path / "in" / "a_0000.nii.gz", boxes[0])


def test_a_ct_gives_labels_and_a_report(ct, network, boxes):
    windows, cases = [], []
    progress = Progress(
        case=lambda name, count: cases.append((name, count)), window=lambda: windows.append(1)
    )
    found = segment(ct, network(), ONE_THREAD, progress)
    np.testing.assert_array_equal(found.labels, boxes[1])
    assert found.labels.dtype == np.uint8
    assert (found.report.case, found.report.status, found.report.windows) == ("a", "done", 8)
    assert found.report.volumes_ml == {"liver": 0.16, "tumour": 0.032}
    assert found.report.seconds.keys() == {
        "read", "prepare", "network", "labels", "clean", "total",
    }  # fmt: skip
    assert (cases, len(windows)) == ([("a", 8)], 8)


def test_a_manifest_may_be_a_file_and_a_ct_in_memory(ct, manifest_path, boxes):
    volume = read_volume(ct)
    before = volume.hu.copy()
    found = segment(volume, manifest_path, ONE_THREAD)
    np.testing.assert_array_equal(found.labels, boxes[1])
    np.testing.assert_array_equal(volume.hu, before)  # the caller's, left as it was
    assert "read" not in found.report.seconds


def test_what_it_returns_written_is_what_predict_writes(ct, network, tmp_path):
    found = segment(ct, network(), ONE_THREAD)
    write_labels(found.labels, found.header, tmp_path / "a.nii.gz")
    predict_folder({"a": ct}, tmp_path / "out", network(), ONE_THREAD)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "out/a.nii.gz").read_bytes()


def test_one_network_labels_several_cts(tmp_path, write_ct, network, boxes):
    paths = [write_ct(tmp_path / f"{name}_0000.nii.gz", boxes[0]) for name in "ab"]
    with open_predictor(network(), ONE_THREAD) as predictor:
        found = [predictor.segment(path) for path in paths]
    assert [one.report.case for one in found] == ["a", "b"]
    np.testing.assert_array_equal(found[0].labels, found[1].labels)


@pytest.mark.parametrize("from_memory", [False, True])
def test_limits_count_for_one_ct_too(ct, network, from_memory):
    settings = Settings(threads=1, precision="f32", time_limit_s=1e-6)
    report = segment(read_volume(ct) if from_memory else ct, network(), settings).report
    assert (report.step, report.windows) == (0.5, 8)  # as many as at every other step
    assert any(warning.endswith(" s expected, the limit is 1e-06 s") for warning in report.warnings)


def test_what_cannot_be_used_is_raised(ct, network, tmp_path):
    with pytest.raises(VolumeError, match=r"b_0000\.nii\.gz"):
        segment(tmp_path / "b_0000.nii.gz", network(), ONE_THREAD)
    manifest = network()
    manifest.weights("onnx").write_bytes(b"changed")
    with pytest.raises(ManifestError, match="7 bytes, the manifest says"):
        segment(ct, manifest, ONE_THREAD)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"step": 3.0}, "step is 3.0; give a share of the patch, more than 0 and at most 1"),
        ({"step": 0.0}, "step is 0.0; give a share of the patch"),
        ({"step": float("nan")}, "step is nan; give a share of the patch"),
        ({"precision": "fp16"}, "precision is 'fp16'; choose from auto, f32, bf16, int8"),
        ({"precision": None}, "precision is None; choose from auto, f32, bf16, int8"),
        ({"crop": "head"}, "crop is 'head'; choose from none, nonzero, body, organs"),
        ({"blending": "linear"}, "blending is 'linear'; choose from gaussian, constant"),
        ({"threads": -1}, "threads is -1; give a whole number from 0 on"),
        ({"device": 0.5}, "device is 0.5; give a whole number from 0 on"),
        ({"time_limit_s": 0.0}, "time_limit_s is 0.0; give more than 0, or None for no limit"),
        ({"memory_limit_mib": -1.0}, "memory_limit_mib is -1.0; give more than 0"),
    ],
)
def test_settings_that_no_run_can_have_are_refused(change, told):
    """Windows three patches apart leave gaps; a misspelt choice would be another one in silence."""
    with pytest.raises(KitError) as raised:
        Settings(**change)
    assert str(raised.value).startswith(f"Settings: {told}")


@pytest.mark.parametrize(
    ("thing", "told"),
    [(5, "int"), (None, "NoneType"), ([[1, 2], [3, 4]], "list"), (b"a.nii", "bytes")],
)
def test_what_is_no_ct_is_said_to_be_none(network, thing, told):
    expected = "a CT is a path, an array, a SimpleITK image, a Volume or a Series, not "
    with pytest.raises(KitError, match=expected + told):
        segment(thing, network(), ONE_THREAD)


def test_a_path_without_a_file_is_said_to_be_so(network, tmp_path):
    with pytest.raises(VolumeError, match=r"^nothing\.nii\.gz: there is no such file"):
        segment(str(tmp_path / "nothing.nii.gz"), network(), ONE_THREAD)


def test_strict_refuses_a_ct_in_memory_too(ct, network):
    volume = replace(read_volume(ct), warnings=("a warning",))
    assert segment(volume, network(), ONE_THREAD).report.warnings == ("a warning",)
    with pytest.raises(VolumeError, match="ct: a warning; refused by --strict"):
        segment(volume, network(), replace(ONE_THREAD, strict=True))


def test_the_package_alone_loads_nothing_that_works():
    code = "import inference, sys; sys.exit('numpy' in sys.modules or 'click' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    with pytest.raises(ImportError, match="nothing_of_the_kind"):
        from inference import nothing_of_the_kind  # noqa: F401


def test_the_page_does_what_it_says(monkeypatch):
    monkeypatch.chdir(ROOT)
    tried = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert tried.attempted > 0
    assert tried.failed == 0
