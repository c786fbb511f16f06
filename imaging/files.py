"""Write a file whole or not at all; name the files of a folder that are passed over."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from imaging.errors import KitError

KIT = "flare23-kit"
"""What a file of another program's format says of its maker."""
_KEPT = 32
"""Characters of the name that its temporary name ends with; the whole may be too long."""
_CHANNEL = re.compile(r"_\d{4}\.nii\.gz$", re.IGNORECASE)
_MOST_NAMED = 10
RESULTS = (".json", ".csv", ".html", ".png", ".seg.dcm", ".seg.nrrd", "itk_snap_labels.txt")
"""Endings of what the kit writes beside label maps."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside `target`; put it in place only if the block succeeds.

    Its name is random: the first process of every container has the same process number.

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


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents where they do not exist.

    Raises:
        KitError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KitError(f"cannot make {folder}: {error.strerror}; choose another folder") from error


def prepare_file(target: Path) -> None:
    """Create the folder of a file that is written at the end of a run; check that it is writable.

    Raises:
        KitError: It cannot be made, or nothing can be written there.
    """
    make_folder(target.parent)
    tried = target.with_name(f".try.{target.name}")
    try:
        with suppress(FileExistsError):  # another run is checking
            tried.touch(exist_ok=False)  # rights are not enough: a disk may be read-only
            tried.unlink()
    except OSError as error:
        raise KitError(f"cannot write {target}: {error.strerror}; choose another file") from error


def passed_over(folder: Path, suffix: str, *, beside: tuple[str, ...] = ()) -> dict[str, str]:
    """Return why files in `folder` are not `<case><suffix>`, by name; hidden files are left out.

    Args:
        folder: The folder.
        suffix: "_0000.nii.gz" of CTs, ".nii.gz" of label maps.
        beside: Endings of other files that belong there.
    """
    shown = (path for path in folder.iterdir() if path.name[0] != "." or path.name == suffix)
    return {
        path.name: reason
        for path in sorted(shown)
        if not path.name.endswith(beside) and (reason := _why_not(path, suffix))
    }


def passed_over_message(passed: dict[str, str], folder: Path) -> str:
    """Return one line of what `passed_over` found in `folder`."""
    some = [f"{name} ({why})" for name, why in list(passed.items())[:_MOST_NAMED]]
    more = [f"{len(passed) - _MOST_NAMED} more"] if len(passed) > _MOST_NAMED else []
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
