"""When each stage of a run would start and end on a machine with some cards."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from train.network.recipe import Training
from train.rounds.graph import Stage
from train.rounds.resources import cards_of, priority_of


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
