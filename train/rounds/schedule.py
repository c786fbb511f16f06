"""What each stage holds while it runs, which of two goes first, and when each starts and ends."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from train.network.recipe import Training
from train.rounds.graph import Stage

ON_CARD = ("train", "label", "judge", "score")
"""Kinds of stages that compute a network: with --device cuda each needs a card."""
NEEDS = {"train": (48_000, 4320), **dict.fromkeys(("label", "judge", "score"), (28_000, 720))}
"""Memory (MB) and time (minutes) that a stage asks of a cluster; labelling: the challenge's."""
_LITTLE = (8_000, 720)
_LATER = {"score": -2, "judge": -1}
"""Of two stages that could start, the one on which fewer others wait comes later."""


def cards_of(stage: Stage, training: Training, device: str) -> int:
    """Return how many cards a stage holds."""
    if device != "cuda" or stage.kind not in ON_CARD:
        return 0
    return training.gpus if stage.kind == "train" else 1


def resources_of(
    stage: Stage, training: Training, config: Mapping[str, Any]
) -> dict[str, int | str]:
    """Return what a stage asks of a cluster, or of this machine: a card, or room among the others.

    A cluster gives the card by `--gres`, as every Slurm knows it.
    """
    mem_mb, runtime = NEEDS.get(stage.kind, _LITTLE)
    count = cards_of(stage, training, config["device"])
    room: dict[str, int | str] = {"gpu": count} if count else {"cpu_stage": 1}
    if not config["cards"]:
        room = {"gres": f"gpu:{count}"} if count else {}
    return {"mem_mb": mem_mb, "runtime": runtime, **room}


def memory_gb(stage: Stage) -> float:
    """Return the memory that a stage with a card asks of its machine."""
    return NEEDS[stage.kind][0] / 1000 if stage.kind in NEEDS else 0.0


def priority_of(stage: Stage) -> int:
    """Return which of two stages that could start goes first: the one with the higher number."""
    return _LATER.get(stage.kind, 0)


@dataclass(frozen=True)
class Planned:
    """One stage's hours from the start of the run."""

    stage: Stage
    start: float
    end: float


@dataclass(frozen=True)
class Schedule:
    """All stages of a run, in the order in which they start."""

    stages: tuple[Planned, ...]

    @property
    def hours(self) -> float:
        """From the start of the run to its end."""
        return max(one.end for one in self.stages)

    def highest(self, amount: Callable[[Stage], float]) -> float:
        """Return the most that all stages together hold at one time; `amount`: what one holds."""
        return max(
            sum(
                amount(other.stage) for other in self.stages if other.start <= one.start < other.end
            )
            for one in self.stages
        )


def planned(
    stages: Sequence[Stage], training: Training, hours: Mapping[str, float], cards: int
) -> Schedule:
    """Return when stages run as `train run --gpus` runs them: a card that is free takes the next.

    Args:
        stages: Each after those it needs.
        training: The recipe's.
        hours: Of each stage, by its key; those that are missing take no time.
        cards: How many the machine has. Stages without a card are taken never to wait.
    """
    found: list[Planned] = []
    waiting, done, now, free = list(stages), set[str](), 0.0, cards
    ends: list[tuple[float, int]] = []
    while waiting or ends:
        ready = [stage for stage in waiting if done.issuperset(stage.needs)]
        for stage in sorted(ready, key=priority_of, reverse=True):
            if (count := cards_of(stage, training, "cuda")) > free:
                continue
            free -= count
            waiting.remove(stage)
            found.append(Planned(stage, now, now + hours.get(stage.key, 0.0)))
            heapq.heappush(ends, (found[-1].end, len(found) - 1))
        now, place = heapq.heappop(ends)
        done.add(found[place].stage.key)
        free += cards_of(found[place].stage, training, "cuda")
    return Schedule(tuple(found))
