"""What each stage of a run is doing, from its files: a digest when it is done, and its log."""

from dataclasses import dataclass
from pathlib import Path

from train.progress import Logged, read_log
from train.rounds.graph import Stage, expand
from train.rounds.records import digests_path
from train.rounds.run import Run

DONE, RUNNING, FAILED, WAITING = "done", "running", "failed", "waiting"


def log_path(run: Path, key: str) -> Path:
    """Return the log of a stage, to which every try of it appends."""
    return run / "logs" / f"{key.replace('/', '-')}.log"


@dataclass(frozen=True)
class Watched:
    """One stage as it is now."""

    stage: Stage
    state: str
    """DONE, RUNNING, FAILED, or WAITING."""
    logged: Logged
    """Of its last try, in an earlier call of `train run` perhaps."""


class Watch:
    """The stages of a run; made before Snakemake is started."""

    def __init__(self, run: Run) -> None:
        """Note how many bytes each log has: what is behind them is of this call."""
        self.run = run
        self.stages = expand(run.recipe, scored=run.truth is not None)
        self._before = {stage.key: _size(self.log(stage)) for stage in self.stages}
        self._finished: dict[str, Logged] = {}

    def log(self, stage: Stage) -> Path:
        """Return the log of a stage."""
        return log_path(self.run.folder, stage.key)

    def look(self) -> list[Watched]:
        """Return all stages as they are now, in their order."""
        return [self._look_at(stage) for stage in self.stages]

    def _look_at(self, stage: Stage) -> Watched:
        log = self.log(stage)
        if digests_path(self.run.folder, stage.key).is_file():
            if stage.key not in self._finished:
                self._finished[stage.key] = read_log(log)
            return Watched(stage, DONE, self._finished[stage.key])
        self._finished.pop(stage.key, None)
        if _size(log) <= self._before[stage.key]:
            return Watched(stage, WAITING, read_log(log))
        logged = read_log(log, self._before[stage.key])
        return Watched(stage, FAILED if logged.failed else RUNNING, logged)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
