"""The lines by which a stage says in its log how far it is, and what `train run` reads of them."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click
from rich.progress import track

from imaging.terminal import terminal

Item = TypeVar("Item")
EPOCH, CASE, PREPARED = "epoch", "case", "prepared case"
_LINE = re.compile(r"(epoch|case|prepared case) (\d+) of (\d+)(?:, ([\d.]+) s each)?")
_START = re.compile(r"stage (\S+) starts")
_END = re.compile(r"stage (\S+) (done in|failed after) ([\d.]+) s")
_TAIL_BYTES = 65_536
_LEAST_S = 1.0
"""Between two lines."""


@dataclass(frozen=True)
class StageProgress:
    """How far a stage is."""

    unit: str
    """EPOCH, CASE, or PREPARED: a case that nnU-Net has made ready."""
    done: int
    total: int
    each_s: float | None = None
    """Seconds each, since the stage was started; None before any can be told."""

    @property
    def line(self) -> str:
        """What is written and shown: "epoch 3 of 100, 26.90 s each"."""
        each = "" if self.each_s is None else f", {self.each_s:.2f} s each"
        return f"{self.unit} {self.done} of {self.total}{each}"


@dataclass(frozen=True)
class Logged:
    """What the log of a stage says of its last try."""

    progress: StageProgress | None = None
    seconds: float | None = None
    """What it took; None while it runs."""
    failed: bool = False


def counting(unit: str, total: int, done: int = 0) -> Callable[[], None]:
    """Return a function to call after each of `total`; it prints a line, at most one a second.

    Args:
        unit: EPOCH or CASE.
        total: How many there are.
        done: How many an earlier try did.
    """
    start_s = told_s = time.monotonic()
    count = done

    def step() -> None:
        nonlocal count, told_s
        count += 1
        now_s = time.monotonic()
        if now_s - told_s >= _LEAST_S or count == total:
            told_s = now_s
            say(StageProgress(unit, count, total, (now_s - start_s) / (count - done)))

    return step


def with_lines(items: Iterable[Item], unit: str, total: int) -> Iterator[Item]:
    """Yield `items`, with a line after each as `counting` prints it."""
    step = counting(unit, total)
    for item in items:
        yield item
        step()


def seen(items: Iterable[Item], unit: str, total: int) -> Iterator[Item]:
    """Yield `items` behind a bar on a terminal, and with lines in a log."""
    console = terminal(stderr=True)
    if not console.is_terminal:
        yield from with_lines(items, unit, total)
        return
    yield from track(items, f"{unit}s", total, console=console, transient=True)


def say(progress: StageProgress) -> None:
    """Print a line of progress on stderr."""
    click.echo(progress.line, err=True)


@contextmanager
def log_stage(key: str) -> Iterator[None]:
    """Print on stderr that stage `key` starts, and how it ends."""
    start_s = time.monotonic()
    click.echo(f"stage {key} starts", err=True)
    how = "failed after"
    try:
        yield
        how = "done in"
    finally:
        click.echo(f"stage {key} {how} {time.monotonic() - start_s:.1f} s", err=True)


def read_log(path: Path, start: int = 0) -> Logged:
    """Read what a stage's log says of its last try; of a log that is missing: nothing.

    Args:
        path: The log, to which every try appends.
        start: Bytes to pass over: what was there before this run.
    """
    logged = Logged()
    for line in _last_lines(path, start):
        if _START.fullmatch(line):
            logged = Logged()
        elif found := _LINE.fullmatch(line):
            unit, done, total, each_s = found.groups()
            each = None if each_s is None else float(each_s)
            logged = Logged(StageProgress(unit, int(done), int(total), each))
        elif found := _END.fullmatch(line):
            logged = Logged(logged.progress, float(found[3]), found[2] == "failed after")
    return logged


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines of a log that say something; of a bar, what it showed last."""
    return [line for line in _last_lines(path, 0) if line.strip()][-count:]


def _last_lines(path: Path, start: int) -> list[str]:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(start, size - _TAIL_BYTES))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip().rpartition("\r")[2] for line in text.split("\n")]
