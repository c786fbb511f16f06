"""Which files look like DICOM, by their first bytes. Nothing here needs pydicom."""

import os
from pathlib import Path
from typing import Any

_MAGIC_AT = 128
_STARTS = (b"\x08\x00", b"\x00\x08", b"\x02\x00")
"""A file without preamble starts with a tag of group 8 or 2."""


def dicom_files(folder: Path, outside: Path | None = None) -> tuple[list[Path], list[Path]]:
    """Return the files below `folder` that look like DICOM, and those that do not, sorted.

    Args:
        folder: Links in it are followed, each folder is looked at once; hidden ones are not.
        outside: A folder below it that is not looked at: that of the results.
    """
    found, other, seen = list[Path](), list[Path](), set[str]()
    results = None if outside is None else os.path.realpath(outside)
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen or (place != str(folder) and real == results):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for path in (Path(place, name) for name in sorted(names) if name[0] != "."):
            (found if looks_like_dicom(path) else other).append(path)
    return found, other


def looks_like_dicom(path: Path) -> bool:
    """Tell by the first bytes; DICOM files need no suffix, and some have no preamble."""
    if not path.is_file():  # a pipe never ends
        return False
    try:
        with path.open("rb") as stream:
            start = stream.read(_MAGIC_AT + 4)
    except OSError:
        return False
    return start[_MAGIC_AT:] == b"DICM" or (start[:2] in _STARTS and _plausible(start))


def _plausible(start: bytes) -> bool:
    """Tell whether a first element without preamble is one: a low tag, a short length."""
    order: Any = "big" if start[:2] == b"\x00\x08" else "little"
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    length = start[6:8] if explicit else start[4:8]
    return int.from_bytes(start[2:4], order) <= 0x18 and int.from_bytes(length, order) <= 64
