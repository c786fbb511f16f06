"""What a stranger's program left in `outputs`: regular files alone are read, no link is followed.

A container may leave a link to a file of the host's, a pipe that never ends, or a name that steers
a terminal.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from imaging.digest import sha256
from imaging.errors import KitError, VolumeError
from imaging.files import replacing
from imaging.label_maps import LabelMap
from imaging.volumes import read_header, read_place

MOST_BYTES = 1 << 31
"""More than any label map takes: 512 x 512 x 1000 voxels of eight bytes."""


@contextmanager
def work_folder(output: Path) -> Iterator[Path]:
    """Make a folder in `output`, and remove it at the end with what a stranger left in it.

    What cannot be removed stays. Not by `tempfile.TemporaryDirectory`: it then changes the rights
    of what is in the way, through links too, and ends the run where that is not allowed.

    Raises:
        KitError: It cannot be made.
    """
    try:
        made = Path(tempfile.mkdtemp(prefix=".work-", dir=output.resolve()))
    except OSError as error:
        raise KitError(f"cannot write into {output}: {error.strerror}") from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a file that a stranger left.

    Raises:
        KitError: It is not there, is a link, a pipe or a folder, or is too large.
    """
    name = printable(path.name)
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # to open a device may already do something
            raise KitError(f"{name} is no regular file; write the label map itself")
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KitError(f"{name} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as stream:
        size = os.fstat(descriptor).st_size
        if size > MOST_BYTES:
            raise KitError(f"{name} has {size:,} bytes, more than any label map")
        yield stream


def digest(path: Path) -> str:
    """Return the sha256 of a file that a stranger left.

    Raises:
        KitError: As `opened` says.
    """
    with opened(path) as stream:
        return sha256(stream)


def take(path: Path, folder: Path) -> Path:
    """Copy a file that a stranger left into `folder`, which only the kit writes to.

    Raises:
        KitError: As `opened` says, or the copy cannot be written.
    """
    target = folder / path.name
    with opened(path) as stream, replacing(target) as partial, partial.open("wb") as copy:
        shutil.copyfileobj(stream, copy)
    return target


def elsewhere(found: LabelMap, ct: Path) -> str | None:
    """Say why a label map does not lie on the voxels of a CT; None where it does."""
    try:
        return found.elsewhere_than(read_place(ct), read_header(ct).shape)
    except VolumeError as error:
        return f"cannot be compared with its CT: {error}"


def printable(text: str) -> str:
    """Return a stranger's text without the characters that would steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def tail(log: Path, characters: int) -> str:
    """Return the end of a log, which may be of any length; nothing where there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 4 * characters))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return printable(text)[-characters:].strip()
