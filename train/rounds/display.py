"""What a run is doing, while it runs: one table on a terminal, plain lines in a file."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from imaging.words import number_of
from train.rounds.run import Run
from train.rounds.time_left import Clock, duration
from train.rounds.watch import DONE, FAILED, RUNNING, Watch, Watched

_PLAIN_S = 60.0
"""Between two lines of one stage that only say how far it is."""


class Display:
    """Shows one run from its first stage to its last."""

    def __init__(self, run: Run, slots: int, console: Console) -> None:
        """Look at what is done already.

        Args:
            run: What is run.
            slots: Stages that run at once.
            console: Where it is shown.
        """
        self.watch, self.clock, self.console = Watch(run), Clock(run, slots), console
        self._name = run.recipe.name
        self._seen = {row.stage.key: row.state for row in self.watch.look()}
        self._told_s: dict[str, float] = {}
        count = sum(state == DONE for state in self._seen.values())
        if count:
            self._say(f"{count} of {number_of(len(self._seen), 'stage')} are there already")

    @contextmanager
    def shown(self) -> Iterator[Callable[[], None]]:
        """Yield a function to call every second; the table goes at the end of the block."""
        if not self.console.is_terminal:
            yield self._tell_changes
            self._tell_changes()
            return
        with Live(console=self.console, transient=True, auto_refresh=False) as live:

            def update() -> None:
                live.update(self.table(self.watch.look()), refresh=True)

            update()
            yield update

    def table(self, rows: Sequence[Watched]) -> Table:
        """Return a row a round: how many of its stages are done, and what it is doing."""
        done = sum(row.state == DONE for row in rows)
        title = f"{self._name}: {done} of {len(rows)} stages, {self.clock.left(rows).text}"
        table = Table(title=Text(title), expand=True)
        table.add_column("round", overflow="fold")
        table.add_column("done", justify="right", no_wrap=True)
        table.add_column("now", ratio=1, overflow="fold")
        for name, group in groupby(rows, lambda row: row.stage.round):
            of = list(group)
            count = sum(row.state == DONE for row in of)
            doing = [self._doing(row) for row in of if row.state in (RUNNING, FAILED)]
            table.add_row(Text(name or "data"), f"{count} of {len(of)}", Text("\n".join(doing)))
        return table

    def _doing(self, row: Watched) -> str:
        """Return what one stage is doing: "train: epoch 3 of 100, 26.90 s each, 43 min left"."""
        stage = row.stage.key.removeprefix(f"{row.stage.round}/")
        if row.state == FAILED:
            return f"{stage}: failed"
        told = row.logged.progress
        if told is None:
            return f"{stage}: started"
        left_s = None if told.each_s is None else (told.total - told.done) * told.each_s
        return f"{stage}: {told.line}" + ("" if left_s is None else f", {duration(left_s)} left")

    def _tell_changes(self) -> None:
        """Print a line for every stage that started or ended, and now and then how far one is."""
        rows = self.watch.look()
        for row in rows:
            key, before = row.stage.key, self._seen[row.stage.key]
            self._seen[key] = row.state
            if row.state == RUNNING and before != RUNNING:
                self._told_s[key] = time.monotonic()
                self._say(f"{key}: started")
            elif row.state == RUNNING and row.logged.progress is not None:
                if time.monotonic() - self._told_s[key] >= _PLAIN_S:
                    self._told_s[key] = time.monotonic()
                    doing = self._doing(row).partition(": ")[2]
                    self._say(f"{key}: {doing}; {self.clock.left(rows).text}")
            elif row.state == DONE and before != DONE:
                seconds = row.logged.seconds
                took = "" if seconds is None else f" in {duration(seconds)}"
                self._say(f"{key}: done{took}; {self.clock.left(rows).text}")
            elif row.state == FAILED and before != FAILED:
                self._say(f"{key}: failed")

    def _say(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)
