"""Voxels as text inside a page: fewer grey levels, predicted from their neighbours, compressed.

The page undoes all of it: `decodeCt` and `inflated` in templates/decode.js.
"""

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]

FINE_HU, FINE_STEP, COARSE_STEP = (-160, 240), 4, 16
"""Soft tissue, its steps, and the steps of everything else."""
LOWEST_HU, HIGHEST_HU = -1024, 1520
TABLE_HU: NDArray[np.int16] = np.concatenate(
    [
        np.arange(LOWEST_HU, FINE_HU[0], COARSE_STEP),
        np.arange(*FINE_HU, FINE_STEP),
        np.arange(FINE_HU[1], HIGHEST_HU + 1, COARSE_STEP),
    ]
).astype(np.int16)
"""int16 [235]: the HU of every code."""
_LEVEL, _MEMORY = 6, 9
"""Of zlib: higher levels take several times as long and save one byte in a hundred."""


def codes_of(hu: NDArray[Any]) -> Codes:
    """Return the code (uint8, same shape) whose HU in `TABLE_HU` is nearest to each voxel's.

    Args:
        hu: Of any real type and shape.
    """
    every = np.arange(LOWEST_HU, HIGHEST_HU + 1)
    middles = (TABLE_HU[1:].astype(np.float64) + TABLE_HU[:-1]) / 2
    code_of = np.searchsorted(middles, every).astype(np.uint8)
    whole = np.rint(np.clip(hu, LOWEST_HU, HIGHEST_HU)).astype(np.int32)
    return np.asarray(code_of[whole - LOWEST_HU], np.uint8)


def packed_ct(codes: Codes) -> bytes:
    """Compress codes [Z, Y, X]: what differs from the mean of three neighbours, as zlib's stream.

    CTs are noisy: this takes three quarters of the bytes that zlib alone takes.
    """
    known = codes.astype(np.int16)
    guess = known[1:, 1:, :-1] + known[1:, :-1, 1:] + known[:-1, 1:, 1:]
    known[1:, 1:, 1:] -= guess // 3
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY, zlib.Z_FILTERED)
    return packer.compress(known.astype(np.uint8).tobytes()) + packer.flush()


def packed_labels(labels: NDArray[np.uint8]) -> bytes:
    """Compress labels of any shape as zlib's stream."""
    return zlib.compress(np.ascontiguousarray(labels).tobytes(), 9)


def as_text(data: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode("ascii")


def text_bytes(data: bytes) -> int:
    """Return how many bytes `as_text` takes."""
    return (len(data) + 2) // 3 * 4
