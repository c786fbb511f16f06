"""The console for all output."""

from rich.console import Console


def terminal(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console that prints names of files and cases unchanged.

    By default rich reads "[bold]" and ":smile:" in them as markup.
    """
    return Console(stderr=stderr, width=width, markup=False, emoji=False)
