"""The TensorRT engine on a machine made of host memory; tests/gpu/ runs it on a real one.

The stand-in does nothing before it is waited for, as a GPU may: an answer that is read too early,
or a patch that is overwritten too early, gives wrong logits. It counts what is not given back.
"""

# ruff: noqa: N802 (CUDA's own names)
import ctypes
import logging
from contextlib import contextmanager
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from imaging.errors import EngineError
from inference.builders.tensorrt_build import Request, build_plans
from inference.engines import EngineOptions, infer_many, open_engine, plan_folder
from inference.engines.tensorrt_index import UNCHECKED, EnginePlan, add_plan, plans_of
from inference.pipeline import predict_folder
from inference.predictor import Progress
from inference.settings import Settings
from tests.inference.failing_cards import check_maps, check_the_cpu_went_on

real = pytest.importorskip("cuda.bindings.runtime")
from inference.engines.cuda import Gpu  # noqa: E402
from inference.engines.tensorrt_engine import TensorRTEngine  # noqa: E402

pytest.importorskip("onnx")
PATCH = (1, 1, 4, 5, 6)
LOGITS = (1, 3, *PATCH[2:])
CENTERS = np.array([0.0, 1.0, 2.0], dtype=np.float32).reshape(1, 3, 1, 1, 1)
OK = real.cudaError_t.cudaSuccess
OUT_OF_MEMORY = real.cudaError_t.cudaErrorMemoryAllocation
CARD = "RTX A6000"
VERSION = "1.7"
SCRATCH = 1 << 20


def worked_out(patch):
    """Logits of the tiny network: c x - c² / 2."""
    return CENTERS * patch - CENTERS**2 / 2


class Machine:
    """What `inference.engines.cuda` calls; constants are CUDA's own."""

    def __init__(self):
        self.free_bytes, self.driver, self.capability = 1 << 30, 13050, (8, 6)
        self.held = {"gpu": {}, "pinned": {}, "things": set()}
        self.queued, self.done, self.capturing = [], 0, None
        self.gpus, self.used = 1, None

    def __getattr__(self, name):
        return getattr(real, name)

    def put(self, work):
        (self.queued if self.capturing is None else self.capturing).append(work)

    def _held(self, where, size):
        room = (ctypes.c_byte * size)()
        self.held[where][ctypes.addressof(room)] = room
        return OK, ctypes.addressof(room)

    def _thing(self, thing):
        self.held["things"].add(id(thing))
        return OK, thing

    def _given_back(self, thing):
        self.held["things"].remove(id(thing))
        return (OK,)

    def cudaDriverGetVersion(self):
        return OK, self.driver

    def cudaGetDeviceCount(self):
        return OK, self.gpus

    def cudaSetDevice(self, device):
        assert device < self.gpus
        self.used = device
        return (OK,)

    def cudaGetDeviceProperties(self, device):
        assert device == self.used
        major, minor = self.capability
        return OK, SimpleNamespace(name=CARD.encode() + b"\0\0", major=major, minor=minor)

    def cudaMemGetInfo(self):
        return OK, self.free_bytes, 1 << 30

    def cudaMalloc(self, size):
        return self._held("gpu", size)

    def cudaMallocHost(self, size):
        return self._held("pinned", size)

    def cudaFree(self, address):
        del self.held["gpu"][address]
        return (OK,)

    def cudaFreeHost(self, address):
        del self.held["pinned"][address]
        return (OK,)

    def cudaStreamCreateWithFlags(self, flags):
        assert flags == real.cudaStreamNonBlocking
        return self._thing(real.cudaStream_t(7))

    def cudaStreamDestroy(self, stream):
        return self._given_back(stream)

    def cudaStreamSynchronize(self, stream):
        self._work(len(self.queued))
        return (OK,)

    def _work(self, until):
        while self.done < until:
            self.queued[self.done]()
            self.done += 1

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        places = {"cudaMemcpyHostToDevice": ("gpu", "pinned")}.get(kind.name, ("pinned", "gpu"))
        for address, place in zip((target, source), places, strict=True):
            assert ctypes.sizeof(self.held[place][address]) == size
        self.put(lambda: ctypes.memmove(target, source, size))
        return (OK,)

    def cudaEventCreateWithFlags(self, flags):
        return self._thing(SimpleNamespace(at=None))

    def cudaEventRecord(self, event, stream):
        event.at = len(self.queued)
        return (OK,)

    def cudaEventSynchronize(self, event):
        self._work(event.at)
        return (OK,)

    def cudaEventDestroy(self, event):
        return self._given_back(event)

    def cudaStreamBeginCapture(self, stream, mode):
        self.capturing = []
        return (OK,)

    def cudaStreamEndCapture(self, stream):
        graph, self.capturing = self.capturing, None
        return self._thing(graph)

    def cudaGraphDestroy(self, graph):
        return self._given_back(graph)

    def cudaGraphInstantiate(self, graph, flags):
        return self._thing(list(graph))

    def cudaGraphExecDestroy(self, graph):
        return self._given_back(graph)

    def cudaGraphLaunch(self, graph, stream):
        self.queued.extend(graph)
        return (OK,)


class Context:
    capturable = True

    def __init__(self, machine, network):
        self._machine, self._network, self._places = machine, network, {}
        self._scratch = None

    def set_device_memory(self, address, size):
        assert ctypes.sizeof(self._machine.held["gpu"][address]) == size == SCRATCH
        self._scratch = address

    def is_stream_capturable(self, handle):
        assert handle == 7
        return self.capturable

    def set_tensor_address(self, name, address):
        self._places[name] = address

    def execute_async_v3(self, handle):
        assert handle == 7
        held = self._machine.held["gpu"]
        given, answer = (self._places[name] for name in ("patches", "logits"))
        assert self._scratch in held

        def work():
            patch = np.frombuffer(held[given], dtype=np.float32).reshape(PATCH)
            logits = np.frombuffer(held[answer], dtype=np.float32).reshape(LOGITS)
            logits[:] = self._network(patch)

        self._machine.put(work)
        return True


class Kernels:
    """Stands in for TensorRT-RTX's cache of compiled kernels."""

    read = b""

    def deserialize(self, content):
        self.read = content
        return True

    def serialize(self):
        return b"kernels"


def runtime(machine, network=worked_out, noise=b"noise"):
    """Stand in for TensorRT-RTX's Python module; `kernels` lists the caches that contexts got."""
    kernels, strategies = [], []

    class ILogger:
        ERROR = 1

    class Engine:
        device_memory_size_v2 = SCRATCH
        tensors: ClassVar = {"logits": ("out", "f32", LOGITS), "patches": ("in", "f32", PATCH)}

        @property
        def num_io_tensors(self):
            return len(self.tensors)

        def get_tensor_name(self, number):
            return list(self.tensors)[number]

        def get_tensor_mode(self, name):
            return self.tensors[name][0]

        def get_tensor_dtype(self, name):
            return self.tensors[name][1]

        def get_tensor_shape(self, name):
            return self.tensors[name][2]

        def create_runtime_config(self):
            return SimpleNamespace(
                create_runtime_cache=Kernels,
                set_runtime_cache=kernels.append,
                set_execution_context_allocation_strategy=strategies.append,
            )

        def create_execution_context(self, config):
            if config == "ours":  # TensorRT gets an argument, TensorRT-RTX by its configuration
                strategies.append(config)
            assert strategies.pop() == "ours"
            return Context(machine, network)

    class Runtime:
        def __init__(self, logger):
            self._logger = logger

        def deserialize_cuda_engine(self, content):
            if content == noise:
                self._logger.log(1, "magic tag\n  does not match")
                return None
            return Engine()

    return SimpleNamespace(
        __version__=VERSION,
        ILogger=ILogger,
        Runtime=Runtime,
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="ours"),
        TensorIOMode=SimpleNamespace(INPUT="in"),
        DataType=SimpleNamespace(FLOAT="f32"),
        Engine=Engine,
        kernels=kernels,
    )


@pytest.fixture
def machine(monkeypatch):
    made = Machine()
    monkeypatch.setattr("inference.engines.cuda.cudart", made)
    yield made
    assert not any(made.held.values())


@pytest.fixture
def trt(machine, monkeypatch):
    made = runtime(machine)
    monkeypatch.setattr("inference.engines.tensorrt_engine.runtime_module", lambda name: made)
    return made


@pytest.fixture
def planned(network):
    """The manifest of the tiny network with a plan; call it with what shall be different."""

    def make(content=b"a plan", **changes):
        manifest = network()
        folder = plan_folder(manifest)
        folder.mkdir(exist_ok=True)
        entry = {
            "file": "tiny.plan", "sha256": "", "bytes": 0, "engine": "tensorrt-rtx",
            "onnx_sha256": manifest.files["onnx"].sha256, "version": VERSION, "target": "sm86",
            "gpu": None, "precision": "fp16", "flags": {}, "build_seconds": 1.0, "layers": {},
            "parity": UNCHECKED,
        }  # fmt: skip
        add_plan(folder, EnginePlan(**{**entry, **changes}), content)
        return manifest

    return make


def patches(count):
    rng = np.random.default_rng(0)
    return [rng.normal(1, 1, PATCH).astype(np.float32) for _ in range(count)]


@contextmanager
def opened(manifest, name="tensorrt-rtx"):
    with open_engine(name, manifest, EngineOptions()) as engine:
        yield engine


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


UNCAPTURABLE = real.cudaError_t.cudaErrorStreamCaptureUnsupported


def not_capturable(machine, monkeypatch):
    """The plan was built without the flag; to capture it all the same would be an error."""
    monkeypatch.setattr(Context, "capturable", False)
    machine.cudaStreamBeginCapture = lambda *_: (UNCAPTURABLE,)


def capture_fails_at_its_end(machine, _):
    def end(stream):
        machine.capturing = None
        return UNCAPTURABLE, None

    machine.cudaStreamEndCapture = end


def tensorrt_has_no_such_question(machine, monkeypatch):
    monkeypatch.delattr(Context, "is_stream_capturable")
    capture_fails_at_its_end(machine, monkeypatch)


@pytest.mark.parametrize(
    "broken", [not_capturable, capture_fails_at_its_end, tensorrt_has_no_such_question]
)
def test_a_plan_that_cannot_be_captured_runs_without_a_graph_and_says_so_once(
    trt, machine, planned, monkeypatch, caplog, broken
):
    broken(machine, monkeypatch)
    with caplog.at_level(logging.WARNING), opened(planned()) as engine:
        for _ in range(2):  # two cases: the GPU is left between them
            given = patches(3)
            for patch, answer in zip(given, infer_many(engine, iter(given)), strict=True):
                np.testing.assert_allclose(answer, worked_out(patch), atol=1e-5)
    assert [message[:40] for message in caplog.messages] == [
        "tensorrt-rtx runs without a CUDA graph, "
    ]


def test_a_plan_that_can_be_captured_is_replayed(trt, machine, planned):
    launched = []
    launch = machine.cudaGraphLaunch
    machine.cudaGraphLaunch = lambda *given: (launched.append(given), launch(*given))[1]
    with opened(planned()) as engine:
        del launched[:]  # those of the patch that tried it
        list(infer_many(engine, iter(patches(3))))
    assert len(launched) == 3


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


def test_auto_takes_the_second_plan_where_the_first_does_not_fit(trt, planned, caplog):
    planned(file="old.plan", engine="tensorrt", gpu="RTX A4000")
    with opened(planned(), "auto") as engine:
        assert engine.description["name"] == "tensorrt-rtx"
    assert [message[:28] for message in caplog.messages] == ["engine tensorrt passed over:"]


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


TENSORS = {"patches": ("in", "f32", PATCH), "logits": ("out", "f32", LOGITS)}


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"third": ("in", "f32", PATCH)}, "does not map one float32 patch to logits, but has"),
        ({"logits": ("in", "f32", LOGITS)}, "does not map one float32 patch to logits"),
        ({"patches": ("in", "f16", PATCH)}, "does not map one float32 patch to logits"),
        ({"patches": ("in", "f32", (1, 1, 4, 5, -1))}, r"patches \[1, 1, 4, 5, -1\], logits"),
        ({"logits": ("out", "f32", (1, 3, 4, 5, 5))}, r"logits \[1, 3, 4, 5, 5\]"),
        (
            {"patches": ("in", "f32", (1, 1, 4, 4, 4)), "logits": ("out", "f32", (1, 3, 4, 4, 4))},
            r"cannot run a patch of shape \(1, 1, 4, 5, 6\): the plan takes \(1, 1, 4, 4, 4\)",
        ),
    ],
)
def test_a_plan_for_other_inputs_and_outputs_is_passed_over(
    trt, planned, monkeypatch, caplog, tensors, reason
):
    monkeypatch.setattr(trt.Engine, "tensors", {**TENSORS, **tensors})
    manifest = planned()
    with pytest.raises(EngineError, match=reason), opened(manifest):
        pass
    with caplog.at_level(logging.WARNING), opened(manifest, "auto") as engine:
        assert engine.description["name"] == "openvino"
    assert [message[:32] for message in caplog.messages] == ["engine tensorrt-rtx passed over:"]


def test_a_plan_with_other_labels_than_the_manifest_is_passed_over(trt, planned, monkeypatch):
    logits = (1, 4, *PATCH[2:])
    monkeypatch.setattr(trt.Engine, "tensors", {**TENSORS, "logits": ("out", "f32", logits)})
    monkeypatch.setattr(Context, "execute_async_v3", lambda self, handle: True)
    reason = r"answers \(1, 4, 4, 5, 6\), the manifest says \(1, 3, 4, 5, 6\)"
    with pytest.raises(EngineError, match=reason), opened(planned()):
        pass


def test_tensors_are_taken_by_what_the_plan_says_of_them_not_by_their_order(trt, planned):
    for tensors in (TENSORS, dict(reversed(TENSORS.items()))):
        trt.Engine.tensors = tensors
        with opened(planned()) as engine:
            np.testing.assert_allclose(
                engine.infer(patches(1)[0]), worked_out(patches(1)[0]), atol=1e-5
            )


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


def refuses(monkeypatch, machine):
    monkeypatch.setattr(Context, "capturable", False)
    monkeypatch.setattr(Context, "execute_async_v3", lambda self, handle: False)


def raises(monkeypatch, machine):
    def gone(self, handle):
        raise RuntimeError("the driver\n  is gone")

    monkeypatch.setattr(Context, "capturable", False)
    monkeypatch.setattr(Context, "execute_async_v3", gone)


def has_no_context(monkeypatch, machine):
    monkeypatch.setattr(Context, "__init__", lambda *_: 1 / 0)


def has_no_memory_left(monkeypatch, machine):
    machine.cudaMalloc = lambda size: (OUT_OF_MEMORY, None)


def cannot_launch(monkeypatch, machine):
    code = real.cudaError_t.cudaErrorLaunchFailure
    machine.cudaGraphLaunch = lambda graph, stream: (code,)


def is_lost(monkeypatch, machine):
    """Every call fails from here on, those that free too."""
    code = real.cudaError_t.cudaErrorIllegalAddress
    machine.cudaEventSynchronize = lambda event: (code,)
    for name in ("cudaFree", "cudaFreeHost", "cudaStreamDestroy", "cudaGraphExecDestroy"):
        works = getattr(machine, name)
        setattr(machine, name, lambda thing, works=works: (works(thing), (code,))[1])


def answers_nan(monkeypatch, machine):
    whole = Context.execute_async_v3

    def execute(self, handle):
        self._network = lambda patch: np.nan * worked_out(patch)
        return whole(self, handle)

    monkeypatch.setattr(Context, "execute_async_v3", execute)


FAULTS = {
    refuses: (0, "tensorrt-rtx cannot run (tiny.plan): it does not say why"),
    raises: (0, "tensorrt-rtx cannot be used here (RuntimeError: the driver is gone)"),
    has_no_context: (0, "tensorrt-rtx cannot be used here (ZeroDivisionError: division by zero)"),
    has_no_memory_left: (0, "CUDA: out of memory (cudaErrorMemoryAllocation)"),
    answers_nan: (0, "the network answers NaN or infinity; try --precision f32"),
    cannot_launch: (3, "CUDA: unspecified launch failure (cudaErrorLaunchFailure)"),
    is_lost: (3, "CUDA: an illegal memory access was encountered (cudaErrorIllegalAddress)"),
}
"""Each with the window of the second case at which it begins (0: as the case reaches the network),
and what is said of it."""


def breaking(fault, monkeypatch, machine):
    """Let a fault begin in the second case."""
    reached = []

    def case(name, windows):
        reached.append(0)
        window(0)

    def window(one=1):
        reached[-1] += one
        if (len(reached), reached[-1]) == (2, FAULTS[fault][0]):
            fault(monkeypatch, machine)

    return Progress(case=case, window=window)


@pytest.mark.parametrize("limits", [{}, {"time_limit_s": 1e4}], ids=["free", "limited"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_gpu_that_fails_in_a_case_leaves_it_and_the_others_to_the_cpu(
    trt, machine, planned, three_cases, tmp_path, monkeypatch, caplog, fault, limits
):
    cases, labels = three_cases
    progress = breaking(fault, monkeypatch, machine)
    with caplog.at_level(logging.WARNING):
        settings = Settings(threads=1, **limits)
        report = predict_folder(cases, tmp_path / "out", planned(), settings, progress)
    assert report.engine["name"] == "tensorrt-rtx"
    reason = f"({FAULTS[fault][1]}); openvino "
    check_the_cpu_went_on(report, "tensorrt-rtx", reason, tmp_path / "out", labels)


def test_a_case_that_cannot_be_captured_any_more_runs_without_a_graph(
    trt, machine, planned, three_cases, tmp_path, monkeypatch, caplog
):
    cases, labels = three_cases
    begun = []

    def case(name, windows):
        begun.append(name)
        if len(begun) == 2:
            capture_fails_at_its_end(machine, monkeypatch)

    with caplog.at_level(logging.WARNING):
        settings, out = Settings(threads=1), tmp_path / "out"
        report = predict_folder(cases, out, planned(), settings, Progress(case=case))
    assert [case.engine for case in report.cases] == ["tensorrt-rtx"] * 3
    (message,) = caplog.messages
    assert message.startswith("tensorrt-rtx runs without a CUDA graph, a little slower: ")
    check_maps(out, labels)


def test_an_engine_that_was_chosen_by_name_is_not_exchanged(
    trt, machine, planned, three_cases, tmp_path, monkeypatch
):
    progress = breaking(cannot_launch, monkeypatch, machine)
    settings = Settings(engine="tensorrt-rtx")
    report = predict_folder(three_cases[0], tmp_path / "out", planned(), settings, progress)
    assert [case.status for case in report.cases] == ["done", "failed", "failed"]
    assert report.cases[1].error == FAULTS[cannot_launch][1]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (worked_out, None),
        (lambda patch: 0 * worked_out(patch), "answers background where float32 has organs"),
        (lambda patch: np.nan * patch, "answers NaN or infinity"),
        (lambda patch: worked_out(patch + 0.1), "relative RMS"),
    ],
    ids=["good", "background", "nan", "off"],
)
def test_a_plan_for_the_gpu_that_is_here_is_published_only_if_it_is_the_network(
    machine, network, boxes, write_ct, tmp_path, monkeypatch, answer, complaint
):
    rtx = pytest.importorskip("tensorrt_rtx_bindings")
    replaced = ("Runtime", "ExecutionContextAllocationStrategy", "TensorIOMode", "DataType")
    made = {name: getattr(runtime(machine, answer), name) for name in replaced}
    module = SimpleNamespace(**{**vars(rtx), **made})
    monkeypatch.setattr("inference.builders.tensorrt_build.runtime_module", lambda name: module)
    manifest, case = network(), write_ct(tmp_path / "boxes_0000.nii.gz", boxes[0])
    folder = plan_folder(manifest)
    request = Request(manifest, "tensorrt-rtx", ("sm75", "sm86"), folder, parity_case=case)
    if complaint is None:
        build_plans(request, lambda plan: None)
    else:
        with pytest.raises(EngineError, match=complaint):
            build_plans(request, lambda plan: None)
    found = {plan.target: plan.parity for plan in plans_of(manifest)}
    assert found.pop("sm75") == "not checked: the GPU here is sm86"
    if complaint is None:
        assert (found["sm86"]["label_agreement"], found["sm86"]["gpu"]) == (1.0, CARD)
        assert [path.read_bytes() for path in folder.glob("*sm86*-RTX_A6000.cache")] == [b"kernels"]
    else:
        assert found == {}
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
