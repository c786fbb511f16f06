"""Command line of the viewer: parse, call one function, report."""

from pathlib import Path

import click

from imaging.commands import CommandGroup, NamedPath

_PATH = NamedPath()


@click.group(cls=CommandGroup)
def main() -> None:
    """Show CTs and their organs in a browser."""


@main.command()
@click.argument("ct", type=_PATH)
@click.argument("labels", type=_PATH)
@click.option("--truth", type=_PATH, help="Label map to compare with, or a folder of such.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=_PATH,
    help="The page; where LABELS is a folder: a folder, for a page a case and index.html.",
)
@click.option(
    "--most-mb",
    default=6.0,
    show_default=True,
    type=click.FloatRange(2, 200),
    help="What a page may take, in millions of bytes: more gives finer voxels.",
)
def view(ct: Path, labels: Path, truth: Path | None, output: Path, most_mb: float) -> None:
    """Write one offline HTML page of CT with the organs of LABELS.

    CT is anything that `predict` reads: NIfTI, NRRD, MetaImage, a DICOM folder or .zip. Where
    LABELS is a folder of <case>.nii.gz, each CT in the folder CT gets a page.

    Exit code 1: a file cannot be read or shown; of folders, the other cases are done.
    """
    from viewer.screen import view_on_screen

    view_on_screen(ct, labels, truth, output, round(most_mb * 1e6))
