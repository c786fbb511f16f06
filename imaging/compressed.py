"""The bytes of a file that may be compressed by gzip, whatever its name says."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TypeAlias

import numpy as np
from isal import igzip
from numpy.typing import NDArray

_Stream: TypeAlias = igzip.IGzipFile | BufferedReader
PART_BYTES = 1 << 22
"""A multiple of the size of every type of number."""


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
    with _opened(path, offset) as stream:
        filled = _fill(target, stream)
        _read_on(stream)
    if filled < target.size:
        raise EOFError(f"{filled} of {target.size} bytes of voxels")


def parts_from_gzip(path: Path, offset: int, size: int) -> Iterator[NDArray[np.uint8]]:
    """Yield `size` bytes of the file from `offset` on, in parts; a part is good until the next.

    All but the last are of `PART_BYTES`. Errors are those of `fill_from_gzip`.
    """
    buffer = np.empty(min(size, PART_BYTES), np.uint8)
    with _opened(path, offset) as stream:
        for start in range(0, size, PART_BYTES):
            part = buffer[: size - start]
            filled = _fill(part, stream)
            if filled < part.size:
                raise EOFError(f"{start + filled} of {size} bytes of voxels")
            yield part
        _read_on(stream)


@contextmanager
def _opened(path: Path, offset: int) -> Iterator[_Stream]:
    with igzip.IGzipFile(path) if is_gzip(path) else path.open("rb") as stream:
        stream.seek(offset)
        yield stream


def _fill(target: NDArray[np.uint8], stream: _Stream) -> int:
    """Return how many bytes there were."""
    filled = 0
    while count := stream.readinto(target[filled : filled + PART_BYTES].data):
        filled += count
    return filled


def _read_on(stream: _Stream) -> None:
    while stream.read(PART_BYTES):
        pass
