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
