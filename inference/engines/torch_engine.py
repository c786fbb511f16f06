"""An exported PyTorch program: the reference for the other engines."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from imaging.errors import EngineError
from inference.engines import EngineOptions, one_line
from inference.manifest import Manifest


class TorchEngine:
    """An exported program on one device."""

    def __init__(self, module: torch.nn.Module, device: torch.device, threads: int) -> None:
        self._module = module
        self._device = device
        self.description: dict[str, str | int] = {
            "name": "torch",
            "version": torch.__version__,
            "device": str(device),
            "precision": "f32",
            "threads": threads,
        }

    def infer(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map float32 [N, 1, Z, Y, X] to float32 logits [N, K, Z, Y, X]."""
        try:
            with torch.inference_mode():
                logits = self._module(torch.from_numpy(patches).to(self._device))
        except (RuntimeError, AssertionError) as error:  # an exported program asserts its shapes
            message = f"torch cannot run a patch of shape {patches.shape}: {one_line(error)}"
            raise EngineError(message) from error
        result: NDArray[np.float32] = logits.float().cpu().numpy()
        return result


@contextmanager
def load(manifest: Manifest, options: EngineOptions) -> Iterator[TorchEngine]:
    """Open the manifest's "torch" program on the GPU if there is one."""
    if options.precision in ("bf16", "int8"):
        raise EngineError("the torch engine is the float32 reference; use --precision f32 or auto")
    path = manifest.weights("torch")
    if not zipfile.is_zipfile(path):
        raise EngineError(f"torch cannot load {path.name}: it is no exported program (.pt2)")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(options.pinned_threads)
    try:
        try:
            module = torch.export.load(path).module().to(device)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"torch cannot load {path.name}: {one_line(error)}") from error
        yield TorchEngine(module, device, options.pinned_threads)
    finally:
        torch.set_num_threads(before)
        if device.type == "cuda":
            torch.cuda.empty_cache()
