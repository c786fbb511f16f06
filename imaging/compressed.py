"""The bytes of a file that may be compressed by gzip, whatever its name says."""

from pathlib import Path

import numpy as np
from isal import igzip
from numpy.typing import NDArray

_CHUNK_BYTES = 1 << 22


def is_gzip(path: Path) -> bool:
    """Tell a gzip file by its first bytes; the name does not count."""
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def fill_from_gzip(target: NDArray[np.uint8], path: Path, offset: int) -> None:
    """Fill `target` with the file's bytes from `offset` on.

    Reading on to its end checks gzip's checksum.

    Raises:
        EOFError: The file is shorter.
        OSError: It cannot be read.
        isal.igzip_lib.error: It is damaged.
    """
    filled = 0
    with igzip.IGzipFile(path) if is_gzip(path) else path.open("rb") as stream:
        stream.seek(offset)
        while count := stream.readinto(target[filled : filled + _CHUNK_BYTES].data):
            filled += count
        while stream.read(_CHUNK_BYTES):
            pass
    if filled < target.size:
        raise EOFError(f"{filled} of {target.size} bytes of voxels")
