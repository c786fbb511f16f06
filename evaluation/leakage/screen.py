"""`leakage` for people: progress, the table of what is shared, the files."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from evaluation.leakage.audit import IMAGE, Leakage, Shared, find_leakage
from evaluation.open_table import numbers, open_table
from imaging.files import make_folder
from imaging.fitted_tables import show_table
from imaging.terminal import terminal, warn
from imaging.words import number_of


def leakage_on_screen(
    sources: Sequence[Path], output: Path | None, cache: Path | None, *, within: bool, threads: int
) -> Leakage:
    """Compare the cases of `sources`, print what they share, write it into `output`.

    Raises:
        KitError: Something cannot be read or written.
    """
    if output is not None:
        make_folder(output)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = terminal(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        tasks = {step: progress.add_task(step) for step in ("read", "compare")}
        found = find_leakage(
            sources,
            cache,
            within=within,
            threads=threads,
            progress=lambda step, done, of: progress.update(tasks[step], completed=done, total=of),
        )
    if output is not None:
        found.write(output)
    for path, reason in found.unreadable.items():
        warn(f"not compared by content: {path}: {reason}")
    _show(found, terminal())
    return found


def _show(found: Leakage, console: Console) -> None:
    for source, count in found.sources.items():
        console.print(Text(f"{source}: {number_of(count, 'case')}"))
    if found.shared:
        show_table(_table(found.shared), console)
    else:
        console.print("nothing shared was found")
    console.print(
        f"{found.pairs:,} pairs of images compared by content; likeness 1: the same numbers"
    )


def _table(shared: Sequence[Shared]) -> Table:
    title = f"Shared: {len(shared)} pairs"
    names = ("case", "case of the other", "what it is")
    table = open_table(title, *names, *numbers("likeness"))
    for pair in shared:
        likeness = f"{pair.match.likeness:.2f}" if pair.match else "–"
        cells = [Text(pair.first.case), Text(pair.second.case)]
        table.add_row(*cells, f"{pair.line}{_mirrored(pair)}", likeness)
    return table


def _mirrored(pair: Shared) -> str:
    """Say that a copy is mirrored; twice mirrored is turned."""
    if not pair.match or pair.kinds[-1] != IMAGE or not any(pair.match.mirrored):
        return ""
    return ", mirrored" if sum(pair.match.mirrored) % 2 else ", turned"
