"""How much a command prints: chosen once, by --quiet and --verbose."""

from enum import Enum


class Verbosity(Enum):
    """What appears on stderr; results on stdout and in files are always the same."""

    QUIET = "quiet"
    """Warnings and errors."""
    NORMAL = "normal"
    """Progress too."""
    VERBOSE = "verbose"
    """Details too, and the traceback of an error."""


_chosen = [Verbosity.NORMAL]


def verbosity() -> Verbosity:
    """Return how much is printed."""
    return _chosen[0]


def choose_verbosity(verbosity: Verbosity) -> None:
    """Set how much is printed from here on."""
    _chosen[0] = verbosity
