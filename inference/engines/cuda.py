"""CUDA for the TensorRT engine: the GPU, memory of GPU and host, one stream, a graph."""

import ctypes
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from cuda.bindings import runtime as cudart
from numpy.typing import NDArray

from imaging.errors import EngineError
from inference.engines import too_few_gpus


@dataclass(frozen=True)
class Gpu:
    """A GPU, by what a plan depends on."""

    name: str
    target: str
    """Compute capability: "sm86" is 8.6."""
    number: int = 0
    """Counted among those that CUDA_VISIBLE_DEVICES leaves."""


def checked(answer: tuple[Any, ...]) -> Any:
    """Return the results of a CUDA function without its error code.

    Raises:
        EngineError: The code is not success.
    """
    code, *found = answer
    if code != cudart.cudaError_t.cudaSuccess:
        _, text = cudart.cudaGetErrorString(code)
        raise EngineError(f"CUDA: {text.decode()} ({code.name})")
    return found[0] if len(found) == 1 else found or None


def present_gpu(number: int = 0) -> Gpu:
    """Return a GPU that this process may use, and use it in this thread.

    Raises:
        EngineError: No driver, one older than the runtime, no GPU, or not as many.
    """
    known, needed = (
        checked(ask()) for ask in (cudart.cudaDriverGetVersion, cudart.cudaRuntimeGetVersion)
    )
    if not known:
        raise EngineError("no NVIDIA driver; start the container with --gpus, or use a CPU engine")
    if known // 1000 < needed // 1000:
        have, want = known // 1000, needed // 1000
        raise EngineError(f"the NVIDIA driver is for CUDA {have}, this needs {want}; update it")
    count = checked(cudart.cudaGetDeviceCount())
    if number >= count:
        raise EngineError(too_few_gpus(number, count))
    use_gpu(number)
    found = checked(cudart.cudaGetDeviceProperties(number))
    return Gpu(found.name.decode().rstrip("\0"), f"sm{found.major}{found.minor}", number)


def use_gpu(number: int) -> None:
    """Let what this thread asks of CUDA from now on be of the GPU with this number.

    Raises:
        EngineError: It cannot be used.
    """
    checked(cudart.cudaSetDevice(number))


class Memory(ExitStack):
    """Memory of the GPU, and pinned memory of the host; `close` frees all of it, its arrays too."""

    def on_gpu(self, size: int) -> int:
        """Return the address of `size` bytes.

        Raises:
            EngineError: There are not enough.
        """
        address = checked(cudart.cudaMalloc(size))
        self.callback(cudart.cudaFree, address)
        return int(address)

    def pinned(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return a float32 array in pinned memory, which the GPU copies from and to directly.

        Raises:
            EngineError: There is not enough.
        """
        address = checked(cudart.cudaMallocHost(nbytes(shape)))
        self.callback(cudart.cudaFreeHost, address)
        flat = (ctypes.c_float * math.prod(shape)).from_address(int(address))
        return np.ctypeslib.as_array(flat).reshape(shape)


def nbytes(shape: tuple[int, ...]) -> int:
    """Return the size of a float32 array of `shape`."""
    return math.prod(shape) * np.dtype(np.float32).itemsize


def refuse_too_little(needed: int) -> None:
    """Check that `needed` bytes are free on the GPU.

    Raises:
        EngineError: Fewer are free.
    """
    free, total = checked(cudart.cudaMemGetInfo())
    if needed > free:
        raise EngineError(
            f"{needed >> 20:,} MiB of GPU memory are needed, {free >> 20:,} of {total >> 20:,} are "
            "free; end what else uses it"
        )


class Stream:
    """One non-default stream; everything on it happens in the order of the calls."""

    def __init__(self) -> None:
        self._stream = checked(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking))
        self._graph: Any = None
        self._marks: list[Any] = []

    @property
    def handle(self) -> int:
        """The stream's address, for the runtimes."""
        return int(self._stream)

    def upload(self, address: int, array: NDArray[np.float32]) -> None:
        """Queue a copy of a pinned array to the GPU."""
        self._copy(address, array.ctypes.data, array.nbytes, "cudaMemcpyHostToDevice")

    def download(self, array: NDArray[np.float32], address: int) -> None:
        """Queue a copy from the GPU into a pinned array."""
        self._copy(array.ctypes.data, address, array.nbytes, "cudaMemcpyDeviceToHost")

    def _copy(self, target: int, source: int, size: int, way: str) -> None:
        kind = getattr(cudart.cudaMemcpyKind, way)
        checked(cudart.cudaMemcpyAsync(target, source, size, kind, self._stream))

    def event(self) -> Any:
        """Return a mark in the stream, for `wait`."""
        event = checked(cudart.cudaEventCreateWithFlags(cudart.cudaEventDisableTiming))
        self._marks.append(event)
        checked(cudart.cudaEventRecord(event, self._stream))
        return event

    def wait(self, event: Any) -> None:
        """Wait until everything before the mark is done; the mark is used up."""
        checked(cudart.cudaEventSynchronize(event))
        self._marks.remove(event)
        cudart.cudaEventDestroy(event)

    def capture(self, queue: Callable[[], None]) -> None:
        """Record what `queue` puts on the stream as a graph, for `replay`; nothing runs yet.

        Raises:
            EngineError: Something on it cannot be captured; there is no graph then.
        """
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(cudart.cudaStreamBeginCapture(self._stream, mode))
        try:
            queue()
        finally:
            code, graph = cudart.cudaStreamEndCapture(self._stream)
        checked((code,))
        try:
            self._graph = checked(cudart.cudaGraphInstantiate(graph, 0))
        finally:
            cudart.cudaGraphDestroy(graph)

    def replay(self) -> None:
        """Queue the graph."""
        checked(cudart.cudaGraphLaunch(self._graph, self._stream))

    def close(self) -> None:
        """Wait for what is queued, then end the stream."""
        cudart.cudaStreamSynchronize(self._stream)
        for mark in self._marks:
            cudart.cudaEventDestroy(mark)
        if self._graph is not None:
            cudart.cudaGraphExecDestroy(self._graph)
        cudart.cudaStreamDestroy(self._stream)
