"""Estimate what a recipe needs before it is run; every estimate names its source."""

import math
from collections.abc import Iterable, Set
from dataclasses import dataclass
from functools import cached_property

from imaging.geometry import Shape
from inference.sliding_window import Window, window_count
from train.data.release import case_list
from train.network.recipe import Training
from train.rounds import hardware
from train.rounds.graph import Stage, consumers, expand
from train.rounds.hardware import Card, Span
from train.rounds.recipe import Round, RoundsRecipe
from train.rounds.schedule import Schedule, planned

# The blackbean team's fingerprint of 3,918 cases of FLARE23.
MEDIAN_SHAPE, MEDIAN_SPACING_MM = (159.5, 496, 497), (2.5, 0.8203, 0.8203)
MEDIAN_MM = tuple(n * mm for n, mm in zip(MEDIAN_SHAPE, MEDIAN_SPACING_MM, strict=True))
IMAGE_BYTES = 4
"""nnU-Net keeps preprocessed images in float32."""
CLASSES = 15
PREPARING_CORES = 16
"""That prepare the cases of a training at once."""
_STEP = 0.5
"""Between windows, as in a network that was exported in a round."""


@dataclass(frozen=True)
class Cost:
    """What one round will take."""

    round: str
    cases: int
    """In its list."""
    labels: str
    counted: int
    """Cases that are prepared and trained on: those of its list that the release has."""
    labelled: int
    """Cases that it labels for later rounds."""
    judged: int
    """Cases that are held out, which it labels too."""
    disk_gb: float
    cpu_hours: float


class RecipeCost:
    """What a recipe will take, on some card and on several."""

    def __init__(
        self,
        recipe: RoundsRecipe,
        names: Set[str] | None = None,
        case_mm: tuple[float, ...] = MEDIAN_MM,
    ) -> None:
        """Count.

        Args:
            recipe: What will be run.
            names: The release's cases; without them the lists are taken for whole.
            case_mm: Extents of a case (Z, Y, X).
        """
        self.recipe = recipe
        self.names = names
        self._case_voxels = math.prod(case_mm) / math.prod(recipe.spacing_mm)
        sizes = zip(case_mm, recipe.spacing_mm, strict=True)
        self._case_shape = _shape(max(1, round(size / mm)) for size, mm in sizes)

    @cached_property
    def rounds(self) -> tuple[Cost, ...]:
        """What each round takes."""
        return tuple(self._of_round(step) for step in self.recipe.rounds)

    def _of_round(self, step: Round) -> Cost:
        counted = self._counted({step.cases})
        labelled = self._counted({other.cases for other in consumers(self.recipe, step.name)})
        judged = self._counted({"partially_labelled"}) if self.recipe.held_out else 0
        judged //= max(1, self.recipe.held_out)
        cpu_s = counted * hardware.PREPARE_S + self._steps * self.draw_s
        cpu_s += (labelled + judged) * hardware.REST_S * hardware.REST_CORES
        return Cost(
            step.name,
            len(case_list(step.cases)),
            _labels(step),
            counted,
            labelled,
            judged,
            counted * self._case_voxels * IMAGE_BYTES / 1e9,
            cpu_s / 3600,
        )

    def _counted(self, lists: set[str]) -> int:
        wanted = set().union(*(case_list(name) for name in lists))
        return len(wanted if self.names is None else wanted & self.names)

    @property
    def _steps(self) -> int:
        return self.recipe.training.epochs * self.recipe.training.iterations

    def _step_s(self, card: Card) -> Span:
        seconds = hardware.STEP_S * self._batch_voxels / hardware.STEP_VOXELS
        return hardware.on_card(seconds, hardware.A100, card)

    @property
    def _batch_voxels(self) -> int:
        training = self.recipe.training
        return training.batch * math.prod(training.patch or hardware.STEP_PATCH)

    @property
    def draw_s(self) -> float:
        """CPU seconds of a batch."""
        return hardware.DRAW_VOXEL_S * self._batch_voxels

    def train_hours(self, card: Card) -> Span:
        """Return the hours of a round's training, without the preparation of its cases.

        Several cards that train one network together are at least as fast as one.
        """
        hours = self._step_s(card).times(self._steps / 3600)
        return Span(hours.least / self.recipe.training.gpus, hours.most)

    def case_hours(self, card: Card) -> Span:
        """Return the hours of a case that is labelled."""
        training, shape = self.recipe.training, self._case_shape
        patch = _patch(training)
        windows = window_count(shape, Window(patch, _STEP, "gaussian", ((),)))
        return hardware.case_s(card, windows, patch).times(1 / 3600)

    @property
    def labelled(self) -> int:
        """Cases that the rounds label, held-out ones too."""
        return sum(cost.labelled + cost.judged for cost in self.rounds)

    def label_hours(self, card: Card) -> Span:
        """Return the hours of all that is labelled."""
        return self.case_hours(card).times(self.labelled)

    def cores_to_feed(self, card: Card) -> Span:
        """Return how many cores draw batches as fast as a card takes them."""
        step_s = self._step_s(card)
        return Span(self.draw_s / step_s.most, self.draw_s / step_s.least)

    def training_gb(self) -> float:
        """Return the memory that a training takes of each of its cards."""
        from train.network.planning import feature_map_voxels  # nnU-Net

        training, patch = self.recipe.training, _patch(self.recipe.training)
        trained_on = training.patch or patch
        values = feature_map_voxels(training, self.recipe.spacing_mm, trained_on, CLASSES)
        return hardware.training_gb(values, math.ceil(training.batch / training.gpus))

    def schedule(self, card: Card, cards: int) -> Schedule:
        """Return when the stages run on a machine with so many cards: the slower end of spans."""
        train, case = self.train_hours(card).most, self.case_hours(card).most
        hours = {}
        for cost in self.rounds:
            prepared_s = cost.counted * hardware.PREPARE_S / PREPARING_CORES
            hours[cost.round, "train"] = train + prepared_s / 3600
            hours[cost.round, "label"] = math.ceil(cost.labelled / self.recipe.shards) * case
            hours[cost.round, "judge"] = cost.judged * case
        stages = expand(self.recipe, scored=False)
        known = {stage.key: hours.get((stage.round, stage.kind), 0.0) for stage in stages}
        return planned(stages, self.recipe.training, known, cards)

    def disk_gb(self, stage: Stage) -> float:
        """Return what the prepared cases of a stage take while it runs."""
        costs = (cost for cost in self.rounds if cost.round == stage.round)
        return next(costs).disk_gb if stage.kind == "train" else 0.0


def _shape(sizes: Iterable[int]) -> Shape:
    z, y, x = sizes
    return z, y, x


def _patch(training: Training) -> Shape:
    """Return the patch in which a network predicts."""
    return _shape(training.window or training.patch or hardware.STEP_PATCH)


def _labels(step: Round) -> str:
    sources = " and ".join(step.sources)
    by = f" by {step.combine}" if step.combine else ""
    return f"{step.merge} with {sources}{by}" if sources else step.merge
