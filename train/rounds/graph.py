"""The graph of a recipe's stages, with the inputs of each and the cases of each round."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import inference
from imaging.errors import KitError
from train.data.release import Case, case_list
from train.rounds.recipe import WEIGHTED, Round, RoundsRecipe


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
    external: tuple[str, ...] = ()
    """External sources that it reads."""

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
        name, earlier = step.name, [one for one in step.sources if one not in recipe.external]
        external = tuple(source for source in step.sources if source in recipe.external)
        read = [part.key for source in earlier for part in _labelling(recipe, source)]
        if step.combine == WEIGHTED:
            read += [f"{source}/judge" for source in earlier]
        stages += [
            Stage(name, "fuse", None, ("data", *read), external),
            Stage(name, "select", None, ("data", f"{name}/fuse")),
            Stage(name, "train", None, ("data", f"{name}/fuse", f"{name}/select")),
            Stage(name, "export", None, (f"{name}/train",)),
        ]
        if consumers(recipe, name):
            stages += _labelling(recipe, name)
        if recipe.held_out:
            stages.append(Stage(name, "judge", None, ("data", f"{name}/export")))
        if recipe.component_rules:
            needs = ("data", f"{name}/export", f"{name}/judge")
            stages.append(Stage(name, "rules", None, needs))
        if scored:
            stages.append(Stage(name, "score", None, ("data", f"{name}/{recipe.bundle}")))
    return tuple(stages)


def _labelling(recipe: RoundsRecipe, name: str) -> list[Stage]:
    """Return the stages in which round `name` labels the cases of later rounds."""
    parts = range(recipe.shards)
    return [Stage(name, "label", part, ("data", f"{name}/export")) for part in parts]


def find_stage(recipe: RoundsRecipe, name: str, kind: str, part: int | None) -> Stage:
    """Return the stage of that round, kind and part.

    Raises:
        KitError: The recipe has none.
    """
    for stage in expand(recipe, scored=True):
        if (stage.round, stage.kind, stage.part) == (name, kind, part):
            return stage
    wanted = Stage(name, kind, part, ()).key
    raise KitError(
        f"recipe {recipe.name!r} has no stage {wanted}; its rounds are "
        f"{', '.join(step.name for step in recipe.rounds)}, its labelling has {recipe.shards} parts"
    )


def consumers(recipe: RoundsRecipe, name: str) -> tuple[Round, ...]:
    """Return the rounds that take their labels from round `name`."""
    return tuple(step for step in recipe.rounds if name in step.sources)


def held_out(recipe: RoundsRecipe, cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return the labelled cases that no round is trained on: every so-many-th of each annotation.

    Cases count as annotated alike if the same classes were looked for in them.
    """
    if not recipe.held_out:
        return ()
    alike: dict[tuple[int, ...], list[Case]] = {}
    for case in cases:
        if case.label is not None:
            alike.setdefault(case.annotated, []).append(case)
    chosen = {
        c.case for group in alike.values() for c in group[recipe.held_out - 1 :: recipe.held_out]
    }
    return tuple(case for case in cases if case.case in chosen)


def cases_of(recipe: RoundsRecipe, step: Round, cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return the cases that a round is trained on, in the order of `cases`.

    Raises:
        KitError: There are none.
    """
    wanted = set(case_list(step.cases)) - {case.case for case in held_out(recipe, cases)}
    found = tuple(case for case in cases if case.case in wanted)
    if step.merge == "real_only":
        found = tuple(case for case in found if case.label is not None)
    if not found:
        raise KitError(f"round {step.name!r}: no case of its list {step.cases!r} in this release")
    return found


def cases_to_label(recipe: RoundsRecipe, name: str, cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return the cases that round `name` labels for the rounds after it."""
    wanted = {
        case.case for step in consumers(recipe, name) for case in cases_of(recipe, step, cases)
    }
    return tuple(case for case in cases if case.case in wanted)


def settings_of(recipe: RoundsRecipe, stage: Stage, device: str) -> dict[str, Any]:
    """Return what decides a stage's result besides files: when it changes, the stage is stale."""
    training = recipe.training
    found: dict[str, Any] = {"kit": inference.__version__}
    if stage.kind in ("fuse", "select"):
        found |= asdict(recipe.step(stage.round)) | {"held_out": recipe.held_out}
    elif stage.kind == "train":
        found |= {"name": recipe.name, "seed": recipe.seed, "spacing_mm": recipe.spacing_mm}
        found |= {"training": asdict(training), "device": device}
    elif stage.kind == "export":
        found |= {"name": recipe.name, "threads": training.threads}
    elif stage.kind in ("label", "judge", "score"):
        found |= {"precision": recipe.precision, "threads": training.threads}
        found |= {"device": device}
    if stage.kind in ("label", "judge", "rules"):
        found |= {"held_out": recipe.held_out}
    if recipe.confidence and stage.kind in ("label", "judge", "fuse"):  # "" changes no stage
        found |= {"confidence": recipe.confidence}
    if stage.kind == "label":
        found |= {"cases": [step.cases for step in consumers(recipe, stage.round)]}
        found |= {"shards": recipe.shards}
    return found
