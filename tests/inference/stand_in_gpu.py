"""A machine made of host memory: what CUDA and TensorRT-RTX look like to the engine.

It does nothing before it is waited for, as a GPU may: an answer that is read too early, or a patch
that is overwritten too early, gives wrong logits. It counts what is not given back.
"""

# ruff: noqa: N802 (CUDA's own names)
import ctypes
from contextlib import contextmanager
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
from cuda.bindings import runtime as real

from inference.engines import EngineOptions, open_engine, plan_folder
from inference.engines.tensorrt_index import UNCHECKED, EnginePlan, add_plan
from tests.inference.tiny_logits import PATCH, worked_out

LOGITS = (1, 3, *PATCH[2:])
OK = real.cudaError_t.cudaSuccess
OUT_OF_MEMORY = real.cudaError_t.cudaErrorMemoryAllocation
CARD = "RTX A6000"
VERSION = "1.7"
SCRATCH = 1 << 20


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


def write_plan(manifest, content=b"a plan", **changes):
    """Write a plan of the manifest's network, for the card of `Machine` but for the changes."""
    folder = plan_folder(manifest)
    folder.mkdir(exist_ok=True)
    entry = {
        "file": "tiny.plan", "sha256": "", "bytes": 0, "engine": "tensorrt-rtx",
        "onnx_sha256": manifest.files["onnx"].sha256, "version": VERSION, "target": "sm86",
        "gpu": None, "precision": "fp16", "flags": {}, "build_seconds": 1.0, "layers": {},
        "parity": UNCHECKED,
    }  # fmt: skip
    add_plan(folder, EnginePlan(**{**entry, **changes}), content)


@contextmanager
def opened(manifest, name="tensorrt-rtx"):
    with open_engine(name, manifest, EngineOptions()) as engine:
        yield engine
