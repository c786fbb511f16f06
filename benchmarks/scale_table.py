"""What runs of several sizes took, and how it grows with the number of cases: tables and JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from rich.table import Table

from imaging.fitted_tables import show_table
from imaging.machine import cpu_name
from imaging.records import write_json
from imaging.terminal import terminal


@dataclass(frozen=True)
class StageCost:
    """What was taken while the stages of one kind ran, or one command."""

    seconds: float
    cpu_s: float
    peak_mib: float
    """Of all processes of the run together."""
    read_mib: float
    """That they asked the system to read."""
    files: int
    """That the stages wrote."""
    parts: int
    """Stages."""


@dataclass(frozen=True)
class Killed:
    """A run that was killed and continued, beside one that was not."""

    stages: tuple[str, ...]
    """That were under way each time when it was killed, with all its processes."""
    equal_stages: int
    """Whose digests are those of the run that was not killed, up to the first that differs."""
    difference: str | None


@dataclass(frozen=True)
class Measured:
    """A run with so many cases."""

    cases: int
    release_mib: float
    """Size of the files that are checked, as the system tells it."""
    stages: dict[str, StageCost]
    killed: Killed | None


def growth(found: Sequence[Measured]) -> Iterator[tuple[str, float, float]]:
    """Yield every stage's growth between the two largest sizes: 1 is as the number of cases.

    First of CPU seconds; then of those beyond what one case more cost between the two sizes before,
    which leaves out what starting costs; NaN with two sizes, or where nothing was spent before.
    """
    *_, before, last = found
    for kind, cost in last.stages.items():
        ratio = last.cases / before.cases
        whole = cost.cpu_s / max(before.stages[kind].cpu_s, 1e-9) / ratio
        steps = [
            (two.stages[kind].cpu_s - one.stages[kind].cpu_s) / (two.cases - one.cases)
            for one, two in pairwise(found[-3:])
        ]
        each = steps[1] / steps[0] if len(steps) == 2 and steps[0] > 0 else float("nan")
        yield kind, whole, each


def save_sizes(found: Sequence[Measured], output: Path) -> None:
    """Write what is measured so far: the largest size takes longest."""
    rows = {} if len(found) < 2 else {kind: round(whole, 3) for kind, whole, _ in growth(found)}
    sizes = [asdict(one) for one in found]
    write_json({"cpu": cpu_name(), "sizes": sizes, "growth": rows}, output)


def show_sizes(found: Sequence[Measured]) -> None:
    """Print a table a size, and how the stages grow."""
    for one in found:
        table = Table("stage", title=f"{one.cases} cases, {one.release_mib:,.0f} MiB")
        for name in ("parts", "seconds", "CPU s", "peak MiB", "read MiB", "files"):
            table.add_column(name, justify="right")
        for kind, cost in one.stages.items():
            amounts = (cost.seconds, cost.cpu_s, cost.peak_mib, cost.read_mib)
            table.add_row(kind, str(cost.parts), *map(_rounded, amounts), str(cost.files))
        show_table(table, terminal())
        if one.killed is not None:
            terminal().print(_told(one.killed))
    if len(found) > 1:
        table = Table("stage", title="CPU seconds, against the number of cases (1: as fast)")
        table.add_column("growth", justify="right")
        table.add_column("of one case more", justify="right")
        for kind, whole, each in growth(found):
            table.add_row(kind, f"{whole:.2f}", f"{each:.2f}")
        show_table(table, terminal())


def _rounded(amount: float) -> str:
    return f"{amount:.1f}" if amount < 100 else f"{amount:,.0f}"


def _told(killed: Killed) -> str:
    where = f"Killed in {'; '.join(killed.stages)}, and continued"
    if killed.difference is None:
        return f"{where}: all {killed.equal_stages} stages are equal, and the audit."
    return f"{where}: {killed.equal_stages} stages are equal, then not {killed.difference}"
