"""Digests of files that a run has read before: a file that is as it was is not read again.

A release has 100 GB. A digest is believed while size, both times and inode of its file stay the
same; a file that was changed less than `SETTLED_S` ago is not remembered, because a change that
follows so soon may have the same time.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from imaging.digest import file_sha256
from imaging.errors import KitError
from imaging.files import make_folder
from imaging.records import read_record, write_json

SCHEMA = 1
SETTLED_S = 2.0
"""The coarsest time of a file system in use is FAT's: two seconds."""
_Row = tuple[int, int, int, int, str]
"""Size, time of the last change of content and of the inode (ns), inode; sha256."""


@dataclass(frozen=True)
class _Rows:
    files: dict[str, _Row]


@dataclass
class KnownDigests:
    """What is known of files, by absolute path."""

    paranoid: bool = False
    """Read every file, whatever is known of it."""
    read: list[Path] = field(default_factory=list)
    """The files that had to be read."""
    _rows: dict[str, _Row] = field(default_factory=dict)

    def load(self, path: Path) -> None:
        """Add what an earlier stage knew; a file that is missing or broken adds nothing."""
        if not self.paranoid:
            with suppress(KitError):  # all that it costs is to read the files again
                self._rows |= read_record(path, _Rows, "digests", head={"schema": SCHEMA}).files

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file, as 64 hexadecimal digits.

        Raises:
            KitError: The file cannot be read.
        """
        try:
            found = path.stat()
        except OSError as error:
            raise KitError(f"cannot read {path}: {error.strerror}") from error
        stamp = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        known = self._rows.get(str(path.absolute()))
        if known is not None and known[:4] == stamp:
            return known[4]
        digest = file_sha256(path)
        self.read.append(path)
        settled_ns = time.time_ns() - int(SETTLED_S * 1e9)
        if max(found.st_mtime_ns, found.st_ctime_ns) < settled_ns:
            self._rows[str(path.absolute())] = (*stamp, digest)
        return digest

    def write(self, places: Mapping[Path, Path], path: Path) -> None:
        """Write what is known of some files.

        Args:
            places: Each file as it was read, and where it is now.
            path: The file that is written.

        Raises:
            KitError: It cannot be written.
        """
        rows = {str(now): self._rows.get(str(read.absolute())) for read, now in places.items()}
        make_folder(path.parent)
        files = {name: row for name, row in rows.items() if row is not None}
        write_json({"schema": SCHEMA, "files": files}, path, indent=0)


def known_path(run: Path, key: str) -> Path:
    """Return the file in which a stage leaves the digests that later stages need."""
    return run / "digests" / "known" / f"{key.replace('/', '.')}.json"
