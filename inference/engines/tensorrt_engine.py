"""TensorRT and TensorRT-RTX on an NVIDIA GPU: one class, because they share their interface.

Plans are found in `plans/` beside the manifest's ONNX file (`inference.engines.tensorrt_index`).
The execution context and the buffers take most GPU memory. They are allocated with the first patch
and freed with the last, for the challenge sums GPU memory over time.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from imaging.errors import EngineError
from inference.engines import Array, EngineOptions, failing_in_one_line, plan_folder
from inference.engines.cuda import (
    Gpu,
    Memory,
    Stream,
    nbytes,
    present_gpu,
    refuse_too_little,
    use_gpu,
)
from inference.engines.kernel_cache import KernelCache
from inference.engines.tensorrt_index import EnginePlan, fitting, plans_of, read_plan
from inference.engines.tensorrt_runtime import complaint, listener, patch_tensors, runtime_module
from inference.manifest import Manifest

_SLOTS = 2
"""Patches under way: one computes on the GPU while the last one's logits are used."""
_log = logging.getLogger(__name__)


class TensorRTEngine:
    """One plan on one GPU."""

    def __init__(
        self, trt: Any, plan: EnginePlan, folder: Path, gpu: Gpu, *, keep_kernels: bool = False
    ) -> None:
        """Load the plan's weights to the GPU.

        Args:
            trt: The plan's runtime.
            plan: The plan.
            folder: Where the plan is.
            gpu: The GPU that it is for.
            keep_kernels: Write the kernels that TensorRT-RTX compiles beside the plan. A prediction
                does not: it writes nothing but outputs.

        Raises:
            EngineError: The plan is damaged, is for other inputs and outputs than a patch and its
                logits, the runtime refuses it, or the GPU has too little memory for it.
        """
        self._plan, self._gpu = plan, gpu
        self._running: _Running | None = None
        self._is_eager = False
        self._pinned = Memory()
        self._listener = listener(trt)
        self._runtime = trt.Runtime(self._listener)
        self._kernels = KernelCache(trt, folder, plan, gpu.name)
        self._keep_kernels = keep_kernels
        try:
            content = read_plan(folder, plan)
            loaded = self._runtime.deserialize_cuda_engine(content)
            self._engine = self._made("load the plan", loaded)
            self._shapes = patch_tensors(trt, self._engine, plan.file)
            shapes = self._shapes.values()
            refuse_too_little(self._engine.device_memory_size_v2 + sum(map(nbytes, shapes)))
            self._slots = [[self._pinned.pinned(s) for s in shapes] for _ in range(_SLOTS)]
        except BaseException:
            self.close()
            raise
        self.description: dict[str, str | int] = {
            "name": plan.engine,
            "version": plan.version,
            "device": gpu.name,
            "precision": plan.precision,
            "plan": plan.sha256,
            "threads": 0,
        }

    def infer(self, patches: Array) -> Array:
        """Map float32 [1, 1, Z, Y, X] to float32 logits [1, K, Z, Y, X]."""
        return self._submit(0, patches)()

    def infer_many(self, patches: Iterable[Array]) -> Iterator[Array]:
        """Map each patch as `infer` does, the next one already queued when one is yielded.

        All GPU memory but that of the weights is freed before the last logits are yielded.
        """
        waiting: Callable[[], Array] | None = None
        try:
            for number, patch in enumerate(patches):
                queued = self._submit(number % _SLOTS, patch)
                if waiting is not None:
                    yield waiting()
                waiting = queued
            if waiting is not None:
                last = waiting()
                self.release()
                yield last
        finally:
            self.release()

    def release(self) -> None:
        """Free what the GPU needs only while patches are under way."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def close(self) -> None:
        """Free everything; earlier logits must not be used any more."""
        self.release()
        self._pinned.close()
        self._engine = self._runtime = None

    def _submit(self, slot: int, patch: Array) -> Callable[[], Array]:
        """Queue a patch; return a function that waits for its logits, valid until `slot`'s next."""
        given, answer = self._slots[slot]
        if patch.shape != given.shape:
            raise EngineError(
                f"{self._plan.engine} cannot run a patch of shape {patch.shape}: the plan takes "
                f"{given.shape}"
            )
        with failing_in_one_line(self._plan.engine):
            if self._running is None:
                self._running = self._started()
                if self._keep_kernels:
                    self._kernels.keep()
            np.copyto(given, patch)
            return self._running.submit(given, answer)

    def _started(self) -> "_Running":
        """Allocate what patches need on the GPU; warn once if there can be no graph."""
        use_gpu(self._gpu.number)  # of this thread, which may be another than the first patch's
        context = self._made("make a context", self._kernels.context(self._engine))
        scratch = self._engine.device_memory_size_v2
        running = _Running(context, scratch, self._shapes, self._refuse)
        if running.uncaptured and not self._is_eager:
            self._is_eager = True
            name, why = self._plan.engine, running.uncaptured
            _log.warning("%s runs without a CUDA graph, a little slower: %s", name, why)
        return running

    def _made(self, what: str, found: Any) -> Any:
        if found is None:
            self._refuse(what)
        return found

    def _refuse(self, what: str) -> None:
        message = complaint(self._listener.errors)
        raise EngineError(f"{self._plan.engine} cannot {what} ({self._plan.file}): {message}")


class _Running:
    """The state on the GPU while patches are under way: context, memory, a CUDA graph.

    `uncaptured` says why there is no graph; "" where there is one.
    """

    def __init__(
        self,
        context: Any,
        scratch: int,
        shapes: dict[str, tuple[int, ...]],
        refuse: Callable[[str], None],
    ) -> None:
        self._context = context
        self._refuse = refuse
        self._stream = Stream()
        self._memory = Memory()
        try:
            if scratch:
                context.set_device_memory(self._memory.on_gpu(scratch), scratch)
            places = [self._memory.on_gpu(nbytes(shape)) for shape in shapes.values()]
            self._given, self._answer = places
            for name, address in zip(shapes, places, strict=True):
                context.set_tensor_address(name, address)
            self._execute()  # can be captured after one run
            self.uncaptured = self._captured()
        except BaseException:
            self.close()
            raise

    def _captured(self) -> str:
        """Record a patch's launches as a graph if possible; return why not, or ""."""
        # TensorRT does not have this call: its contexts of static shapes can be captured.
        allowed = getattr(self._context, "is_stream_capturable", lambda stream: True)
        if not allowed(self._stream.handle):
            return "the plan allows none; build it again"
        try:
            self._stream.capture(self._execute)
        except EngineError as error:
            return str(error)
        return ""

    def submit(self, given: Array, answer: Array) -> Callable[[], Array]:
        """Queue a pinned patch and the copy of its logits; return a function that waits."""
        self._stream.upload(self._given, given)
        if self.uncaptured:
            self._execute()
        else:
            self._stream.replay()
        self._stream.download(answer, self._answer)
        event = self._stream.event()

        def wait() -> Array:
            self._stream.wait(event)
            return answer

        return wait

    def close(self) -> None:
        """Wait for what is queued, then free everything."""
        self._stream.close()
        self._context = None
        self._memory.close()

    def _execute(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle):
            self._refuse("run")


@contextmanager
def _loaded(name: str, manifest: Manifest, options: EngineOptions) -> Iterator[TensorRTEngine]:
    if options.precision != "auto":
        raise EngineError(f"{name} plans are float16; use --precision auto, or another engine")
    gpu = present_gpu(options.device)
    trt = runtime_module(name)
    plan = fitting(plans_of(manifest, name), name, trt.__version__, gpu.target, gpu.name)
    with closing(TensorRTEngine(trt, plan, plan_folder(manifest), gpu)) as engine:
        yield engine


load_tensorrt, load_tensorrt_rtx = partial(_loaded, "tensorrt"), partial(_loaded, "tensorrt-rtx")
"""Each opens the plan of its runtime that fits the GPU, with a manifest and `EngineOptions`."""
