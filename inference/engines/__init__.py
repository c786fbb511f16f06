"""Pick an engine by name; import its runtime only then."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Literal, NoReturn, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from imaging.errors import EngineError, KitError
from imaging.extras import how_to_install
from inference.lattices import logit_slabs
from inference.manifest import Manifest
from inference.sliding_window import Window

Precision = Literal["auto", "f32", "bf16", "int8"]
Array = NDArray[np.float32]
_log = logging.getLogger(__name__)

_LOADERS = {
    "openvino": "inference.engines.openvino_engine:load",
    "onnxruntime": "inference.engines.onnxruntime_engine:load",
    "tensorrt": "inference.engines.tensorrt_engine:load_tensorrt",
    "tensorrt-rtx": "inference.engines.tensorrt_engine:load_tensorrt_rtx",
    "torch": "inference.engines.torch_engine:load",
}
_EXTRAS = {"openvino": ""}
"""The optional dependency that has an engine's runtime, if its name is not the engine's."""
PLANNED = ("tensorrt", "tensorrt-rtx")
"""Engines that run a plan built for the GPU; "auto" tries them first if there is one."""
_TRIED = (*PLANNED, "torch")
"""Engines that answer one patch before they are open: what a GPU cannot do shows only then."""
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
    device: int = 0
    """Number of the GPU, counted among those that CUDA_VISIBLE_DEVICES leaves."""

    @property
    def pinned_threads(self) -> int:
        """Number of threads that the engine uses."""
        return self.threads or len(os.sched_getaffinity(0))


def plan_folder(manifest: Manifest) -> Path:
    """Return the folder of the plans of the manifest's network."""
    return manifest.weights("onnx").parent / "plans"


class Engine(Protocol):
    """A loaded network: one call in, logits out."""

    description: dict[str, str | int]
    """name, version, device, precision, threads: as run.json has them."""

    def infer(self, patches: Array) -> Array:
        """Map float32 [N, 1, Z, Y, X] to float32 logits [N, K, Z, Y, X].

        The result may be overwritten by the next call.

        Raises:
            EngineError: The runtime refuses the patches, for their shape say.
        """
        ...


Slabs = Callable[[Array, Window, Callable[[], None]], Iterator[Array]]
"""Maps image, window, and what is called after each window, to slabs of blended logits."""
Instead = Callable[[EngineError], Engine]
"""Maps the error of an engine that failed to the one in its place, or raises it."""


def infer_many(engine: Engine, patches: Iterable[Array]) -> Iterator[Array]:
    """Map each patch as `engine.infer` does; an engine with an `infer_many` may compute ahead.

    A result is valid until the next one is requested. An engine that holds device memory while it
    gets patches frees it after the last.
    """
    ahead = getattr(engine, "infer_many", None)
    return map(engine.infer, patches) if ahead is None else ahead(patches)


def blended_logits(
    engine: Engine,
    image: Array,
    window: Window,
    advance: Callable[[], None] = lambda: None,
    threads: int = 1,
) -> Iterator[Array]:
    """Run an engine on every window, as `logit_slabs` does.

    An engine with a `logit_slabs` of its own takes the image whole, and blends where it computes,
    without `threads`, unless there is more than one lattice.
    """
    own: Slabs | None = getattr(engine, "logit_slabs", None)
    if own is not None and len(window.lattices) == 1:
        return own(image, window, advance)
    return logit_slabs(image, partial(infer_many, engine), window, advance, threads)


def one_line(error: BaseException) -> str:
    """Return an error's message in one line: line breaks and indents become single spaces."""
    return " ".join(str(error).split()) or type(error).__name__


def too_few_gpus(requested: int, count: int) -> str:
    """Say that there is no GPU with the requested number."""
    return (
        f"--device {requested} was requested, but {count} GPUs can be used here, counted from 0; "
        "CUDA_VISIBLE_DEVICES says which"
    )


@contextmanager
def failing_in_one_line(name: str) -> Iterator[None]:
    """Raise whatever an engine's runtime raises as one kind of error, of one line.

    Raises:
        EngineError: The block raised anything but an error of the kit.
    """
    try:
        yield
    except KitError:
        raise
    except Exception as error:  # for instance another version of the runtime
        message = f"{name} cannot be used here ({type(error).__name__}: {one_line(error)})"
        raise EngineError(message) from error


def no_other(error: EngineError) -> NoReturn:
    """Say that no engine takes the place of one that failed: raise its error."""
    raise error


class Engines:
    """The engine of a run, and what takes its place if it fails in a case."""

    def __init__(self, name: str, manifest: Manifest, options: EngineOptions) -> None:
        """Open the engine called `name`, or the first that "auto" finds.

        Raises:
            EngineError: No such engine, or it cannot be used.
        """
        self._request = manifest, options
        self._may_change = name == "auto"
        self._stack = ExitStack()
        self.current = self._first_of(_candidates(name, manifest))

    def instead(self, error: EngineError) -> Engine:
        """Close the engine that failed with `error`; open one for the CPU in its place.

        Raises:
            EngineError: `error` itself, if the engine was chosen by name or is one for the CPU.
        """
        if not self._may_change or self.current.description["name"] in AUTO:
            raise error
        with suppress(Exception):  # a GPU that has failed may refuse to free anything
            self.close()
        self.current = self._first_of(AUTO)
        return self.current

    def close(self) -> None:
        """Free what the engine holds."""
        self._stack.close()

    def _first_of(self, names: tuple[str, ...]) -> Engine:
        reasons = []
        for name in names:
            try:
                return _opened(self._stack, name, *self._request)
            except EngineError as error:
                if not self._may_change:
                    raise
                reasons.append(str(error))
                _log.warning("engine %s passed over: %s", name, error)
        raise EngineError("no engine can run here: " + "; ".join(reasons))


def _candidates(name: str, manifest: Manifest) -> tuple[str, ...]:
    return (*_gpu_engines(manifest), *AUTO) if name == "auto" else (name,)


@contextmanager
def open_engines(name: str, manifest: Manifest, options: EngineOptions) -> Iterator[Engines]:
    """Load the manifest's network with the engine called `name`, or the first that "auto" finds.

    An engine that may run on a GPU is tried with a patch first. If its GPU or its runtime fails,
    then or in a later case, "auto" goes on with an engine for the CPU.

    The weights that the engine opens are checked; a plan has its digest in its own index.

    Raises:
        ManifestError: A weights file is missing or damaged.
        EngineError: No such engine, its runtime is not installed, or it cannot do the precision or
            run the plan.
    """
    engines = Engines(name, manifest, options)
    try:
        yield engines
    finally:
        engines.close()


@contextmanager
def open_engine(name: str, manifest: Manifest, options: EngineOptions) -> Iterator[Engine]:
    """Open one engine as `open_engines` does; it stays the one.

    Raises:
        EngineError: As from `open_engines`.
    """
    with open_engines(name, manifest, options) as engines:
        yield engines.current


def _opened(stack: ExitStack, name: str, manifest: Manifest, options: EngineOptions) -> Engine:
    """Open an engine until `stack` ends; one that may run on a GPU is tried with a patch first."""
    if name not in _TRIED:
        return stack.enter_context(_open(name, manifest, options))
    with failing_in_one_line(name), ExitStack() as trial:
        engine = trial.enter_context(_open(name, manifest, options))
        _warm_up(engine, manifest)
        stack.enter_context(trial.pop_all())
    return engine


def _warm_up(engine: Engine, manifest: Manifest) -> None:
    """Run one patch, and free what the engine holds only while it gets patches.

    Raises:
        EngineError: The logits are not finite, or not those of the manifest's labels.
    """
    patch, name = np.zeros((1, 1, *manifest.window.patch), np.float32), engine.description["name"]
    expected = (1, len(manifest.labels) + 1, *manifest.window.patch)
    for logits in infer_many(engine, [patch]):
        if logits.shape != expected:
            raise EngineError(f"{name} answers {logits.shape}, the manifest says {expected}")
        if not np.isfinite(logits).all():
            advice = "build its plan again here" if name in PLANNED else "use --precision f32"
            raise EngineError(f"{name} answers NaN or infinity; {advice}")


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
