"""The errors that the kit raises, and a one-line message for any other exception."""

import traceback
from pathlib import Path

from imaging.extras import missing_package


class KitError(Exception):
    """Base class: the command line shows its one-line message and exits 1."""


class ManifestError(KitError):
    """The weights manifest and the files on disk disagree."""


class VolumeError(KitError):
    """A file is not a CT that can be labelled."""


class GeometryError(KitError):
    """Shapes, patches or spacings do not fit together."""


class EngineError(KitError):
    """No engine can run the network here."""


def joined(*reasons: str | None) -> str | None:
    """Return several reasons as one line, without those that are None or empty; None for none."""
    return "; ".join(filter(None, reasons)) or None


def in_one_line(error: BaseException, about: str) -> str:
    """Return a one-line message for an error in one file, so that the other files can go on.

    Args:
        error: Whatever was raised.
        about: The file's name.
    """
    if isinstance(error, KitError):
        return str(error)
    if missing := missing_package(error):
        return f"{about}: {missing}"
    text = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
    if isinstance(error, MemoryError) or any(word in text for word in _OUT_OF_MEMORY):
        return f"{about}: not enough memory"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{about}: unexpected {type(error).__name__}{place}: {text}; please report it"


_OUT_OF_MEMORY = ("Failed to allocate memory", "bad_alloc", "out of memory", "bad allocation")
"""Messages of ITK, OpenVINO, ONNX Runtime and C++ that mean a MemoryError."""
