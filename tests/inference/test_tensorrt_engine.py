"""The TensorRT engine on a machine made of host memory; tests/gpu/ runs it on a real one."""

import logging
from contextlib import contextmanager

import numpy as np
import pytest

from imaging.errors import EngineError
from inference.engines import EngineOptions, infer_many, open_engine, plan_folder
from inference.engines.tensorrt_index import plans_of
from inference.pipeline import predict_folder
from inference.settings import Settings

pytest.importorskip("cuda.bindings.runtime")
pytest.importorskip("onnx")
from inference.engines.cuda import Gpu
from inference.engines.tensorrt_engine import TensorRTEngine
from tests.inference.stand_in_gpu import CARD, OUT_OF_MEMORY, Context, opened, runtime
from tests.inference.tiny_logits import PATCH, patches, worked_out


@pytest.mark.parametrize("name", ["tensorrt-rtx", "tensorrt"])
def test_logits_are_those_worked_out(trt, planned, name):
    with opened(planned(engine=name), name) as engine:
        for patch in patches(3):
            np.testing.assert_allclose(engine.infer(patch), worked_out(patch), atol=1e-5)
        table = engine.description
    assert (table["name"], table["device"], table["precision"]) == (name, CARD, "fp16")


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_many_are_answered_in_turn_and_the_gpu_is_left_before_the_last_is_used(
    trt, machine, planned, count
):
    given = patches(count)
    with opened(planned()) as engine:
        answers = infer_many(engine, iter(given))
        for number, answer in enumerate(answers):
            np.testing.assert_allclose(answer, worked_out(given[number]), atol=1e-5)
            assert bool(machine.held["gpu"]) == (number < count - 1)
        assert not machine.held["gpu"]


def test_the_next_patch_is_queued_while_an_answer_is_used(trt, machine, planned):
    with opened(planned()) as engine:
        answers = infer_many(engine, iter(patches(3)))
        next(answers)
        # a copy there, the network, a copy back: the second patch waits in the stream
        assert len(machine.queued) - machine.done == 3
        answers.close()
        assert not machine.held["gpu"]


def test_a_reader_that_fails_leaves_nothing_behind(trt, machine, planned):
    def failing():
        yield patches(1)[0]
        raise RuntimeError("the CT")

    with opened(planned()) as engine, pytest.raises(RuntimeError, match="the CT"):
        list(infer_many(engine, failing()))


def test_a_patch_that_the_plan_does_not_take_is_an_engine_error(trt, planned):
    with (
        opened(planned()) as engine,
        pytest.raises(EngineError, match=r"cannot run a patch of shape \(1, 1, 4, 4, 4\)"),
    ):
        engine.infer(np.zeros((1, 1, 4, 4, 4), dtype=np.float32))


@contextmanager
def with_kernels_kept(trt, manifest):
    """Open the plan as the parity gate does."""
    (plan,), card = plans_of(manifest), Gpu(CARD, "sm86")
    engine = TensorRTEngine(trt, plan, plan_folder(manifest), card, keep_kernels=True)
    try:
        yield engine
    finally:
        engine.close()


def test_compiled_kernels_are_kept_beside_the_plan_and_read_again(trt, planned):
    manifest = planned()
    with with_kernels_kept(trt, manifest) as engine:
        engine.infer(patches(1)[0])
    assert (plan_folder(manifest) / "tiny-RTX_A6000.cache").read_bytes() == b"kernels"
    with opened(manifest):  # runs a patch
        pass
    assert [cache.read for cache in trt.kernels] == [b"", b"kernels"]


def test_a_prediction_writes_nothing_beside_the_plan(trt, planned):
    manifest = planned()
    with opened(manifest) as engine:
        list(infer_many(engine, patches(3)))
    assert sorted(path.name for path in plan_folder(manifest).iterdir()) == [
        "index.json", "tiny.plan"
    ]  # fmt: skip


def test_kernels_that_cannot_be_kept_stop_nothing(trt, planned):
    manifest = planned()
    (plan_folder(manifest) / "tiny-RTX_A6000.cache").mkdir()  # no file can take its place
    with with_kernels_kept(trt, manifest) as engine:
        assert engine.infer(patches(1)[0]).shape == (1, 3, *PATCH[2:])


@pytest.mark.parametrize(
    ("machine_is", "plan_is", "reason"),
    [
        ({"driver": 0}, {}, "no NVIDIA driver"),
        ({"driver": 12080}, {}, "the NVIDIA driver is for CUDA 12, this needs 13; update it"),
        ({"free_bytes": 1 << 19}, {}, "1 MiB of GPU memory are needed, 0 of 1,024 are free"),
        ({"capability": (9, 0)}, {}, r"no tensorrt-rtx plan fits RTX A6000 \(sm90\)"),
        ({}, {"version": "1.6"}, "tiny.plan: built by tensorrt-rtx 1.6, here is 1.7"),
        ({}, {"content": b"noise"}, r"cannot load the plan \(tiny.plan\): magic tag does not"),
    ],
)
def test_auto_goes_on_with_the_cpu_and_says_why(
    trt, machine, planned, caplog, machine_is, plan_is, reason
):
    for name, value in machine_is.items():
        setattr(machine, name, value)
    manifest = planned(**plan_is)
    with pytest.raises(EngineError, match=reason), opened(manifest):
        pass
    with caplog.at_level(logging.WARNING), opened(manifest, "auto") as engine:
        assert engine.description["name"] == "openvino"
    assert [message[:32] for message in caplog.messages] == ["engine tensorrt-rtx passed over:"]


@pytest.mark.parametrize(
    "error",
    [
        AttributeError("'ICudaEngine' object has no attribute 'device_memory_size_v2'"),
        TypeError("incompatible function arguments:\n    1. (self, stream: int) -> bool"),
        RuntimeError("the driver is gone"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(
    "place", ["Runtime", "create_execution_context", "set_device_memory", "execute_async_v3"]
)
def test_whatever_is_raised_until_the_first_answer_passes_the_plan_over(
    trt, planned, monkeypatch, caplog, place, error
):
    def broken(*_):
        raise error

    owner = {"Runtime": trt, "create_execution_context": trt.Engine}.get(place, Context)
    monkeypatch.setattr(owner, place, broken)
    manifest, kind = planned(), type(error).__name__
    with pytest.raises(EngineError, match=rf"cannot be used here \({kind}: "), opened(manifest):
        pass
    with caplog.at_level(logging.WARNING), opened(manifest, "auto") as engine:
        assert engine.description["name"] == "openvino"
    (message,) = caplog.messages
    assert message.startswith("engine tensorrt-rtx passed over: tensorrt-rtx cannot be used here (")
    assert "\n" not in message


def test_a_plan_that_answers_no_numbers_is_passed_over(machine, planned, monkeypatch, caplog):
    made = runtime(machine, lambda patch: np.nan * patch)
    monkeypatch.setattr("inference.engines.tensorrt_engine.runtime_module", lambda name: made)
    with caplog.at_level(logging.WARNING), opened(planned(), "auto") as engine:
        assert engine.description["name"] == "openvino"
    (message,) = caplog.messages
    assert "tensorrt-rtx answers NaN or infinity; build its plan again here" in message


def test_an_error_of_whoever_uses_the_engine_stays_what_it_is(trt, planned):
    with pytest.raises(AttributeError, match="mine"), opened(planned()):
        raise AttributeError("mine")


def test_the_gpu_is_left_between_the_patch_that_tries_it_and_the_first_case(trt, machine, planned):
    with opened(planned()):
        assert not machine.held["gpu"]


def test_memory_that_ends_midway_is_an_engine_error_and_given_back(trt, machine, planned):
    machine_malloc, left = machine.cudaMalloc, [1]

    def scarce(size):
        if not left:
            return OUT_OF_MEMORY, None
        left.pop()
        return machine_malloc(size)

    machine.cudaMalloc = scarce
    message = r"CUDA: out of memory \(cudaErrorMemoryAllocation\)"
    with pytest.raises(EngineError, match=message), opened(planned()):
        pass


def test_pinned_memory_that_ends_midway_is_given_back(trt, machine, planned):
    machine_malloc, left = machine.cudaMallocHost, [1, 2]
    machine.cudaMallocHost = lambda size: (
        machine_malloc(size) if left and left.pop() else (OUT_OF_MEMORY, None)
    )
    with pytest.raises(EngineError, match="CUDA: out of memory"), opened(planned()):
        pass


def test_a_case_gets_the_labels_that_the_cpu_gives_it(trt, planned, boxes, write_ct, tmp_path):
    import SimpleITK as sitk

    hu, labels = boxes
    cases = {"boxes": write_ct(tmp_path / "in" / "boxes_0000.nii.gz", hu)}
    settings = Settings(engine="tensorrt-rtx", threads=1, tta="full")
    report = predict_folder(cases, tmp_path / "out", planned(), settings)
    assert not report.failed
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "boxes.nii.gz")))
    np.testing.assert_array_equal(found, labels)


def test_the_requested_gpu_is_the_one_that_is_used(trt, machine, planned):
    machine.gpus = 3
    with open_engine("tensorrt-rtx", planned(), EngineOptions(device=2)) as engine:
        assert machine.used == 2
        machine.used = 0  # another thread, say
        engine.infer(patches(1)[0])
        assert machine.used == 2


def test_a_gpu_that_is_not_there_is_said(trt, machine, planned, caplog):
    manifest, options = planned(), EngineOptions(device=1)
    reason = "--device 1 was requested, but 1 GPUs can be used here, counted from 0"
    with pytest.raises(EngineError, match=reason), open_engine("tensorrt-rtx", manifest, options):
        pass
    with caplog.at_level(logging.WARNING), open_engine("auto", manifest, options) as engine:
        assert engine.description["name"] == "openvino"
    (message,) = caplog.messages
    assert reason in message
