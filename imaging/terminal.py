"""The console that everything is printed on."""

from rich.console import Console


def terminal(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console that prints names of files and cases as they are.

    By default rich takes "[bold]" and ":smile:" in them for markup.
    """
    return Console(stderr=stderr, width=width, markup=False, emoji=False)
