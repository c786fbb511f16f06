"""Find the other files that an ONNX file reads its weights from: its digest does not cover them.

An ONNX file is a protocol buffer. Only the fields that lead to its tensors are read, by their
numbers in onnx.proto (ONNX 1.17): no image has the onnx package.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "place"},
}  # fmt: skip
"""By message and number: the messages that may hold a tensor, and a tensor's external data."""
_DATA_LOCATION, _EXTERNAL = 14, 1
"""A tensor's field that says where its data are, and its value for "in another file"."""
_UNNAMED = "a file without a name"
_KEY, _VALUE = 1, 2
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
"""The encodings of protocol buffers."""


def other_files(path: Path) -> list[str]:
    """Return the names of the files that the ONNX file at `path` reads weights from, sorted.

    Raises:
        ValueError: It is no protocol buffer.
        OSError: It cannot be read.
    """
    if not path.stat().st_size:
        return []  # no memory map of nothing
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as file:
        names = set(_named(file))
    return sorted(names - {_UNNAMED}) or sorted(names)


def _named(file: mmap.mmap) -> Iterator[str]:
    waiting = [("model", 0, len(file))]
    while waiting:
        message, start, end = waiting.pop()
        inside = _INSIDE[message]
        for number, encoding, value, stop in _fields(file, start, end):
            if encoding == _BYTES and inside.get(number) == "place":
                yield from _location(file, value, stop)
            elif encoding == _BYTES and number in inside:
                waiting.append((inside[number], value, stop))
            elif (message, number, encoding) == ("tensor", _DATA_LOCATION, _VARINT):
                yield from [_UNNAMED] if value == _EXTERNAL else []


def _location(file: mmap.mmap, start: int, end: int) -> Iterator[str]:
    """Yield the file's name if a pair of words about external data gives it."""
    words = {
        number: file[value:stop]
        for number, encoding, value, stop in _fields(file, start, end)
        if encoding == _BYTES
    }
    if words.get(_KEY) == b"location":
        yield words.get(_VALUE, b"").decode("utf-8", "replace")


def _fields(file: mmap.mmap, place: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, encoding, value and end of a message's fields; for bytes, the value's place."""
    while place < end:
        key, place = _varint(file, place, end)
        number, encoding = key >> 3, key & 7
        value = place
        if encoding == _VARINT:
            value, place = _varint(file, place, end)
        elif encoding == _BYTES:
            size, value = _varint(file, place, end)
            place = value + size
        elif encoding in (_EIGHT_BYTES, _FOUR_BYTES):
            place += 8 if encoding == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"encoding {encoding} at byte {place}")
        if place > end:
            raise ValueError(f"byte {place} is behind the end")
        yield number, encoding, value, place


def _varint(file: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    """Return a number stored with seven bits a byte, lowest first, and the position of its end."""
    value = shift = 0
    while place < end and shift < 64:
        byte = file[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError(f"byte {place} is in no number")
