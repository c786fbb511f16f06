"""TensorRT on a GPU: the plans' logits, labels, memory."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from imaging.errors import EngineError
from inference.engines import EngineOptions, infer_many, open_engine
from inference.manifest import load_manifest
from train.synthesis.phantom import write_phantom

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpu():
    cuda = pytest.importorskip("inference.engines.cuda")
    try:
        return cuda.present_gpu()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def planned(request, gpu, tmp_path_factory):
    """The default weights with a plan for this GPU, which has passed the gate: engine, manifest."""
    from inference.builders.tensorrt_build import Request, build_plans

    folder = tmp_path_factory.mktemp("kit")
    (folder / "weights").symlink_to(tmp_path_factory.mktemp("weights"))
    for path in (ROOT / "weights").iterdir():
        (folder / "weights" / path.name).symlink_to(path)
    (folder / "weights_manifest.json").write_bytes((ROOT / "weights_manifest.json").read_bytes())
    manifest = load_manifest(folder / "weights_manifest.json")
    plans = []
    try:
        build_plans(
            Request(manifest, request.param, (), folder / "weights" / "plans"), plans.append
        )
    except EngineError as error:
        if "cannot be imported" in str(error) or "does not build for" in str(error):
            pytest.skip(str(error))
        raise
    assert plans[0].target == gpu.target
    assert plans[0].parity["label_agreement"] >= 0.995
    return request.param, manifest


def patches(count):
    manifest = load_manifest(ROOT / "weights_manifest.json")
    rng = np.random.default_rng(0)
    shape = (1, 1, *manifest.window.patch)
    return [rng.normal(size=shape).astype(np.float32) for _ in range(count)]


def test_patches_asked_for_ahead_have_the_same_logits(planned):
    name, manifest = planned
    with open_engine(name, manifest, EngineOptions()) as engine:
        one_by_one = [engine.infer(patch).copy() for patch in patches(5)]
        ahead = [logits.copy() for logits in infer_many(engine, patches(5))]
    for first, second in zip(one_by_one, ahead, strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(ahead[0], ahead[1])


def test_auto_takes_the_plan(planned):
    _, manifest = planned
    with open_engine("auto", manifest, EngineOptions()) as engine:
        assert engine.description["name"] in ("tensorrt", "tensorrt-rtx")


def test_a_case_is_labelled_as_on_a_cpu_and_timed(planned, tmp_path, record_property):
    name, manifest = planned
    write_phantom(tmp_path / "in", 0)
    path = manifest.folder / "weights_manifest.json"
    labels = {}
    for engine in (name, "openvino"):
        target = tmp_path / engine
        command = [sys.executable, "-m", "inference", "predict", tmp_path / "in", target]
        start_s = time.perf_counter()
        subprocess.run(
            [*map(str, command), "--manifest", str(path), "--engine", engine], check=True, cwd=ROOT
        )
        told = json.loads((target / "run.json").read_text())
        record_property(f"{engine}_process_s", round(time.perf_counter() - start_s, 2))
        record_property(f"{engine}_stages_s", told["cases"][0]["seconds"])
        labels[engine] = sitk.GetArrayFromImage(sitk.ReadImage(str(target / "sample.nii.gz")))
    same = np.mean(labels[name] == labels["openvino"])
    assert same > 0.999


def test_a_patch_is_timed_and_gpu_memory_given_back_when_the_patches_end(planned, record_property):
    from inference.engines.cuda import checked, cudart

    name, manifest = planned

    def used_mib():
        free, total = checked(cudart.cudaMemGetInfo())
        return (total - free) >> 20

    start = used_mib()
    given = patches(1) * 20
    with open_engine(name, manifest, EngineOptions()) as engine:
        weights = used_mib()
        engine.infer(given[0])  # TensorRT-RTX compiles
        running = used_mib()
        start_s = time.perf_counter()
        for _ in infer_many(engine, given):
            pass
        record_property("patch_ms", (time.perf_counter() - start_s) / len(given) * 1000)
        ended = used_mib()
    for what, mib in (("weights", weights - start), ("running", running - weights)):
        record_property(f"{what}_mib", mib)
    assert running > weights
    assert ended <= weights + 64  # the driver keeps a little
