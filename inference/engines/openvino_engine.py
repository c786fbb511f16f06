"""OpenVINO: the embedded CPU default."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from imaging.errors import EngineError
from imaging.machine import cpu_flags
from inference.engines import EngineOptions, one_line
from inference.manifest import INT8, Manifest, checked_weights

# The whole package sends telemetry and keeps an id in the home folder, if it can import this.
sys.modules.setdefault("openvino_telemetry", cast(ModuleType, None))


def _runtime() -> Any:
    """Return OpenVINO's compiled module, without the rest of its package.

    That is a fifth of the import's time: the rest defines every operation of every version, and
    converts models.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    if "openvino" not in sys.modules:
        spec = PathFinder.find_spec("openvino")
        if spec is None:
            raise ModuleNotFoundError("No module named 'openvino'", name="openvino")
        sys.modules["openvino"] = module_from_spec(spec)  # an empty one, only for this import
        try:
            from openvino import _pyopenvino
        finally:
            del sys.modules["openvino"]  # whoever imports it later gets the whole package
    else:
        from openvino import _pyopenvino
    return _pyopenvino


ov = _runtime()


class OpenVINOEngine:
    """One compiled network on the CPU."""

    def __init__(self, model: Any, description: dict[str, str | int]) -> None:
        self._request = model.create_infer_request()
        self.description = description

    def infer(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map float32 [N, 1, Z, Y, X] to float32 logits [N, K, Z, Y, X], until the next call."""
        try:
            self._request.set_input_tensor(ov.Tensor(patches, shared_memory=True))
            self._request.start_async({}, None)
            self._request.wait()
        except RuntimeError as error:
            message = f"OpenVINO cannot run a patch of shape {patches.shape}: {one_line(error)}"
            raise EngineError(message) from error
        logits: NDArray[np.float32] = self._request.get_output_tensor(0).data
        return logits


_INSTRUCTIONS = {
    "int8": {"amx_int8", "avx512_vnni", "avx_vnni"},
    "bf16": {"amx_bf16", "avx512_bf16"},
}
"""What a CPU must have, by precision; elsewhere it is emulated, slower than float32."""


def chosen_precision(
    requested: str, capabilities: list[str], flags: set[str], has_int8: bool
) -> str:
    """Return "int8", "bf16" or "f32" for the requested precision ("auto" or one of them).

    "auto" takes the first for which the CPU has instructions and the manifest weights. But with
    matrix instructions for bf16 (AMX) it takes bf16, then as fast as int8 and closer to f32
    (docs/speed.md, "Precision").

    Raises:
        EngineError: The CPU lacks instructions for the requested precision, or the manifest lacks
            its weights.
    """
    can = {name: _can(name, capabilities, flags) for name in _INSTRUCTIONS}
    if requested == "int8" and not has_int8:
        raise EngineError(
            "int8 was requested, but the manifest has no such weights; make them with "
            "`python -m train quantize`, or use --precision auto"
        )
    if not can.get(requested, True):
        raise EngineError(
            f"{requested} was requested, but this CPU has none; use --precision f32 or auto"
        )
    if requested != "auto":
        return requested
    if can["int8"] and has_int8 and not (can["bf16"] and "amx_bf16" in flags):
        return "int8"
    return "bf16" if can["bf16"] else "f32"


def _can(precision: str, capabilities: list[str], flags: set[str]) -> bool:
    return precision.upper() in capabilities and bool(flags & _INSTRUCTIONS[precision])


def beside_int8(capabilities: list[str], flags: set[str]) -> str:
    """Return the precision of what an int8 network does not compute with integers.

    Norms and what lies between two convolutions are half as much memory in bfloat16. Where there
    are matrix instructions for it, a window takes a fifth less time than with float32 there.
    """
    return "bf16" if _can("bf16", capabilities, flags) and "amx_bf16" in flags else "f32"


@contextmanager
def load(manifest: Manifest, options: EngineOptions) -> Iterator[OpenVINOEngine]:
    """Compile the manifest's ONNX network with threads and precision pinned."""
    core = ov.Core()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    has_int8 = manifest.files.keys() >= {*INT8}
    flags = cpu_flags()
    precision = chosen_precision(options.precision, capabilities, flags, has_int8)
    rest = beside_int8(capabilities, flags) if precision == "int8" else precision
    threads = options.pinned_threads
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",  # a second has buffers of its own, and saves no time
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": rest,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # off: it would quantize activations to int8
    }
    paths = [checked_weights(manifest, k) for k in (INT8 if precision == "int8" else ("onnx",))]
    path = paths[0]
    try:
        model = core.compile_model(core.read_model(*map(str, paths)), "CPU", settings)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot compile {path.name}: {one_line(error)}") from error
    engine = OpenVINOEngine(
        model,
        {
            "name": "openvino",
            "version": ov.get_version(),
            "device": core.get_property("CPU", "FULL_DEVICE_NAME"),
            "precision": precision,
            "threads": threads,
        },
    )
    try:
        yield engine
    finally:
        del engine, model
