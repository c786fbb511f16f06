"""Pick an engine by name; import its runtime only then."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from imaging.errors import EngineError
from imaging.extras import how_to_install
from inference.manifest import Manifest

Precision = Literal["auto", "f32", "bf16", "int8"]
_log = logging.getLogger(__name__)

_LOADERS = {
    "openvino": "inference.engines.openvino_engine:load",
    "onnxruntime": "inference.engines.onnxruntime_engine:load",
    "tensorrt": "inference.engines.tensorrt_engine:load_tensorrt",
    "tensorrt-rtx": "inference.engines.tensorrt_engine:load_tensorrt_rtx",
    "torch": "inference.engines.torch_engine:load",
}
_EXTRAS = {"openvino": "", "torch": "train"}
"""The optional dependency that has an engine's runtime, if its name is not the engine's."""
PLANNED = ("tensorrt", "tensorrt-rtx")
"""Engines that run a plan built for the GPU; "auto" tries them first if there is one."""
AUTO = ("openvino", "onnxruntime")
"""Order in which "auto" tries the others."""
_NVIDIA = Path("/dev/nvidiactl")
"""This file exists if there is a GPU, also in a container."""


@dataclass(frozen=True)
class EngineOptions:
    """How an engine runs: pinned, because both change the last bits of the logits."""

    threads: int = 0
    """0 takes every core this process may use."""
    precision: Precision = "auto"

    @property
    def pinned_threads(self) -> int:
        """Number of threads that the engine uses."""
        return self.threads or len(os.sched_getaffinity(0))


def weights_of(name: str, manifest: Manifest) -> list[str]:
    """Return the kinds of the manifest's files that the engine called `name` may open."""
    if name in PLANNED:
        return []  # a plan's digest is in its own index
    return ["torch"] if name == "torch" else [kind for kind in manifest.files if kind != "torch"]


def plan_folder(manifest: Manifest) -> Path:
    """Return the folder of the plans of the manifest's network."""
    return manifest.weights("onnx").parent / "plans"


class Engine(Protocol):
    """A loaded network: one call in, logits out."""

    description: dict[str, str | int]
    """name, version, device, precision, threads: as run.json has them."""

    def infer(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map float32 [N, 1, Z, Y, X] to float32 logits [N, K, Z, Y, X].

        The result may be overwritten by the next call.

        Raises:
            EngineError: The runtime refuses the patches, for their shape say.
        """
        ...


def infer_many(
    engine: Engine, patches: Iterable[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    """Map each patch as `engine.infer` does; an engine with an `infer_many` may compute ahead.

    A result is valid until the next one is requested. An engine that holds device memory while it
    gets patches frees it after the last.
    """
    ahead = getattr(engine, "infer_many", None)
    return map(engine.infer, patches) if ahead is None else ahead(patches)


def one_line(error: BaseException) -> str:
    """Return an error's message in one line: line breaks and indents become single spaces."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def open_engine(name: str, manifest: Manifest, options: EngineOptions) -> Iterator[Engine]:
    """Load the manifest's network with the engine called `name`, or the first that "auto" finds.

    An engine that runs a plan is tried with a patch first. If its GPU or its runtime fails, "auto"
    can still take another engine.

    Raises:
        EngineError: No such engine, its runtime is not installed, or it cannot do the precision or
            run the plan.
    """
    with ExitStack() as stack:
        yield _first_that_opens(stack, name, manifest, options)


def _first_that_opens(
    stack: ExitStack, name: str, manifest: Manifest, options: EngineOptions
) -> Engine:
    if name != "auto":
        return _opened(stack, name, manifest, options)
    reasons = []
    for candidate in (*_gpu_engines(manifest), *AUTO):
        try:
            return _opened(stack, candidate, manifest, options)
        except EngineError as error:
            reasons.append(str(error))
            _log.warning("engine %s passed over: %s", candidate, error)
    raise EngineError("no engine can run here: " + "; ".join(reasons))


def _opened(stack: ExitStack, name: str, manifest: Manifest, options: EngineOptions) -> Engine:
    """Open an engine until `stack` ends; an engine that runs a plan is tried with a patch first."""
    if name not in PLANNED:
        return stack.enter_context(_open(name, manifest, options))
    try:
        with ExitStack() as trial:
            engine = trial.enter_context(_open(name, manifest, options))
            _warm_up(engine, manifest)
            stack.enter_context(trial.pop_all())
    except EngineError:
        raise
    except Exception as error:  # for instance another version of its runtime
        message = f"{name} cannot be used here ({type(error).__name__}: {one_line(error)})"
        raise EngineError(message) from error
    return engine


def _warm_up(engine: Engine, manifest: Manifest) -> None:
    """Run one patch, and free what the engine holds only while it gets patches.

    Raises:
        EngineError: The logits are not finite.
    """
    patch = np.zeros((1, 1, *manifest.window.patch), np.float32)
    for logits in infer_many(engine, [patch]):
        if not np.isfinite(logits).all():
            name = engine.description["name"]
            raise EngineError(f"{name} answers NaN or infinity; build its plan again here")


def _gpu_engines(manifest: Manifest) -> list[str]:
    """Return the engines that have a plan of this network."""
    gpu = _NVIDIA.exists()
    if not gpu and not plan_folder(manifest).exists():
        return []
    from inference.engines.tensorrt_index import engines_with_plans  # not loaded on a CPU

    found = engines_with_plans(manifest, gpu)
    return [name for name in PLANNED if name in found]


def _open(name: str, manifest: Manifest, options: EngineOptions) -> AbstractContextManager[Engine]:
    if name not in _LOADERS:
        known = ", ".join(("auto", *sorted(_LOADERS)))
        raise EngineError(f"unknown engine {name!r}; choose from {known}")
    place, _, function = _LOADERS[name].partition(":")
    try:
        module = import_module(place)
    except ImportError as error:
        install = how_to_install(_EXTRAS.get(name, name))
        raise EngineError(f"engine {name!r} cannot be imported ({error}); {install}") from error
    return cast(AbstractContextManager[Engine], getattr(module, function)(manifest, options))
