"""Estimate what a recipe needs before it is run; every estimate names its source."""

import math
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from imaging.fitted_tables import show_table
from imaging.terminal import terminal
from imaging.words import number_of
from train.data.release import Layout, case_list, list_cases
from train.network.recipe import Training
from train.rounds.graph import consumers, expand
from train.rounds.recipe import Round, RoundsRecipe
from train.synthesis.phantom_release import Phantoms, phantom_cases

# The blackbean team's FLARE23 training, as published with its code (Ziyan-Huang/FLARE23: log,
# plans, fingerprint of 3,918 cases, assets/efficiency.png).
EPOCH_S, EPOCH_STEPS, STEP_VOXELS = 26.9, 250, 2 * 48 * 128 * 160
CASE_S = 11.92
MEDIAN_MM3 = 159.5 * 496 * 497 * 2.5 * 0.8203**2
IMAGE_BYTES = 4
"""nnU-Net keeps preprocessed images in float32."""
SOURCES = (
    f"GPU-hours: {EPOCH_S} s an epoch of {EPOCH_STEPS} steps of two patches 48×128×160 on one "
    "A100 (the blackbean team's FLARE23 log), taken as proportional to steps and voxels; where a "
    "recipe leaves the patch to nnU-Net, as if it were that one.",
    f"Labelling: {CASE_S} s a case (the same team's assets/efficiency.png, start-up included).",
    "Disk: the median case of their fingerprint (159.5×496×497 voxels of 2.5×0.82×0.82 mm), or a "
    "phantom of the recipe's, at its spacing in float32. nnU-Net compresses, so it will be less; "
    "it is deleted when the round is trained. CTs are linked, not copied.",
)


@dataclass(frozen=True)
class Cost:
    """What one round will take."""

    round: str
    cases: int
    """In its list."""
    found: int | None
    """Of these in the release; None where none was given."""
    labels: str
    labelled: int
    """Cases that it labels for later rounds."""
    train_hours: float
    label_hours: float
    disk_gb: float


def costs(
    recipe: RoundsRecipe, names: Set[str] | None = None, case_mm3: float = MEDIAN_MM3
) -> tuple[Cost, ...]:
    """Return what each round will take.

    Args:
        recipe: What will be run.
        names: The release's cases; without them the lists are taken for whole.
        case_mm3: Volume of a case.
    """

    def counted(lists: set[str]) -> int:
        wanted = set().union(*(case_list(name) for name in lists))
        return len(wanted if names is None else wanted & names)

    rows = []
    for step in recipe.rounds:
        count = counted({step.cases})
        labelled = counted({other.cases for other in consumers(recipe, step.name)})
        rows.append(
            Cost(
                step.name,
                len(case_list(step.cases)),
                None if names is None else count,
                _labels(step),
                labelled,
                training_hours(recipe.training),
                labelled * CASE_S / 3600,
                count * case_mm3 / math.prod(recipe.spacing_mm) * IMAGE_BYTES / 1e9,
            )
        )
    return tuple(rows)


def training_hours(training: Training) -> float:
    """Return hours on one A100."""
    voxels = training.batch * math.prod(training.patch) if training.patch else STEP_VOXELS
    epochs = training.epochs * training.iterations / EPOCH_STEPS
    return EPOCH_S * epochs * voxels / STEP_VOXELS / 3600


def _labels(step: Round) -> str:
    sources = " and ".join(step.sources)
    by = f" by {step.combine}" if step.combine else ""
    return f"{step.merge} with {sources}{by}" if sources else step.merge


def show_costs(recipe: RoundsRecipe, release: Path | None, phantoms: Phantoms | None) -> None:
    """Print a recipe's rounds with what they will take.

    Args:
        recipe: What will be run.
        release: Where its cases are; None where it is not there yet.
        phantoms: The recipe's own, which are counted then, if it has any.

    Raises:
        KitError: The release is not laid out as one.
    """
    names = None
    if release is not None:
        names = {case.case for case in list_cases(release, Layout())}
    elif phantoms is not None:
        names = {case.case for case in phantom_cases(phantoms)}
    rows = costs(recipe, names, MEDIAN_MM3 if phantoms is None else phantoms.mm3)
    count = len(expand(recipe, scored=False))
    table = Table(
        "round", "labels",
        *("cases", "labels for", "train h", "label h", "disk GB"),
        title=f"{recipe.name}: {number_of(len(rows), 'round')}, {number_of(count, 'stage')}",
        show_footer=True,
    )  # fmt: skip
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        found = "" if row.found is None else f"{row.found:,} of "
        numbers = (row.train_hours, row.label_hours, row.disk_gb)
        table.add_row(
            row.round,
            row.labels,
            f"{found}{row.cases:,}",
            f"{row.labelled:,}",
            *(f"{number:,.1f}" for number in numbers),
        )
    table.columns[0].footer = "all"
    table.columns[4].footer = f"{sum(row.train_hours for row in rows):,.1f}"
    table.columns[5].footer = f"{sum(row.label_hours for row in rows):,.1f}"
    table.columns[6].footer = f"{max(row.disk_gb for row in rows):,.1f}"
    console = terminal()
    show_table(table, console)
    if release is None and phantoms is not None:
        console.print("Cases: those that `train phantoms` makes of this recipe.", highlight=False)
    for source in SOURCES:
        console.print(source, highlight=False)
