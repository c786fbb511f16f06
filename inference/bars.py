"""Progress bars of a prediction on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from imaging.terminal import terminal
from inference.predictor import Progress
from inference.report import CaseReport


@contextmanager
def bars(count: int, done: Callable[[CaseReport], None]) -> Iterator[Progress]:
    """Show bars of cases and windows until the end of the block.

    Args:
        count: How many cases there are.
        done: Called with every case that is done or has failed.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    console = terminal(stderr=True)
    with Bars(*columns, TimeElapsedColumn(), console=console, transient=True) as shown:
        whole = shown.add_task("cases", total=count)
        windows = shown.add_task("windows", total=None)

        def finished(case: CaseReport) -> None:
            shown.advance(whole)
            done(case)

        yield Progress(
            case=lambda name, count: shown.reset(windows, total=count, description=name),
            window=lambda: shown.advance(windows),
            done=finished,
        )
