"""Where output for people goes: lines on stderr, and the console for what rich draws."""

from typing import TYPE_CHECKING

import click

from imaging.verbosity import Verbosity, verbosity

if TYPE_CHECKING:
    from rich.console import Console


def terminal(*, stderr: bool = False, width: int | None = None) -> "Console":
    """Return a console that prints names of files and cases unchanged.

    With --quiet the one for stderr, which shows progress, prints nothing. By default rich reads
    "[bold]" and ":smile:" in names as markup.
    """
    from rich.console import Console  # imported only where something is drawn

    if stderr and verbosity() is Verbosity.QUIET:
        # No terminal: a progress bar on one would send what others print on stderr to it, too.
        return Console(stderr=True, quiet=True, force_terminal=False)
    return Console(stderr=stderr, width=width, markup=False, emoji=False)


def tell(message: str) -> None:
    """Print how far the work is: one line on stderr, unwrapped; nothing with --quiet."""
    if verbosity() is not Verbosity.QUIET:
        warn(message)


def warn(message: str) -> None:
    """Print a message on stderr that a user must see, also with --quiet: one line, unwrapped."""
    click.echo(message, err=True)
