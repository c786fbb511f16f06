"""Write checkpoints whose bytes depend only on what was learnt.

`torch.save` pickles. A pickle also tells which strings are one object, when each epoch ended and
what the file was called; so two equal trainings, or one that was resumed, would differ.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imaging.files import replacing

_CLOCK = ("epoch_start_timestamps", "epoch_end_timestamps")


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write nnU-Net's checkpoint `content` at `path`, whole or not at all.

    Times of day become 0: nnU-Net needs their number, not their values.

    Raises:
        KitError: The file cannot be written.
    """
    logging = dict(content["logging"])
    logging.update({key: [0.0] * len(logging[key]) for key in _CLOCK if key in logging})
    plain = canonical({**content, "logging": logging})
    with replacing(path) as partial, partial.open("wb") as stream:
        torch.save(plain, stream)  # to a stream: to a path would put its name into the file


def canonical(value: Any) -> Any:
    """Return `value` rebuilt of Python's own types, with one object for equal strings."""
    if isinstance(value, dict):
        return {canonical(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(canonical(item) for item in value)
    if isinstance(value, str):
        return sys.intern(str(value))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return canonical(value.tolist())
    return value
