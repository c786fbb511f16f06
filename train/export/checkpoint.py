"""Read an nnU-Net checkpoint without executing code that is pickled in it."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imaging.digest import file_sha256
from imaging.errors import KitError

# nnU-Net's checkpoints hold tensors, plain values and, in the log, NumPy scalars: all harmless.
_SCALAR = np.float64().__reduce__()[0]  # the function that rebuilds a NumPy scalar
_HARMLESS: list[Any] = [
    np.dtype,
    _SCALAR,
    (_SCALAR, "numpy.core.multiarray.scalar"),  # its name before NumPy 2
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
]
_PREFIXES = ("_orig_mod.", "module.")  # left by torch.compile and by parallel training


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one training and what nnU-Net noted beside them."""

    path: Path
    sha256: str
    weights: dict[str, torch.Tensor]
    configuration: str
    trainer: str
    epochs: int
    mirror_axes: tuple[int, ...]


def load_checkpoint(path: Path, *, trusted: bool = False) -> Checkpoint:
    """Read the checkpoint at `path`.

    Args:
        path: The checkpoint; it is the user's own training.
        trusted: Unpickle it whole if it holds more than weights and plain values, which runs
            whatever code it brings.

    Raises:
        KitError: It is missing, damaged, holds objects that only unpickling would load, or weights
            that are no numbers.
    """
    if not path.is_file():
        raise KitError(f"{path} is missing; name a fold and a checkpoint that were trained")
    content = _content(path, trusted)
    try:
        mirror_axes = content.get("inference_allowed_mirroring_axes") or ()
        weights = {_plain_name(name): w for name, w in content["network_weights"].items()}
        for name, weight in weights.items():
            if not torch.isfinite(weight).all():
                raise KitError(
                    f"{path}: weight {name} holds NaN or infinity: that training failed; give "
                    "another checkpoint"
                )
        return Checkpoint(
            path=path,
            sha256=file_sha256(path),
            weights=weights,
            configuration=str(content["init_args"]["configuration"]),
            trainer=str(content["trainer_name"]),
            epochs=int(content["current_epoch"]),
            mirror_axes=tuple(int(axis) for axis in mirror_axes),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise KitError(f"{path}: lacks {error}; was it written by nnU-Net v2?") from error


def _content(path: Path, trusted: bool) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            content = torch.load(path, map_location="cpu", weights_only=not trusted)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("\n")[0]
        raise KitError(
            f"{path}: holds more than weights ({reason}); if the training is your own, "
            "pass --trust-checkpoint"
        ) from error
    except (OSError, RuntimeError, EOFError) as error:
        raise KitError(f"{path}: damaged or no checkpoint ({error})") from error
    if not isinstance(content, dict):
        raise KitError(f"{path}: holds a {type(content).__name__}, not nnU-Net's dictionary")
    return content


def _plain_name(name: str) -> str:
    """Return a weight's name without its prefixes, in whatever order they came."""
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name
