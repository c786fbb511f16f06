"""Compare two runs, and find the first stage in which they differ."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imaging.errors import KitError
from train.rounds.records import RECORD, load_record

_CONDITIONS = ("recipe", "seed", "commit", "packages", "cpu", "gpu", "cores", "threads", "device")


@dataclass(frozen=True)
class RunDifference:
    """The first stage in which two runs differ."""

    stage: str
    what: str
    around: tuple[str, ...] = ()
    """What else differs there, and may be the reason."""


def compare_runs(first: Path, second: Path) -> tuple[int, RunDifference | None]:
    """Compare what the stages of two runs put out, in the order in which they depend on each other.

    Returns:
        The number of stages that are equal up to there, and the first difference, if any.

    Raises:
        KitError: A folder holds no run.
    """
    records = [_records(folder) for folder in (first, second)]
    both = {**records[1], **records[0]}
    for equal, stage in enumerate(sorted(both, key=lambda key: both[key]["place"])):
        one, other = (found.get(stage) for found in records)
        if one is None or other is None:
            missing = first if one is None else second
            return equal, RunDifference(stage, f"{missing} has no such stage")
        if one["outputs"] != other["outputs"]:
            around = tuple(
                f"{key}: {one.get(key)} and {other.get(key)}"
                for key in _CONDITIONS
                if one.get(key) != other.get(key)
            )
            what = _first_file(one["outputs"], other["outputs"])
            return equal, RunDifference(stage, what, around)
    return len(both), None


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for path in folder.rglob(RECORD):
        stage = path.parent.relative_to(folder)
        if stage.suffix != ".partial":
            found[stage.as_posix()] = load_record(path)
    if not found:
        raise KitError(f"{folder} holds no stage of a run; give RUN folders of `train run`")
    return found


def _first_file(one: dict[str, str], other: dict[str, str]) -> str:
    name = next(
        name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)
    )
    return f"{name} is {one.get(name, 'missing')} and {other.get(name, 'missing')}"
