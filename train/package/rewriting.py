"""An archive whose bytes follow from what is in the image alone: `docker save`, written again.

Docker dates layers, files and history, and names what it saves by digests over those dates. Here
the entries of every layer are sorted and have one date, and of the configuration stays what a
container gets. Docker loads it as it loads its own: a configuration, layers, `manifest.json`.
"""

import gzip
import json
import tarfile
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from isal import igzip

from imaging.digest import sha256
from imaging.errors import KitError
from imaging.files import replacing

_LEVEL = 1
"""Of zlib: the bytes of ISA-L, which is faster, depend on the CPU."""
_XATTR = "SCHILY.xattr."
_KEPT = (
    *("Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "Shell", "StopSignal"),
    *("User", "Volumes", "WorkingDir"),
)
"""What stays of the configuration: what `docker run` reads; its builder leaves other ids there."""


@dataclass(frozen=True)
class Rewritten:
    """What was written."""

    image: str
    """The id that Docker gives the image when it loads it."""
    tar_sha256: str
    """Of the archive before compression, which another zlib may do otherwise."""
    found: dict[str, bytes]
    """Content of the files that were asked for, by path from /."""


def rewrite(saved: Path, archive: Path, epoch_s: int, wanted: tuple[str, ...] = ()) -> Rewritten:
    """Write an archive anew, whole or not at all.

    Args:
        saved: What `docker save` wrote of one image.
        archive: The compressed archive to write.
        epoch_s: Seconds since 1970: the date of everything in it.
        wanted: Paths from /, whose content is returned.

    Raises:
        KitError: `saved` is not what Docker writes, or the archive cannot be written.
    """
    with replacing(archive) as partial:
        try:
            with (
                partial.open("wb") as raw,
                gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as stream,
                tarfile.open(saved) as source,
                tarfile.open(fileobj=stream, mode="w") as target,
            ):
                writer = _Writer(source, target, archive.parent, epoch_s, wanted)
                image = writer.image()
        except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as error:
            raise KitError(f"docker save: what it wrote cannot be read ({error})") from error
        with igzip.open(partial) as stream:
            digest = sha256(stream)
    return Rewritten(f"sha256:{image}", digest, writer.found)


@dataclass
class _Writer:
    """Reads one archive and writes the other."""

    source: tarfile.TarFile
    target: tarfile.TarFile
    folder: Path
    """For a layer at a time."""
    epoch_s: int
    wanted: tuple[str, ...]
    found: dict[str, bytes] = field(default_factory=dict)

    def image(self) -> str:
        """Write layers, configuration and manifest; return the configuration's digest."""
        (image,) = json.loads(self._read("manifest.json"))
        config = json.loads(self._read(image["Config"]))
        layers = [self._layer(name) for name in image["Layers"]]
        content = _json(self._config(config, layers))
        digest = sha256(content)
        self._add(f"{digest}.json", len(content), BytesIO(content))
        names = [f"{layer}.tar" for layer in layers]
        table = {"Config": f"{digest}.json", "Layers": names, "RepoTags": image["RepoTags"]}
        content = _json([table])
        self._add("manifest.json", len(content), BytesIO(content))
        return digest

    def _read(self, name: str) -> bytes:
        return _stream(self.source, name).read()

    def _add(self, name: str, size: int, content: IO[bytes]) -> None:
        """Add a file, unless one of that name is there: an image may have a layer twice."""
        if name in self.target.getnames():
            return
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime = size, self.epoch_s
        self.target.addfile(entry, content)

    def _layer(self, name: str) -> str:
        """Write a layer; return its digest."""
        with tempfile.TemporaryFile(dir=self.folder) as stream:
            with (
                tarfile.open(fileobj=_stream(self.source, name)) as old,
                tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as new,
            ):
                for entry in sorted(old, key=_place):
                    self._file(entry, old, new)
            size = stream.tell()
            stream.seek(0)
            digest = sha256(stream)
            stream.seek(0)
            self._add(f"{digest}.tar", size, stream)
        return digest

    def _file(self, entry: tarfile.TarInfo, old: tarfile.TarFile, new: tarfile.TarFile) -> None:
        """Write one entry of a layer."""
        content = old.extractfile(entry) if entry.isreg() else None
        path = str(PurePosixPath(entry.name))
        if content is not None and path in self.wanted:
            self.found[path] = content.read()
            content.seek(0)
        kept = tarfile.TarInfo(path)
        kept.type = tarfile.REGTYPE if entry.isreg() else entry.type
        kept.size = entry.size if entry.isreg() else 0
        kept.mode, kept.uid, kept.gid = entry.mode, entry.uid, entry.gid
        kept.devmajor, kept.devminor = entry.devmajor, entry.devminor
        kept.mtime = self.epoch_s
        kept.linkname = str(PurePosixPath(entry.linkname)) if entry.islnk() else entry.linkname
        attributes = entry.pax_headers.items()
        kept.pax_headers = {key: value for key, value in attributes if key.startswith(_XATTR)}
        new.addfile(kept, content)

    def _config(self, config: dict[str, Any], layers: list[str]) -> dict[str, Any]:
        """Return what stays of a configuration."""
        settings = config.get("config") or {}
        return {
            "architecture": config["architecture"],
            "os": config["os"],
            "created": datetime.fromtimestamp(self.epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "config": {name: settings[name] for name in _KEPT if settings.get(name)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}" for layer in layers]},
        }


def _stream(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    """Return a file of an archive.

    Raises:
        KeyError: There is no such file.
    """
    content = archive.extractfile(name)
    if content is None:
        raise KeyError(f"{name} is no file")
    return content


def _json(table: object) -> bytes:
    return json.dumps(table, sort_keys=True, separators=(",", ":")).encode()


def _place(entry: tarfile.TarInfo) -> tuple[bool, tuple[str, ...]]:
    """Sort folders before what is in them, and hard links after what they link to."""
    return entry.islnk(), PurePosixPath(entry.name).parts
