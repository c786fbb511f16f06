"""The command `leakage`."""

from pathlib import Path

import click

from imaging.errors import KitError
from imaging.words import number_of

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("sources", required=True, nargs=-1, type=_PATH)
@click.option("-o", "--output", type=_PATH, help="Folder for leakage.json and leakage.csv.")
@click.option("--cache", type=_PATH, help="Folder that keeps what was computed of each CT.")
@click.option("--within", is_flag=True, help="Compare the cases of each folder, too.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Threads.")
def leakage(
    sources: tuple[Path, ...], output: Path | None, cache: Path | None, within: bool, jobs: int
) -> None:
    """Find cases that training, held-out and test folders share: by name, file and content.

    SOURCES are folders of <case>_0000.nii.gz, or text files with a case a line (names alone are
    compared). A copy in another window, crop, grid or orientation is found too.

    Exit code 1: something is shared, or a CT cannot be read.
    """
    from evaluation.leakage.screen import leakage_on_screen

    found = leakage_on_screen(sources, output, cache, within=within, threads=jobs)
    problems = []
    if found.shared:
        problems.append(
            number_of(len(found.shared), "pair of cases is", "pairs of cases are") + " shared"
        )
    if found.unreadable:
        problems.append(
            f"{number_of(len(found.unreadable), 'CT')} could not be compared by content"
        )
    if problems:
        raise KitError(f"{' and '.join(problems)}; see above")
