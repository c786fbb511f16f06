"""From a recipe to its stages, and what they will take."""

from collections.abc import Sequence
from dataclasses import dataclass

from inference.errors import KitError
from train.fusion import ORGAN_LABELS
from train.release import Case, case_list
from train.rounds.recipe import GROUPS, Round, RoundsRecipe

KINDS = ("data", "fuse", "select", "train", "export", "label", "score")
"""In the order of a round."""


@dataclass(frozen=True)
class Stage:
    """One step of a run; its files are in RUN/<key>."""

    round: str
    """"" for the release's own stage, `data`."""
    kind: str
    part: int | None
    """Of a labelling: which of the recipe's shards, from 0."""
    needs: tuple[str, ...]
    """Keys of the stages whose files it reads."""

    @property
    def key(self) -> str:
        """Path under the run folder."""
        parts = (self.round, self.kind, None if self.part is None else f"part{self.part:03d}")
        return "/".join(part for part in parts if part)


def expand(recipe: RoundsRecipe, *, scored: bool) -> tuple[Stage, ...]:
    """Return the stages of a recipe, each after those it needs.

    Args:
        recipe: What to run.
        scored: Whether there is a truth to score every round's network with.
    """
    stages = [Stage("", "data", None, ())]
    for step in recipe.rounds:
        parts = [
            f"{source}/label/part{part:03d}"
            for source in step.sources
            if source not in recipe.external
            for part in range(recipe.shards)
        ]
        name = step.name
        stages += [
            Stage(name, "fuse", None, ("data", *parts)),
            Stage(name, "select", None, ("data", f"{name}/fuse")),
            Stage(name, "train", None, ("data", f"{name}/fuse", f"{name}/select")),
            Stage(name, "export", None, (f"{name}/train",)),
        ]
        if consumers(recipe, name):
            stages += [
                Stage(name, "label", part, ("data", f"{name}/export"))
                for part in range(recipe.shards)
            ]
        if scored:
            stages.append(Stage(name, "score", None, ("data", f"{name}/export")))
    return tuple(stages)


def consumers(recipe: RoundsRecipe, name: str) -> tuple[Round, ...]:
    """Return the rounds that take their labels from round `name`."""
    return tuple(step for step in recipe.rounds if name in step.sources)


def cases_of(step: Round, cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return the cases of a round, in the order of `cases`.

    Raises:
        KitError: There are none.
    """
    pool = [case for case in cases if case.subset != "validation"]
    if step.cases in GROUPS:
        found = tuple(case for case in pool if _is_of(case, step.cases))
    else:
        wanted = set(case_list(step.cases))
        found = tuple(case for case in pool if case.case in wanted)
    if step.merge == "real_only":
        found = tuple(case for case in found if case.label is not None)
    if not found:
        raise KitError(f"round {step.name!r}: no case of {step.cases!r} in this release")
    return found


def _is_of(case: Case, group: str) -> bool:
    if group == "complete":
        return case.label is not None and ORGAN_LABELS <= set(case.drawn)
    return group == "all" or case.label is not None


def cases_to_label(recipe: RoundsRecipe, name: str, cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return the cases that round `name` labels for the rounds after it."""
    wanted = {case.case for step in consumers(recipe, name) for case in cases_of(step, cases)}
    return tuple(case for case in cases if case.case in wanted)


def expected_cases(step: Round) -> int | None:
    """Return how many cases a round has in the whole release; None where only the data tell."""
    return None if step.cases in GROUPS else len(case_list(step.cases))
