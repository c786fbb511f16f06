"""What the command lines of all packages share: options, errors in one line, writable files."""

import platform
import sys
import traceback
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from imaging import __version__
from imaging.errors import KitError
from imaging.extras import missing_package
from imaging.files import prepare_file
from imaging.verbosity import Verbosity, choose_verbosity, verbosity


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


class NamedPath(click.Path):
    """A file or folder that has a name: "." and ".." become the whole path."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        path = Path(str(super().convert(value, param, ctx)))
        return path.resolve() if path.name in ("", "..") else path


class CommandGroup(click.Group):
    """A package's commands.

    A `KitError` and a missing optional package are one line and exit code 1; any other exception is
    a bug and shows. Every group has --version, --quiet and --verbose.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_options())

    def sections(self, ctx: click.Context) -> dict[str, list[str]]:
        """Return the names of the commands by section of the help."""
        return {"Commands": self.list_commands(ctx)}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, each with the whole first sentence of its help."""
        for section, names in self.sections(ctx).items():
            found = ((name, self.get_command(ctx, name)) for name in names)
            rows = [
                (name, command.get_short_help_str(400))
                for name, command in found
                if command and not command.hidden
            ]
            with formatter.section(section):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        for stream in (sys.stdout, sys.stderr):  # a file's name may be no UTF-8
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            placed = self._placed(ctx, error)
            if placed is None:
                raise
            raise placed from error
        except (KitError, ModuleNotFoundError) as error:
            message = str(error) if isinstance(error, KitError) else missing_package(error)
            if message is None:
                raise
            if verbosity() is Verbosity.VERBOSE:
                traceback.print_exc()
            raise click.ClickException(message) from error

    def _placed(self, ctx: click.Context, error: click.NoSuchOption) -> click.NoSuchOption | None:
        """Return an error that says where an option goes; None if it is none of this group's."""
        own = {name for option in self.params for name in option.opts}
        at = error.ctx.parent if error.ctx is not None else None
        while at is not None and not isinstance(at.command, CommandGroup):
            at = at.parent
        if at is not ctx or error.ctx is None or error.option_name not in own:
            return None
        command = error.ctx.command_path.removeprefix(ctx.command_path).strip()
        given = f"{ctx.command_path} {error.option_name} {command} …"
        message = f"{error.option_name} comes before the command: {given}"
        return click.NoSuchOption(error.option_name, message, ctx=error.ctx)


def _options() -> list[click.Option]:
    """Return the options of every group."""

    def flag(names: list[str], callback: Any, text: str) -> click.Option:
        return click.Option(
            names, is_flag=True, expose_value=False, is_eager=True, callback=callback, help=text
        )

    return [
        flag(["--version"], _show_version, "Show the version and exit."),
        flag(["-q", "--quiet"], _be_quiet, "No progress: warnings, errors and results only."),
        flag(["-v", "--verbose"], _be_verbose, "Details, and the traceback of an error."),
    ]


def _show_version(ctx: click.Context, option: click.Parameter, requested: bool) -> None:
    if requested and not ctx.resilient_parsing:
        click.echo(f"flare23-kit {__version__}, Python {platform.python_version()}")
        ctx.exit()


def _be_quiet(ctx: click.Context, option: click.Parameter, requested: bool) -> None:
    if requested:
        choose_verbosity(Verbosity.QUIET)


def _be_verbose(ctx: click.Context, option: click.Parameter, requested: bool) -> None:
    if requested:
        choose_verbosity(Verbosity.VERBOSE)
