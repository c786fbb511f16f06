"""The console command: finds a command's package and runs it there; imports only that package."""

from importlib import import_module

import click

from imaging.commands import CommandGroup

SECTIONS = {
    "Predict": (
        "inference.cli",
        ("predict", "show", "estimate", "outside", "sample", "verify", "card", "engine"),
    ),
    "View": ("viewer.cli", ("view",)),
    "Evaluate": (
        "evaluation.cli",
        ("score", "agree", "compare", "rank", "leakage", "efficiency", "submission", "claims"),
    ),
    "Train": ("train.cli", ("train", "package")),
}
"""Sections of the help: module of the command line, and names of its commands.

"train" is that module's whole group.
"""
_MODULES = {name: module for module, names in SECTIONS.values() for name in names}


class _AllCommands(CommandGroup):
    """Imports a package's command line when one of its commands is requested."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the sections."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command."""
        if cmd_name not in _MODULES:
            return None
        group: click.Group = import_module(_MODULES[cmd_name]).main
        return group if cmd_name == "train" else group.get_command(ctx, cmd_name)

    def sections(self, ctx: click.Context) -> dict[str, list[str]]:
        """Return the names of the commands by section of the help."""
        return {section: list(names) for section, (_, names) in SECTIONS.items()}


@click.group(cls=_AllCommands)
def main() -> None:
    """Segment 13 abdominal organs and tumour on CT; score, time and train such networks."""
