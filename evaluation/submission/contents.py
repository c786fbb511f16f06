"""What an image archive holds, file by file, read without Docker."""

import json
import posixpath
import tarfile
import zlib
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, cast

from imaging.digest import sha256
from imaging.errors import KitError

_GONE = ".wh."
"""Before a name: a layer takes the file of that name away, or with `_ALL_GONE` the whole folder."""
_ALL_GONE = ".wh..wh..opq"
_RIGHTS = 0o7777  # Docker writes a folder's kind there, too
_CONFIG_FIELDS = ("Cmd", "Entrypoint", "Env", "Labels", "User", "WorkingDir")


@dataclass(frozen=True)
class ImageFile:
    """One file, folder or link; its date is left out."""

    content: str
    """sha256 of a file, target of a link, else the kind."""
    mode: int
    owner: tuple[int, int]


@dataclass
class Contents:
    """An image."""

    files: dict[str, ImageFile]
    """By path from /."""
    kept: dict[str, bytes]
    """Content of the files that were asked for."""
    config: dict[str, Any]
    """What a container gets: environment, command, labels and so on."""


@dataclass
class _Layer:
    files: dict[str, ImageFile] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)


def read_contents(path: Path, wanted: tuple[str, ...] = ()) -> Contents:
    """Read an archive of one image, compressed or not.

    Args:
        path: What `docker save` or `train package` wrote.
        wanted: Paths from /, whose content is kept.

    Raises:
        KitError: It cannot be read, or is no such archive.
    """
    layers: dict[str, _Layer] = {}
    tables: dict[str, Any] = {}
    links: dict[str, str] = {}
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                name = str(PurePosixPath(member.name))
                stream = archive.extractfile(member) if member.isreg() else None
                if member.issym():  # Docker's own, to a layer that comes twice
                    links[name] = _beside(name, member.linkname)
                elif stream is not None:
                    _read_member(name, cast(BufferedReader, stream), wanted, layers, tables)
        (image,) = tables["manifest.json"]
        names = [links.get(name, name) for name in image["Layers"]]
        files, kept = _union([layers[name] for name in names])
        config = tables[image["Config"]].get("config") or {}
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise KitError(f"{path.name} is no readable archive ({error}); save it again") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KitError(f"{path.name} is not Docker's archive of one image ({error!r})") from error
    return Contents(files, kept, {name: config.get(name) or None for name in _CONFIG_FIELDS})


def _beside(name: str, target: str) -> str:
    """Return where a link of the archive leads, from the archive's root."""
    return posixpath.normpath(f"/{posixpath.dirname(name)}/{target}").lstrip("/")


def _read_member(
    name: str,
    stream: BufferedReader,
    wanted: tuple[str, ...],
    layers: dict[str, _Layer],
    tables: dict[str, Any],
) -> None:
    """Read a JSON file or a layer; newer versions of Docker call both by their digests alone."""
    if stream.peek(1)[:1] in (b"{", b"["):
        tables[name] = json.loads(stream.read())
        return
    try:
        layer = tarfile.open(fileobj=stream, mode="r|*")
    except tarfile.ReadError:  # a note such as VERSION
        return
    found = layers.setdefault(name, _Layer())
    with layer:
        for entry in layer:
            path = str(PurePosixPath(entry.name))
            content = entry.linkname or {tarfile.DIRTYPE: "folder"}.get(entry.type, "special file")
            if (file := layer.extractfile(entry) if entry.isreg() else None) is not None:
                if path in wanted:
                    found.kept[path] = file.read()
                    content = sha256(found.kept[path])
                else:
                    content = sha256(cast(BufferedReader, file))
            found.files[path] = ImageFile(content, entry.mode & _RIGHTS, (entry.uid, entry.gid))


def _union(layers: list[_Layer]) -> tuple[dict[str, ImageFile], dict[str, bytes]]:
    """Return what is seen through all layers, the last on top."""
    files: dict[str, ImageFile] = {}
    kept: dict[str, bytes] = {}
    for layer in layers:
        for path in layer.files:
            place = PurePosixPath(path)
            if place.name == _ALL_GONE:
                _take_away(f"{place.parent}/", files, kept)
            elif place.name.startswith(_GONE):
                gone = str(place.with_name(place.name.removeprefix(_GONE)))
                _take_away(f"{gone}/", files, kept)
                files.pop(gone, None)
                kept.pop(gone, None)
        new = {path: it for path, it in layer.files.items() if _GONE not in path}
        for path in new:
            kept.pop(path, None)
        files |= new
        kept |= layer.kept
    return files, kept


def _take_away(start: str, *tables: dict[str, Any]) -> None:
    for table in tables:
        for path in [path for path in table if path.startswith(start)]:
            del table[path]


def differences(first: Contents, second: Contents) -> tuple[str, ...]:
    """Return what differs between two images, a line each, sorted by path."""
    lines = [
        f"{name} is {second.config[name]!r}, not {value!r}"
        for name, value in first.config.items()
        if second.config[name] != value
    ]
    for path in sorted(first.files.keys() | second.files.keys()):
        one, other = first.files.get(path), second.files.get(path)
        if one is None or other is None:
            lines.append(f"/{path} is in {'the other' if one is None else 'this one'} only")
        elif one.content != other.content:
            lines.append(f"/{path} differs")
        elif one != other:
            lines.append(f"/{path} has other rights or another owner")
    return tuple(lines)
