"""SHA-256 digests; the only module that imports hashlib."""

import hashlib
from io import BufferedIOBase
from pathlib import Path

from imaging.errors import KitError


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits.

    Raises:
        KitError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return sha256(stream)
    except OSError as error:
        raise KitError(f"cannot read {path}: {error.strerror}") from error


def sha256(content: bytes | BufferedIOBase) -> str:
    """Return the SHA-256 of bytes, or of the rest of an open file, as 64 hexadecimal digits."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    return hashlib.file_digest(content, "sha256").hexdigest()
