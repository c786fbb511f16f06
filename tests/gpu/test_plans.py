"""Plans on a real GPU: `pytest -m gpu tests/gpu`. Prints time and memory with their circumstances.

Nothing here has run where this was written: no GPU was at hand.
"""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.engines import EngineOptions, open_engine
from inference.errors import EngineError
from inference.manifest_reader import load_manifest
from inference.phantom import write_sample
from inference.pipeline import predict_folder
from inference.predictor import Settings
from inference.tensorrt.build import Request, build_plans
from inference.tensorrt.index import plan_folder
from inference.tensorrt.runtime import runtime_module

pytestmark = pytest.mark.gpu
pytest.importorskip("onnx")
cuda = pytest.importorskip("inference.engines.cuda")
ROOT = Path(__file__).parents[2]
REPEATS = 20


@pytest.fixture(scope="module")
def gpu():
    try:
        return cuda.present_gpu()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def planned(request, gpu, tmp_path_factory):
    """The default weights with a plan for this GPU, and the engine's name."""
    try:
        runtime_module(request.param)
    except EngineError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("weights")
    shutil.copy(ROOT / "weights_manifest.json", folder)
    shutil.copytree(ROOT / "weights", folder / "weights")
    manifest = load_manifest(folder / "weights_manifest.json")
    plans = []
    try:
        build_plans(Request(manifest, request.param, (), plan_folder(manifest)), plans.append)
    except EngineError as error:
        if "does not build for" in str(error):
            pytest.skip(str(error))
        raise
    [plan] = plans
    assert plan.parity["label_agreement"] >= 0.995
    return manifest, request.param


def free_mib():
    free, _ = cuda.checked(cuda.cudart.cudaMemGetInfo())
    return free / 2**20


def test_time_and_memory_of_a_patch(planned, gpu, capsys):
    manifest, name = planned
    patch = np.random.default_rng(0).normal(size=(1, 1, *manifest.window.patch))
    patch = patch.astype(np.float32)
    before = free_mib()
    with open_engine(name, manifest, EngineOptions()) as engine:
        weights = free_mib()
        engine.infer(patch)
        running = free_mib()
        start_s = time.perf_counter()
        for _ in engine.infer_many(patch for _ in range(REPEATS)):
            pass
        patch_ms = (time.perf_counter() - start_s) / REPEATS * 1000
        left = free_mib()
        version = engine.description["version"]
    assert running < left  # the context and the buffers are given back with the last patch
    with capsys.disabled():
        print(
            f"\n{name} {version} on {gpu.name}, {manifest.name}: {patch_ms:.2f} ms a patch, "
            f"{before - weights:.0f} MiB for weights, {weights - running:.0f} MiB more running"
        )


def test_patches_in_turn_are_answered_as_each_alone(planned):
    manifest, name = planned
    rng = np.random.default_rng(1)
    given = [rng.normal(size=(1, 1, *manifest.window.patch)).astype(np.float32) for _ in range(5)]
    with open_engine(name, manifest, EngineOptions()) as engine:
        alone = [engine.infer(patch).copy() for patch in given]
        in_turn = [answer.copy() for answer in engine.infer_many(given)]
    np.testing.assert_array_equal(in_turn, alone)


def test_a_case_gets_nearly_the_labels_that_float32_gives_it(planned, tmp_path):
    manifest, name = planned
    cases = {"sample": write_sample(tmp_path, 0)}
    found = []
    for engine, precision in ((name, "auto"), ("openvino", "f32")):
        outputs = tmp_path / engine
        report = predict_folder(
            cases, outputs, manifest, Settings(engine=engine, precision=precision)
        )
        assert not report.failed
        found.append(sitk.GetArrayFromImage(sitk.ReadImage(str(outputs / "sample.nii.gz"))))
    assert found[1].any()
    assert np.mean(found[0] == found[1]) > 0.999
