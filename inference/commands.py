"""One way from an error to the command line, for all three packages."""

import sys
from io import TextIOWrapper
from typing import Any

import click

from inference.errors import KitError


class CommandGroup(click.Group):
    """Shows a `KitError` as one line and exits with 1; any other exception is a bug and shows."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        for stream in (sys.stdout, sys.stderr):  # a file's name may be no UTF-8
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except KitError as error:
            raise click.ClickException(str(error)) from error
