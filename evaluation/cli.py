"""Command line of the evaluation: parse, call one function, report."""

from pathlib import Path

import click

from inference.commands import CommandGroup
from inference.errors import KitError

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group(cls=CommandGroup)
def main() -> None:
    """Score label maps."""


@main.command()
@click.option("--truth", required=True, type=_FOLDER, help="Folder of <case>.nii.gz.")
@click.option("--pred", required=True, type=_FOLDER, help="Folder of <case>.nii.gz.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
def overlap(truth: Path, pred: Path, output: Path) -> None:
    """DSC of every organ that the truth has: a table, OUTPUT/dsc.csv and dsc.json."""
    from rich.console import Console
    from rich.table import Table

    from evaluation.overlap import score_folder, write_scores
    from inference.organs import ORGANS

    rows = score_folder(truth, pred)
    write_scores(rows, output)
    table = Table("organ", *(row.case for row in rows), title="DSC")
    for organ in ORGANS:
        cells = [f"{row.dsc[organ]:.4f}" if organ in row.dsc else "" for row in rows]
        table.add_row(organ, *cells)
    Console().print(table)
    failed = [row for row in rows if row.error]
    if failed:
        raise KitError("; ".join(f"{row.case}: {row.error}" for row in failed))
