"""Recipe of rounds: the sources, rules and settings of every round, from one TOML file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from imaging.errors import KitError
from imaging.records import Positive, PositiveInt, Share, SignedShare, read_table, to_record
from inference.engines import Precision
from train.data.release import case_list
from train.network.recipe import Training
from train.pseudo_labels.calibration.signals import Signals
from train.pseudo_labels.reliability import MOST_SOURCES

WEIGHTED = "weighted"
FUSIONS = ("class_mix", "agree_or_background", "agree_or_ignore", "vote", "staple")
COMBINATIONS = ("", *FUSIONS, WEIGHTED)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = ("data", "digests", "logs", "snakemake")
MERGES = ("real_only", "real_wins", "annotated_only")


@dataclass(frozen=True)
class Round:
    """One network, and where its labels come from."""

    name: str
    cases: str
    """One of the paper's lists in train/data/cases."""
    sources: tuple[str, ...]
    """Earlier rounds or external pseudo-label sets, in the order that `combine` takes them."""
    combine: str
    """Rule of `train.pseudo_labels.fusion` that makes one map of the sources, "" where there is at
    most one; or "weighted": by what their words are worth on the held-out cases
    (`train.pseudo_labels.weighting`)."""
    least_precision: Share
    """Of "weighted": share of disputed voxels, and of components, that shall be right; 0: all are
    taught."""
    merge: str
    """How that meets the real labels: "real_only", "real_wins" or "annotated_only"."""
    least_agreement: Share
    """Mean DSC of a case's labels with its first source's under which it is left out; 0: never."""

    def __post_init__(self) -> None:
        """Refuse what the stages do not know."""
        where = f"round {self.name!r}"
        if self.combine not in COMBINATIONS:
            raise KitError(
                f"{where}: combine is {self.combine!r}; one of {', '.join(COMBINATIONS)}"
            )
        if self.merge not in MERGES:
            raise KitError(f"{where}: merge is {self.merge!r}; one of {', '.join(MERGES)}")
        if self.combine != WEIGHTED and (len(self.sources) > 1) != bool(self.combine):
            raise KitError(f"{where}: combine is for two sources or more, not {len(self.sources)}")
        if self.combine == WEIGHTED and not 1 <= len(self.sources) <= MOST_SOURCES:
            raise KitError(f"{where}: weighted takes 1 to {MOST_SOURCES} sources")
        if self.least_precision and self.combine != WEIGHTED:
            raise KitError(f"{where}: least_precision is for weighted; give 0")
        if (self.merge == "real_only") != (not self.sources):
            raise KitError(f"{where}: real_only goes without sources, and nothing else does")


@dataclass(frozen=True)
class Stop:
    """When no further round is run; the rounds are compared in their order."""

    least_gain: SignedShare
    """By which a round's mean held-out DSC must be above the one before; -1: all are run."""
    least_change: Share
    """Of the labels: one less their mean DSC with the round before's."""

    @property
    def active(self) -> bool:
        """Whether any round may be the last before the recipe's last."""
        return self.least_gain > -1


@dataclass(frozen=True)
class RoundsRecipe:
    """One recipe, as in train/recipes/."""

    name: str
    seed: int
    spacing_mm: tuple[Positive, Positive, Positive]
    shards: PositiveInt
    """Parts in which cases are labelled, each a job."""
    precision: str
    """Of labelling: "f32", "bf16", or "auto", whichever the CPU has."""
    external: tuple[str, ...]
    """Pseudo-label sets that others made; their folders are given on the command line."""
    held_out: int
    """Of the labelled cases, of each way of annotating, every so-many-th is not trained on: for
    what is learnt of the sources. 0: none."""
    confidence: str
    """What the rounds' networks tell with their labels of how sure they are: "probability",
    "margin" or "entropy". "weighted" then asks a network that instead of where its edges are. "":
    nothing."""
    component_rules: bool
    """Whether every round's network drops the pieces that held-out cases show to be too small to
    believe (`train.pseudo_labels.component_rules`). Labels for later rounds are taken before
    that."""
    stop: Stop
    training: Training
    rounds: tuple[Round, ...]
    sha256: str
    """Of the file."""

    @property
    def bundle(self) -> str:
        """The stage whose files are a round's result: what is scored, and given to others."""
        return "rules" if self.component_rules else "export"

    def step(self, name: str) -> Round:
        """Return a round by its name.

        Raises:
            KitError: There is none.
        """
        for step in self.rounds:
            if step.name == name:
                return step
        known = ", ".join(step.name for step in self.rounds)
        raise KitError(f"no round {name!r} in recipe {self.name!r}; it has {known}")


def load_rounds(path: Path) -> RoundsRecipe:
    """Read a recipe of rounds; its `[phantoms]`, if any, is not of concern here.

    Raises:
        KitError: The file is not TOML, does not say exactly what a recipe says, or a round names a
            list that is not there, or a source that is not there before it.
    """
    table, digest = read_table(path, "recipe")
    table.pop("phantoms", None)
    if not table.get("rounds"):
        raise KitError(f"{path}: no [[rounds]]; this command is for recipes of rounds")
    recipe = to_record(table, RoundsRecipe, f"recipe {path}", known={"sha256": digest})
    _check_rounds(recipe, path)
    return recipe


def _check_rounds(recipe: RoundsRecipe, path: Path) -> None:
    if recipe.precision not in get_args(Precision):
        raise KitError(f"{path}: precision is {recipe.precision!r}; f32, bf16, int8 or auto")
    if recipe.confidence not in ("", *Signals._fields):
        signals = ", ".join(Signals._fields)
        raise KitError(f"{path}: confidence is {recipe.confidence!r}; {signals}, or nothing")
    if recipe.held_out < 0 or recipe.held_out == 1:
        raise KitError(f"{path}: held_out is {recipe.held_out}; 0, or every so-many-th, 2 or more")
    if recipe.component_rules and not recipe.held_out:
        raise KitError(f"{path}: component_rules are chosen on held-out cases; give held_out")
    known = set(recipe.external)
    if recipe.stop.active and not recipe.held_out:
        raise KitError(f"{path}: stop compares rounds on held-out cases; give held_out")
    for step in recipe.rounds:
        case_list(step.cases)
        if step.combine == WEIGHTED and not recipe.held_out:
            raise KitError(f"{path}: round {step.name!r} is weighted; give held_out")
        if unknown := [source for source in step.sources if source not in known]:
            raise KitError(
                f"{path}: round {step.name!r} takes {unknown[0]!r}, which is not before it"
            )
        if step.name in known:
            raise KitError(f"{path}: there are two sources called {step.name!r}")
        if not _NAME.fullmatch(step.name) or step.name in _TAKEN:
            raise KitError(f"{path}: round {step.name!r}: choose a name that can be a folder's")
        known.add(step.name)
