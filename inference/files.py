"""Write a file whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference.errors import KitError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside `target`; put it in place only if the block succeeds.

    Raises:
        KitError: The file cannot be written: no space, no right, no folder.
    """
    partial = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        raise KitError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if partial.exists():
            partial.unlink()


def make_folder(folder: Path) -> None:
    """Make `folder`, and what is above it, where it is not there yet.

    Raises:
        KitError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KitError(f"cannot make {folder}: {error.strerror}; choose another folder") from error


def prepare_file(target: Path) -> None:
    """Make the folder of a file that is written at the end of a run, and see that one can be.

    Raises:
        KitError: It cannot be made, or nothing can be written there.
    """
    make_folder(target.parent)
    tried = target.with_name(f".try.{target.name}")
    try:
        tried.touch(exist_ok=False)  # rights alone do not tell: disks and /proc are read-only too
        tried.unlink()
    except FileExistsError:
        pass  # another run tries
    except OSError as error:
        raise KitError(f"cannot write {target}: {error.strerror}; choose another file") from error
