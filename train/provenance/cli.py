"""The commands `crate` and `croissant`."""

from pathlib import Path

import click

from imaging.terminal import terminal
from imaging.words import number_of


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", help="What it is called; by default the folder's name.")
@click.option("--description", help="What it is, in a sentence.")
@click.option("--license", help="An address or a sentence.")
@click.option("--author", help="Who ran it.")
def crate(run: Path, name: str | None, **said: str | None) -> None:
    """Describe RUN, the folder of a `train run`, as RO-Crate: RUN/ro-crate-metadata.json."""
    from train.provenance.crate import METADATA, CrateText, write_crate

    text = CrateText(name or run.resolve().name, **{k: v for k, v in said.items() if v})
    count = write_crate(run, text)
    terminal().print(f"{run / METADATA}: {number_of(count, 'stage')}", soft_wrap=True)


@click.command()
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; by default croissant.json beside MANIFEST.",
)
def croissant(manifest: Path, output: Path | None) -> None:
    """Write Croissant metadata of MANIFEST's weights: files, digests, labels, licence, origin."""
    from train.provenance.croissant import write_croissant

    target = output or manifest.with_name("croissant.json")
    write_croissant(manifest, target)
    terminal().print(str(target), soft_wrap=True)
