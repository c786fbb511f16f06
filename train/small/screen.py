"""Progress of `train small`: a bar on a terminal, plain lines in a log file."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from imaging.terminal import terminal
from train.small import fit as fitting


@contextmanager
def counted(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """Yield a function to call with the name of each case that is done."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=terminal(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda case: bar.update(task, advance=1, description=f"{what} {case}")


def fit_on_screen(work: Path, device: str, start: Path | None) -> Path:
    """Train, with a line every 50 steps: loss, seconds a step, hours left."""
    console = terminal(stderr=True)
    since_s = time.monotonic()
    before: int | None = None

    def report(progress: fitting.TrainingProgress) -> None:
        nonlocal since_s, before
        now_s = time.monotonic()
        line = f"step {progress.step} of {progress.steps}: loss {progress.loss:.4f}"
        if before is not None and progress.step > before:
            step_s = (now_s - since_s) / (progress.step - before)
            left_h = step_s * (progress.steps - progress.step) / 3600
            line += f", {step_s:.2f} s a step, {left_h:.1f} h left"
        since_s, before = now_s, progress.step
        console.print(line, highlight=False)

    return fitting.fit(work / "prepared", work / "results", device, report, start=start)
