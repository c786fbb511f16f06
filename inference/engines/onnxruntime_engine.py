"""ONNX Runtime on the CPU: the portable fallback."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from imaging.errors import EngineError
from inference.engines import EngineOptions, one_line
from inference.manifest import Manifest, checked_weights

_ERRORS = (  # they share no base but Exception
    RuntimeError,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class OnnxRuntimeEngine:
    """One session on the CPU."""

    def __init__(self, session: ort.InferenceSession, threads: int) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self.description: dict[str, str | int] = {
            "name": "onnxruntime",
            "version": ort.__version__,
            "device": "CPU",
            "precision": "f32",
            "threads": threads,
        }

    def infer(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map float32 [N, 1, Z, Y, X] to float32 logits [N, K, Z, Y, X]."""
        try:
            logits: NDArray[np.float32] = self._session.run(None, {self._input: patches})[0]
        except _ERRORS as error:
            message = f"ONNX Runtime cannot run a patch of shape {patches.shape}: {one_line(error)}"
            raise EngineError(message) from error
        return logits


@contextmanager
def load(manifest: Manifest, options: EngineOptions) -> Iterator[OnnxRuntimeEngine]:
    """Open the manifest's ONNX network."""
    if options.precision in ("bf16", "int8"):
        raise EngineError("ONNX Runtime runs float32 on a CPU; use --precision f32 or auto")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.pinned_threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    path = checked_weights(manifest, "onnx")
    try:
        session = ort.InferenceSession(str(path), settings, ["CPUExecutionProvider"])
    except _ERRORS as error:
        raise EngineError(f"ONNX Runtime cannot load {path.name}: {one_line(error)}") from error
    yield OnnxRuntimeEngine(session, options.pinned_threads)
