"""The TensorRT engine's CUDA half on a card, under a stand-in runtime with a real kernel.

TensorRT-RTX does not support every card (compute capability 9.0 for one). The stand-in launches
torch's kernels on the stream that the engine hands over, so memory, copies, events and graphs are
the real ones.
"""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from imaging.errors import EngineError
from inference.engines import infer_many
from inference.engines.tensorrt_index import UNCHECKED, EnginePlan, add_plan

pytestmark = pytest.mark.gpu
PATCH = (48, 128, 160)
SCRATCH = 1 << 20


class _OnCard:
    """Memory of the card at an address, for torch."""

    def __init__(self, address, shape):
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": "<f4", "data": (address, False), "version": 2
        }  # fmt: skip


class _Context:
    def __init__(self, torch, shapes):
        self._torch, self._shapes, self._tensors = torch, shapes, {}
        centers = torch.arange(3.0, device="cuda").reshape(1, 3, 1, 1, 1)
        self._centers, self._shift = centers, centers**2 / 2

    def set_device_memory(self, address, size):
        assert address
        assert size == SCRATCH

    def set_tensor_address(self, name, address):
        memory = _OnCard(address, self._shapes[name])
        self._tensors[name] = self._torch.as_tensor(memory, device="cuda")

    def is_stream_capturable(self, handle):
        return True

    def execute_async_v3(self, handle):
        torch, answer = self._torch, self._tensors["logits"]
        with torch.cuda.stream(torch.cuda.ExternalStream(handle)):
            torch.mul(self._tensors["patches"], self._centers, out=answer)
            answer.sub_(self._shift)
        return True


def _runtime(torch):
    shapes = {"patches": (1, 1, *PATCH), "logits": (1, 3, *PATCH)}

    class Engine:
        device_memory_size_v2 = SCRATCH
        num_io_tensors = 2
        get_tensor_name = staticmethod(list(shapes).__getitem__)
        get_tensor_shape = staticmethod(shapes.__getitem__)

        def get_tensor_mode(self, name):
            return "in" if name == "patches" else "out"

        def get_tensor_dtype(self, name):
            return "f32"

        def create_execution_context(self, strategy):
            return _Context(torch, shapes)

    class Logger:
        ERROR = 1

    return SimpleNamespace(
        ILogger=Logger,
        Runtime=lambda log: SimpleNamespace(deserialize_cuda_engine=lambda content: Engine()),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="ours"),
        TensorIOMode=SimpleNamespace(INPUT="in"),
        DataType=SimpleNamespace(FLOAT="f32"),
    )


@pytest.fixture
def cuda():
    return pytest.importorskip("inference.engines.cuda")


@pytest.fixture
def engine(torch_on_card, cuda, tmp_path):
    from inference.engines.tensorrt_engine import TensorRTEngine

    gpu = cuda.present_gpu()
    entry = EnginePlan(
        "stand_in.plan", "", 0, "", "tensorrt", "0", gpu.target, None, "fp32", {}, 0.0, {},
        UNCHECKED,
    )  # fmt: skip
    plan = add_plan(tmp_path, entry, b"a plan")
    made = TensorRTEngine(_runtime(torch_on_card), plan, tmp_path, gpu)
    yield made
    made.close()


def worked_out(patch):
    centers = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1, 1)
    return centers * patch - centers**2 / 2


def test_many_patches_are_the_ones_that_were_worked_out(engine, noise, caplog, record_property):
    given = noise(3, PATCH) * 20
    expected = [worked_out(patch) for patch in given[:3]]
    start_s = time.perf_counter()
    for number, answer in enumerate(infer_many(engine, iter(given))):
        np.testing.assert_allclose(answer, expected[number % 3], atol=1e-5)
    record_property("patch_with_comparison_ms", (time.perf_counter() - start_s) / 60 * 1000)
    assert not caplog.messages  # it was captured


def test_an_early_end_and_a_reader_that_fails_leave_the_card(engine, cuda, noise):
    def used_mib():
        free, total = cuda.checked(cuda.cudart.cudaMemGetInfo())
        return (total - free) >> 20

    def failing():
        yield from noise(2, PATCH)
        raise RuntimeError("the CT")

    list(infer_many(engine, iter(noise(2, PATCH))))
    before = used_mib()
    answers = infer_many(engine, iter(noise(3, PATCH)))
    next(answers)
    answers.close()
    assert used_mib() <= before + 8
    with pytest.raises(RuntimeError, match="the CT"):
        list(infer_many(engine, failing()))
    assert used_mib() <= before + 8
    (patch,) = noise(1, PATCH)
    np.testing.assert_allclose(engine.infer(patch), worked_out(patch), atol=1e-5)


def test_too_much_memory_is_refused_before_it_is_asked_for(cuda, torch_on_card):
    with pytest.raises(EngineError, match=r"MiB of GPU memory are needed, .* are free"):
        cuda.refuse_too_little(1 << 50)


def test_a_card_that_is_not_there_is_said(cuda, torch_on_card):
    count = torch_on_card.cuda.device_count()
    with pytest.raises(EngineError, match=f"--device {count} was requested, but {count} GPUs"):
        cuda.present_gpu(count)
