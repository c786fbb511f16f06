"""The runtimes of TensorRT and TensorRT-RTX, by the engine's name; imported only on use."""

from importlib import import_module
from typing import Any

from imaging.errors import EngineError
from imaging.extras import how_to_install
from inference.engines import one_line

_MODULES = {
    "tensorrt": ("tensorrt_bindings", "tensorrt"),  # from the package index, from NVIDIA
    "tensorrt-rtx": ("tensorrt_rtx_bindings", "tensorrt_rtx"),
}


def runtime_module(engine: str) -> Any:
    """Return the Python module of TensorRT or TensorRT-RTX.

    Raises:
        EngineError: It, or a library that it needs, is not installed.
    """
    errors = []
    for name in _MODULES[engine]:
        try:
            return import_module(name)
        except ImportError as error:
            errors.append(one_line(error))
    raise EngineError(
        f"engine {engine!r} cannot be imported ({'; '.join(errors)}); {how_to_install(engine)}"
    )


def listener(trt: Any) -> Any:
    """Return a logger for `trt` that prints nothing and keeps the errors, in `errors`."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.errors.append(" ".join(message.split()))

    return Listener()


def complaint(errors: list[str]) -> str:
    """Return the first error of a runtime; the others mostly follow from it."""
    return errors[0] if errors else "it does not say why"


def patch_tensors(trt: Any, engine: Any, file: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a plan's patch and logits by name, in this order, as the plan says.

    Args:
        trt: The plan's runtime.
        engine: The plan, loaded.
        file: Its name, for the message.

    Raises:
        EngineError: It has others, or they are not float32 [1, 1, Z, Y, X] and [1, K, Z, Y, X].
    """
    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    shapes = {name: tuple(engine.get_tensor_shape(name)) for name in names}
    found = sorted((engine.get_tensor_mode(name) != trt.TensorIOMode.INPUT, name) for name in names)
    fits = (
        [is_output for is_output, _ in found] == [False, True]
        and all(engine.get_tensor_dtype(name) == trt.DataType.FLOAT for name in names)
        and _is_patch_and_logits(*(shapes[name] for _, name in found))
    )
    if not fits:
        has = ", ".join(f"{name} {list(shapes[name])}" for name in names)
        raise EngineError(f"{file} does not map one float32 patch to logits, but has {has}")
    return {name: shapes[name] for _, name in found}


def _is_patch_and_logits(patch: tuple[int, ...], logits: tuple[int, ...]) -> bool:
    return (
        len(patch) == 5
        and patch[:2] == (1, 1)
        and logits[:1] + logits[2:] == patch[1:]
        and min(*patch, *logits) > 0
    )
