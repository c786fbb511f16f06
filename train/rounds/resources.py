"""What each stage holds while it runs, and which of two goes first."""

from collections.abc import Mapping
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
