"""The kernels that TensorRT-RTX compiles for a GPU, kept beside the plan."""

import logging
from pathlib import Path
from typing import Any

from imaging.errors import KitError
from imaging.files import replacing
from inference.engines.tensorrt_index import EnginePlan

_log = logging.getLogger(__name__)


class KernelCache:
    """The kernels that TensorRT-RTX compiles for this GPU when a plan is first used on it."""

    def __init__(self, trt: Any, folder: Path, plan: EnginePlan, gpu: str) -> None:
        self._strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        card = "".join(letter if letter.isalnum() else "_" for letter in gpu)
        self._path = folder / f"{Path(plan.file).stem}-{card}.cache"
        self._used = plan.engine == "tensorrt-rtx"  # TensorRT compiles when it builds
        self._cache: Any = None
        self._known = b""

    def context(self, engine: Any) -> Any:
        """Return an execution context without memory; with TensorRT-RTX, it uses the cache.

        The kit allocates the memory (`set_device_memory`), as capturing a graph requires.
        """
        if not self._used:
            return engine.create_execution_context(self._strategy)
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(self._strategy)
        if self._cache is None:
            self._cache = config.create_runtime_cache()
            if self._path.is_file():
                self._known = self._path.read_bytes()
                self._cache.deserialize(self._known)  # ignores a cache that does not fit
        config.set_runtime_cache(self._cache)
        return engine.create_execution_context(config)

    def keep(self) -> None:
        """Write the cache beside the plan if it has changed and the folder is writable."""
        if self._cache is None:
            return
        content = bytes(self._cache.serialize())
        if content == self._known:
            return
        self._known = content
        try:
            with replacing(self._path) as partial:
                partial.write_bytes(content)
        except KitError as error:
            _log.info("compiled kernels are not kept: %s", error)
