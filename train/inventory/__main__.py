"""`python -m train.inventory`: called by the Dockerfile, on the system of the image."""

import sysconfig
from pathlib import Path

import click

from train.inventory.writing import System, write_inventory

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("workspace", type=_FOLDER)
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option("--version", default="")
@click.option("--revision", default="")
@click.option("--epoch", "epoch_s", default="", help="Seconds since 1970; empty: no date.")
def main(workspace: Path, output: Path, version: str, revision: str, epoch_s: str) -> None:
    """Write what this system holds, with the kit in WORKSPACE, into OUTPUT."""
    site, stdlib = (Path(sysconfig.get_path(name)) for name in ("purelib", "stdlib"))
    system = System(Path("/"), workspace.resolve(), site, stdlib)
    write_inventory(system, output, version, revision, int(epoch_s) if epoch_s else None)


if __name__ == "__main__":
    main()
