"""OpenVINO: the embedded CPU default."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import cast

# Its import tells its maker so and keeps an id in the home folder, unless this is not there.
sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from inference.engines import EngineOptions, one_line
from inference.errors import EngineError
from inference.manifest import INT8, Manifest


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


_INSTRUCTIONS = {
    "int8": {"amx_int8", "avx512_vnni", "avx_vnni"},
    "bf16": {"amx_bf16", "avx512_bf16"},
}
"""What a CPU must have, by precision; elsewhere it is emulated, slower than float32."""


def chosen_precision(
    asked: str, capabilities: list[str], cpu_flags: set[str], has_int8: bool
) -> str:
    """Return "int8", "bf16" or "f32" for what was asked ("auto" or one of them).

    "auto" takes the first for which the CPU has instructions, and the manifest weights; but bf16
    where the CPU multiplies matrices of it (AMX): there it is as fast as int8, and nearer to f32
    (docs/speed.md, "Precision").

    Raises:
        EngineError: The CPU has no instructions for what was asked, or the manifest no weights.
    """
    can = {
        name: name.upper() in capabilities and bool(cpu_flags & flags)
        for name, flags in _INSTRUCTIONS.items()
    }
    if asked == "int8" and not has_int8:
        raise EngineError(
            "int8 was asked for, the manifest has no such weights; make them with "
            "`python -m train quantize`, or use --precision auto"
        )
    if not can.get(asked, True):
        raise EngineError(f"{asked} was asked for, this CPU has none; use --precision f32 or auto")
    if asked != "auto":
        return asked
    if can["int8"] and has_int8 and not (can["bf16"] and "amx_bf16" in cpu_flags):
        return "int8"
    return "bf16" if can["bf16"] else "f32"


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
    has_int8 = manifest.files.keys() >= {*INT8}
    precision = chosen_precision(options.precision, capabilities, _cpu_flags(), has_int8)
    threads = options.pinned_threads
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # off: it would quantize activations to int8
    }
    paths = [manifest.weights(kind) for kind in (INT8 if precision == "int8" else ("onnx",))]
    path = paths[0]
    try:
        model = core.compile_model(core.read_model(*map(str, paths)), "CPU", settings)
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
