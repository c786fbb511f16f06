"""Records: dataclasses read from and written to JSON and TOML files, with strict types.

A key that is unknown, missing or of the wrong type is an error that names the file and the key.
msgspec does the conversion; no other module imports it.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import fields, is_dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from sys import float_info
from typing import Annotated, Any, TypeVar

import msgspec

from imaging.digest import sha256
from imaging.errors import KitError
from imaging.files import replacing

T = TypeVar("T")
Finite = Annotated[float, msgspec.Meta(ge=-float_info.max, le=float_info.max)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=float_info.max)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
SignedShare = Annotated[float, msgspec.Meta(ge=-1, le=1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
PositiveInt = Annotated[int, msgspec.Meta(gt=0)]
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_MISSING = "Object missing required field "
_SHORT = Repr()


def read_record(
    path: Path,
    kind: type[T],
    what: str,
    *,
    head: Mapping[str, object] | None = None,
    advice: str = "",
) -> T:
    """Read a record from a file.

    Args:
        path: A .toml file, or JSON.
        kind: A dataclass.
        what: What the file is, for messages.
        head: As in `to_record`.
        advice: What to do about a file that is not such a record.

    Raises:
        KitError: The file cannot be read, or is not such a record.
    """
    try:
        return to_record(read_table(path, what)[0], kind, f"{what} {path}", head=head)
    except KitError as error:
        raise KitError(f"{error}; {advice}" if advice else str(error)) from error


def read_table(
    path: Path, what: str, parse_float: Callable[[str], Any] = float
) -> tuple[dict[str, Any], str]:
    """Return the table in a file, and its sha256; TOML if its name ends with .toml, else JSON.

    Args:
        path: The file.
        what: What it is, for messages.
        parse_float: Converts a number with a decimal point.

    Raises:
        KitError: It cannot be read, is of another format, or gives a key twice.
    """
    form = "TOML" if path.suffix == ".toml" else "JSON"
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
        if form == "TOML":
            table = tomllib.loads(text, parse_float=parse_float)
        else:
            table = json.loads(text, object_pairs_hook=_once_each, parse_float=parse_float)
    except OSError as error:
        raise KitError(f"cannot read {what} {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise KitError(f"{what} {path} is not {form}: {error}") from error
    if not isinstance(table, dict):
        raise KitError(f"{what} {path}: expected object, found {_SHORT.repr(table)}")
    return table, sha256(content)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a JSON object that has a key twice: the first value would be lost."""
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"{key!r} is given twice")
        table[key] = value
    return table


def to_record(
    table: Mapping[str, Any],
    kind: type[T],
    where: str,
    *,
    head: Mapping[str, object] | None = None,
    known: Mapping[str, object] | None = None,
) -> T:
    """Convert a table to a dataclass; only fields with a default may be missing.

    Args:
        table: As a file holds it.
        kind: The dataclass.
        where: Whose table it is, for messages.
        head: Keys that the table has besides, and the value that each must have; None: any.
        known: Fields that the table must not have, and their values.

    Raises:
        KitError: A key is unknown, missing or of the wrong type, or the record refuses a value.
    """
    head, known = head or {}, known or {}
    for key, value in head.items():
        found = table.get(key)
        if value is not None and (type(found), found) != (type(value), value):
            raise KitError(f"{where}: {key}: expected {value!r}, found {found!r}")
    if odd := sorted(table.keys() & known.keys()):
        raise KitError(f"{where}: unknown keys: {', '.join(odd)}")
    table = {key: value for key, value in table.items() if key not in head} | {**known}
    try:
        record = msgspec.convert(table, kind, builtin_types=(Decimal,))
        _refuse_unknown(record, table, "")
    except msgspec.ValidationError as error:
        raise KitError(f"{where}: {_explained(str(error), deepcopy(table), kind)}") from error
    except KitError as error:
        raise KitError(f"{where}: {error}") from error
    return record


def _explained(text: str, table: Any, kind: type[T]) -> str:
    """Return the library's message with the keys in front, and what was found there.

    Where the library writes `[...]` for the key of a mapping, that is found by trial.

    Args:
        text: The message.
        table: A copy of the table that cannot be converted; it is changed.
        kind: The dataclass that it should be converted to.
    """
    message, _, place = text.partition(" - at ")
    keys, part, names = "", table, list[str]()
    for name, number in _STEP.findall(place):
        if number == "...":
            name = _failing(table, part, kind, message)
        keys += f".{name}" if name else f"[{number}]"
        part = part[name or int(number)]
        names.append(name)
    if message.startswith("Invalid enum value") and (choices := _choices(kind, names)):
        message = f"Expected one of {', '.join(map(repr, choices))}"
    reason = message.replace("`", "").partition(", got ")[0]
    if reason.startswith(_MISSING):
        key = reason.removeprefix(_MISSING)
        like = get_close_matches(key, part, 1)
        reason = f"missing key: {key}" + "".join(f", found {other!r}" for other in like)
    else:
        reason = f"{reason[0].lower()}{reason[1:]}, found {_SHORT.repr(part)}"
    return f"{keys.removeprefix('.')}: {reason}" if keys else reason


def _choices(kind: type[Any], names: list[str]) -> list[str | int]:
    """Return the values that a dataclass allows at a place; "" stands for any place in an array."""
    types = [msgspec.inspect.type_info(kind)]
    for name in names:
        types = [inner for outer in _united(types) for inner in _inner_types(outer, name)]
    return [value for outer in _united(types) for value in getattr(outer, "values", ())]


def _united(types: list[Any]) -> list[Any]:
    """Return types with unions replaced by what they unite."""
    return [part for kind in types for part in getattr(kind, "types", (kind,))]


def _inner_types(kind: Any, name: str) -> list[Any]:
    """Return what msgspec tells of the types of a value's parts."""
    if isinstance(kind, msgspec.inspect.DataclassType):
        return [item.type for item in kind.fields if item.name == name]
    if isinstance(kind, msgspec.inspect.TupleType):
        return [*kind.item_types]
    found = getattr(kind, "value_type" if name else "item_type", None)
    return [] if found is None else [found]


def _failing(table: Any, part: dict[str, Any], kind: type[T], message: str) -> str:
    """Reduce `part` of `table` to the one entry that causes the message; return its key."""
    entries = dict(part)
    for key, value in entries.items():
        part.clear()
        part[key] = value
        try:
            msgspec.convert(table, kind, builtin_types=(Decimal,))
        except msgspec.ValidationError as error:
            if str(error).startswith(message):
                return key
    raise AssertionError(f"{message!r} has no cause")


def _refuse_unknown(value: object, table: Any, place: str) -> None:
    """Refuse keys that a dataclass does not have: msgspec ignores them."""
    if isinstance(value, tuple | list):
        for number, part in enumerate(value):
            _refuse_unknown(part, table[number], f"{place}[{number}]")
    elif isinstance(value, dict):
        for key, part in value.items():
            _refuse_unknown(part, table[key], f"{place}.{key}")
    elif is_dataclass(value):
        names = {item.name for item in fields(value)}
        if odd := sorted(table.keys() - names):
            raise KitError(": ".join(filter(None, (place[1:], f"unknown keys: {', '.join(odd)}"))))
        for key in names & table.keys():
            _refuse_unknown(getattr(value, key), table[key], f"{place}.{key}")


def write_json(table: object, path: Path, indent: int = 1) -> None:
    """Write a table as a JSON file, whole or not at all.

    Raises:
        KitError: It cannot be written.
    """
    with replacing(path) as partial:
        text = json.dumps(table, indent=indent, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
