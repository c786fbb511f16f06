"""Write a file whole or not at all; say which files of a folder are passed over."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from imaging.errors import KitError

_KEPT = 32
"""Characters of a name that its temporary one ends with: the whole may be too long for a file."""
_CHANNEL = re.compile(r"_\d{4}\.nii\.gz$", re.IGNORECASE)
_TOLD = 10
RESULTS = (".json", ".csv", ".html", ".png")
"""Endings of what the kit writes beside label maps."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside `target`; put it in place only if the block succeeds.

    Its name is drawn by chance: the first process of every container has the same number.

    Raises:
        KitError: The file cannot be written: no space, no right, no folder.
    """
    partial = target.with_name(f".{secrets.token_hex(8)}.{target.name[-_KEPT:]}")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        raise KitError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        if partial.exists():
            partial.unlink()


@contextmanager
def writing(target: Path) -> Iterator[TextIO]:
    """Yield a stream for a table; put the file in place only if the block succeeds.

    What is no UTF-8 of a case's name is written with a backslash.

    Raises:
        KitError: The file cannot be written.
    """
    with (
        replacing(target) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        yield stream


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


def passed_over(folder: Path, suffix: str, *, beside: tuple[str, ...] = ()) -> dict[str, str]:
    """Say of each file in `folder` that is no `<case><suffix>` why it is not; hidden ones aside.

    Args:
        folder: There.
        suffix: "_0000.nii.gz" of CTs, ".nii.gz" of label maps.
        beside: Endings of other files that belong there.
    """
    shown = (path for path in folder.iterdir() if path.name[0] != "." or path.name == suffix)
    return {
        path.name: told
        for path in sorted(shown)
        if not path.name.endswith(beside) and (told := _why_not(path, suffix))
    }


def told_of(passed: dict[str, str], folder: Path) -> str:
    """Return one line of what `passed_over` found in `folder`."""
    some = [f"{name} ({why})" for name, why in list(passed.items())[:_TOLD]]
    more = [f"{len(passed) - _TOLD} more"] if len(passed) > _TOLD else []
    return f"passed over in {folder}: {', '.join(some + more)}"


def _why_not(path: Path, suffix: str) -> str | None:
    name = path.name
    if name == suffix:
        return "no case's name"
    if name.endswith(suffix):
        return None
    if path.is_dir():
        return "a folder"
    if name.lower().endswith(suffix):
        return "capital letters in its suffix"
    if name.lower().endswith(".nii"):
        return "not compressed"
    if not name.lower().endswith(".nii.gz"):
        return "no .nii.gz"
    return "a further channel" if _CHANNEL.search(name) else "no _0000 in its name"
