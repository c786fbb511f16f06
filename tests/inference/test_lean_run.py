"""What a whole prediction loads, not only its help."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("openvino")

ROOT = Path(__file__).parents[2]
OFFLINE = {
    "PIL",
    "evaluation",
    "matplotlib",
    "nnunetv2",
    "onnxruntime",
    "pandas",
    "pydicom",
    "torch",
    "train",
}

BESIDE = {
    "inference.augmentation",
    "inference.engines.cuda",
    "inference.engines.tensorrt_index",
    "inference.limits",
    "inference.tools.commands",
}
"""What only a GPU, test-time augmentation, a limit or another command needs."""
TAKES_LONG = {"SimpleITK", "openvino", "rich.logging", "rich.progress"}
"""What no NIfTI file and no log needs; OpenVINO's compiled module is enough."""
DRAWS = {"rich", "rich.table"}
"""What draws the table at the end, which the challenge's runs do not have."""
ANY_FORMAT = {"imaging.dicom", "imaging.formats", "inference.inputs"}
"""What the challenge's files never need."""


@pytest.mark.parametrize("challenge", [True, False])
def test_a_prediction_loads_the_engine_and_nothing_of_training(
    manifest_path, write_ct, boxes, tmp_path, challenge
):
    write_ct(tmp_path / "inputs/case_0000.nii.gz", boxes[0])
    command = ["-m", "inference", "predict", tmp_path / "inputs", tmp_path / "outputs"]
    command += ["--challenge"] * challenge
    log = subprocess.run(
        [sys.executable, "-X", "importtime", *command, "--manifest", manifest_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    names = re.findall(r"^import time:.*\|\s*([\w.]+)$", log, re.MULTILINE)
    loaded = {name.partition(".")[0] for name in names}
    assert {"inference.pipeline", "openvino._pyopenvino"} <= {*names}
    assert loaded.isdisjoint(OFFLINE)
    assert TAKES_LONG.isdisjoint(names)
    assert DRAWS.isdisjoint(names) == challenge
    assert "openvino_telemetry.main" not in names
    assert BESIDE.isdisjoint(names)
    assert ANY_FORMAT.isdisjoint(names) == challenge
    assert (tmp_path / "outputs/case.nii.gz").is_file()
