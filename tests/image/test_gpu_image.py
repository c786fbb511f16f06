"""The target gpu, as far as a machine without a GPU shows it, on a real Docker engine."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from inference.engines.tensorrt_index import read_index, read_plan

ROOT = Path(__file__).parents[2]
CPU, GPU = "flare23kit:latest", "flare23kitgpu:latest"
MOST_MB_OVER_BASE = 850
TARGETS = ("sm75", "sm86")
CASE = "CHAOS_3"

pytestmark = pytest.mark.docker


def docker(*words):
    return subprocess.run(["docker", *map(str, words)], capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def weights(gpu_archive, tmp_path_factory):
    """A copy of weights/ with plans that the image itself has built, onnx lent to it."""
    onnx = Path(pytest.importorskip("onnx").__file__).parent
    folder = tmp_path_factory.mktemp("kit") / "weights"
    shutil.copytree(ROOT / "weights", folder, ignore=shutil.ignore_patterns("plans"))
    lent = tmp_path_factory.mktemp("onnx")
    for name in ("onnx", "google", "ml_dtypes"):
        shutil.copytree(onnx.parent / name, lent / name)
    shutil.copy(onnx.parent / "typing_extensions.py", lent)
    flags = ("-v", f"{folder}:/workspace/weights", "-v", f"{lent}:/opt/onnx:ro")
    command = ("python3", "-m", "inference", "engine", "build", "--engine", "tensorrt-rtx")
    docker(
        *("run", "--rm", "--network", "none", "-e", "PYTHONPATH=/opt/onnx", *flags, GPU),
        *(*command, "--target", ",".join(TARGETS)),
    )
    return folder


def test_its_size_over_the_base(gpu_archive):
    size = {
        name: int(docker("image", "inspect", "--format", "{{.Size}}", name).stdout)
        for name in (GPU, "flare23kit-base:bookworm")
    }
    assert size[GPU] - size["flare23kit-base:bookworm"] <= MOST_MB_OVER_BASE * 1_000_000


def test_it_builds_plans_where_onnx_is_lent_to_it(weights):
    plans = read_index(weights / "plans")
    assert sorted(plan.target for plan in plans) == sorted(TARGETS)
    assert all(read_plan(weights / "plans", plan) for plan in plans)


def test_without_a_gpu_its_plans_are_passed_over_aloud_and_the_map_is_the_cpu_images(
    archive, weights, data_dir, tmp_path
):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    shutil.copy(data_dir / "ct" / f"{CASE}_0000.nii.gz", inputs)
    maps, told = {}, {}
    for image, flags in ((CPU, ()), (GPU, ("-v", f"{weights}:/workspace/weights:ro"))):
        outputs = tmp_path / image.partition(":")[0]
        outputs.mkdir()
        mounts = ("-v", f"{inputs}:/workspace/inputs:ro", "-v", f"{outputs}:/workspace/outputs")
        run = ("run", "--rm", "--network", "none", *mounts, *flags, image)
        done = docker(*run, "/bin/bash", "-c", "sh predict.sh")
        told[image] = " ".join(done.stderr.split())
        maps[image] = (outputs / f"{CASE}.nii.gz").read_bytes()
        report = json.loads((outputs / "run.json").read_text(encoding="utf-8"))
        assert report["engine"]["name"] == "openvino"
    assert "engine tensorrt-rtx passed over: no NVIDIA driver" in told[GPU]
    assert "passed over" not in told[CPU]
    assert maps[GPU] == maps[CPU]
