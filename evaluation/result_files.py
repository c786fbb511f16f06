"""Files of results: JSON that says what it is and which kit wrote it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from imaging import __version__
from imaging.records import read_record, write_json

T = TypeVar("T")
SCHEMA = 1
"""Of the JSON files that the evaluation writes."""


def write_results(kind: str, content: Mapping[str, object], path: Path) -> None:
    """Write a table of results at `path`, whole or not at all.

    Raises:
        KitError: It cannot be written.
    """
    write_json({"schema": SCHEMA, "kind": kind, "kit": __version__, **content}, path)


def read_results(kind: str, record: type[T], path: Path, advice: str) -> T:
    """Read what `write_results` wrote.

    Args:
        kind: What it is.
        record: The dataclass that it was made of.
        path: The file.
        advice: What to do about another file.

    Raises:
        KitError: The file is not of this kind and schema.
    """
    head = {"schema": SCHEMA, "kind": kind, "kit": None}
    return read_record(path, record, kind, head=head, advice=advice)
