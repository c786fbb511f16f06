"""Somebody else's network, from a bare ONNX file and a manifest written by hand, on a real CT."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.manifest import load_manifest
from inference.pipeline import Settings, predict_folder

pytest.importorskip("openvino")

pytestmark = [pytest.mark.data, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
LIVER_DSC = 0.967  # as its source's own pipeline has it, with order-3 resampling
TOLERANCE = 0.01


def dice(truth, pred):
    return 2 * np.count_nonzero(truth & pred) / (truth.sum() + pred.sum())


@pytest.fixture
def student():
    weights = DATA / "weights" / "flare25_student_13organs.onnx"
    if not weights.is_file():
        pytest.skip("the external network is not in ../shared/data/weights")
    described = load_manifest(ROOT / "train" / "teachers" / "flare25_student.json")
    return described.with_onnx(weights)


@pytest.fixture
def example():
    ct = DATA / "ct" / "TS_example_0000.nii.gz"
    truth = DATA / "truth" / "TS_example.nii.gz"
    if not (ct.is_file() and truth.is_file()):
        pytest.skip("TS_example is not in ../shared/data")
    return ct, truth


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_liver_of_a_real_ct(student, example, tmp_path):
    ct, truth_path = example
    report = predict_folder({"TS_example": ct}, tmp_path, student, Settings(precision="f32"))
    (case,) = report.cases
    assert case.status == "done", case.error
    labels, truth = read(tmp_path / "TS_example.nii.gz"), read(truth_path)
    assert dice(truth == 1, labels == 1) == pytest.approx(LIVER_DSC, abs=TOLERANCE)
    assert set(np.unique(labels)) == set(range(14))  # all thirteen organs, and no tumour
    assert 1000 < case.volumes_ml["liver"] < 2500
