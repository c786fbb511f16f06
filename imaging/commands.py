"""What the command lines of all packages share: errors in one line, files that can be written."""

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from imaging.errors import KitError
from imaging.files import prepare_file


class OutputFile(click.Path):
    """A file that a command writes at its end; checked to be writable before the command starts.

    Its folder is created.
    """

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        prepare_file(Path(value))
        return super().convert(value, param, ctx)


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
