"""The console for all output."""

from rich.console import Console

from imaging.verbosity import Verbosity, verbosity


def terminal(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console that prints names of files and cases unchanged.

    With --quiet the one for stderr, which shows progress, prints nothing. By default rich reads
    "[bold]" and ":smile:" in names as markup.
    """
    if stderr and verbosity() is Verbosity.QUIET:
        # No terminal: a progress bar on one would send what others print on stderr to it, too.
        return Console(stderr=True, quiet=True, force_terminal=False)
    return Console(stderr=stderr, width=width, markup=False, emoji=False)


def warn(message: str) -> None:
    """Print a message on stderr that a user must see, also with --quiet: one line, unwrapped."""
    console = Console(stderr=True, markup=False, emoji=False)
    console.print(message, soft_wrap=True, highlight=False)
