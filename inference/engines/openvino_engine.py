"""OpenVINO: the embedded CPU default."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from inference.engines import EngineOptions, one_line
from inference.errors import EngineError
from inference.manifest import Manifest


class OpenVINOEngine:
    """One compiled network on the CPU."""

    def __init__(self, model: ov.CompiledModel, description: dict[str, str | int]) -> None:
        self._request = model.create_infer_request()
        self.description = description

    def infer(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map float32 [N, 1, Z, Y, X] to float32 logits [N, K, Z, Y, X]."""
        try:
            results = self._request.infer({0: patches}, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            told = f"OpenVINO cannot run a patch of shape {patches.shape}: {one_line(error)}"
            raise EngineError(told) from error
        logits: NDArray[np.float32] = results[0]
        return logits


def chosen_precision(asked: str, capabilities: list[str], cpu_flags: set[str]) -> str:
    """Return "bf16" or "f32" for what was asked ("auto", "bf16", "f32").

    "auto" takes bfloat16 where the CPU has instructions for it (AMX, or AVX-512 BF16: half the time
    of float32); elsewhere it is emulated, four times slower than float32.

    Raises:
        EngineError: bf16 was asked of a CPU that has no such instructions.
    """
    native = "BF16" in capabilities and bool(cpu_flags & {"amx_bf16", "avx512_bf16"})
    if asked == "bf16" and not native:
        raise EngineError("bf16 was asked for, this CPU has none; use --precision f32 or auto")
    if asked == "auto":
        return "bf16" if native else "f32"
    return asked


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    line = next((row for row in text.splitlines() if row.startswith("flags")), "")
    return set(line.split())


@contextmanager
def load(manifest: Manifest, options: EngineOptions) -> Iterator[OpenVINOEngine]:
    """Compile the manifest's ONNX network with threads and precision pinned."""
    core = ov.Core()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    precision = chosen_precision(options.precision, capabilities, _cpu_flags())
    threads = options.pinned_threads
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # off: it would quantize activations to int8
    }
    path = manifest.weights("onnx")
    try:
        model = core.compile_model(str(path), "CPU", settings)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot compile {path.name}: {one_line(error)}") from error
    engine = OpenVINOEngine(
        model,
        {
            "name": "openvino",
            "version": ov.__version__,
            "device": core.get_property("CPU", "FULL_DEVICE_NAME"),
            "precision": precision,
            "threads": threads,
        },
    )
    try:
        yield engine
    finally:
        del engine, model
