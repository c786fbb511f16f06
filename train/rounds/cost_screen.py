"""`train estimate`: three tables, and where their figures come from."""

from pathlib import Path

from rich.table import Table

from imaging.fitted_tables import numbers_table, show_table
from imaging.terminal import terminal
from imaging.words import number_of
from train.data.release import list_cases
from train.rounds.cost import MEDIAN_MM, PREPARING_CORES, RecipeCost
from train.rounds.graph import expand
from train.rounds.hardware import A100, CARDS, H200
from train.rounds.recipe import RoundsRecipe
from train.rounds.schedule import memory_gb
from train.rounds.time_left import duration
from train.synthesis.phantom_release import Phantoms, phantom_cases

NUMBERS_OF_CARDS = (1, 4, 8)
SOURCES = (
    "Measured: training on an A100: 26.9 s an epoch of 250 steps of two patches 48×128×160 (the "
    "blackbean team's FLARE23 log), taken as proportional to steps and voxels; where a recipe "
    "leaves the patch to nnU-Net, as if it were that one. What deterministic kernels and the "
    "marginal loss cost on a card: not measured, not in it.",
    "Measured: labelling: 9.3 ms a window of 48×128×160 on an H200 (docs/gpu.md), and 2.7 s on two "
    "cores for the rest of a case (docs/results/speed_default_size.json). Windows: half a patch "
    "apart, all over the median case.",
    "Measured: CPU seconds of preparing a case and drawing a batch, on one core of a Xeon "
    "(docs/results/feeding_*.json). Reading the release, fusing and selecting are not counted.",
    "Scaled, not measured: all other cards, and what of the A100 and the H200 is not named above. "
    "The two ends are the ratios of the published peaks of arithmetic in float16 and of memory "
    "bandwidth.",
    "GPU memory, not measured: nnU-Net's planner's rule (8 GB for 560 million values of feature "
    "maps and two patches). Labelling takes less.",
    "Disk: the median case of the team's fingerprint (159.5×496×497 voxels of 2.5×0.82×0.82 mm), "
    "or a phantom of the recipe's, at its spacing in float32. nnU-Net compresses, so it will be "
    "less; it is deleted when the round is trained. CTs are linked, not copied.",
    f"With several cards: the slower end of each span; cases are prepared by {PREPARING_CORES} "
    "cores. RAM: what the stages of that moment ask of a cluster. More cards than trainings at "
    "once shorten the labelling alone: each round waits for the one before it. While cases are "
    "prepared, their training holds its card.",
)


def show_costs(recipe: RoundsRecipe, release: Path | None, phantoms: Phantoms | None) -> None:
    """Print what a recipe will take: by round, by card, and by the number of cards.

    Args:
        recipe: What will be run.
        release: Where its cases are; None where it is not there yet.
        phantoms: The recipe's own, which are counted then, if it has any.

    Raises:
        KitError: The release is not laid out as one.
    """
    names = None
    if release is not None:
        names = {case.case for case in list_cases(release)}
    elif phantoms is not None:
        names = {case.case for case in phantom_cases(phantoms)}
    estimate = RecipeCost(recipe, names, MEDIAN_MM if phantoms is None else phantoms.mm)
    console = terminal()
    for table in (_by_round(estimate), _by_card(estimate), _by_number(estimate)):
        show_table(table, console)
    if release is None and phantoms is not None:
        console.print("Cases: those that `train phantoms` makes of this recipe.", highlight=False)
    for source in SOURCES:
        console.print(source, highlight=False)


def _by_round(estimate: RecipeCost) -> Table:
    rows, recipe = estimate.rounds, estimate.recipe
    count = len(expand(recipe, scored=False))
    title = f"{recipe.name}: {number_of(len(rows), 'round')}, {number_of(count, 'stage')}"
    headings = ("round", "labels", "cases", "labels for", "CPU h", "disk GB")
    table = numbers_table(*headings, title=title)
    table.show_footer, table.columns[1].justify = True, "left"
    for row in rows:
        found = "" if estimate.names is None else f"{row.counted:,} of "
        numbers = (f"{row.cpu_hours:,.1f}", f"{row.disk_gb:,.1f}")
        labelled = f"{row.labelled + row.judged:,}"
        table.add_row(row.round, row.labels, f"{found}{row.cases:,}", labelled, *numbers)
    table.columns[0].footer = "all"
    table.columns[3].footer = f"{estimate.labelled:,}"
    table.columns[4].footer = f"{sum(row.cpu_hours for row in rows):,.1f}"
    table.columns[5].footer = f"{max(row.disk_gb for row in rows):,.1f}"
    return table


def _by_card(estimate: RecipeCost) -> Table:
    trainings = len(estimate.rounds)
    title = (
        f"on one card: {number_of(trainings, 'training')} of {estimate.training_gb():.1f} GB, "
        f"{number_of(estimate.labelled, 'case')}"
    )
    headings = ("card", "GB", "train h", "label h", "cores", "figures")
    table = numbers_table(*headings, title=title)
    table.columns[-1].justify = "left"
    known = {A100: "train measured", H200: "label measured"}
    for card in CARDS:
        hours = estimate.train_hours(card).times(trainings), estimate.label_hours(card)
        spans = (*hours, estimate.cores_to_feed(card))
        texts = (span.text for span in spans)
        table.add_row(card.name, str(card.memory_gb), *texts, known.get(card, "scaled"))
    return table


def _by_number(estimate: RecipeCost) -> Table:
    title = f"with several {A100.name}s of {A100.memory_gb} GB in one machine"
    headings = ("cards", "from start to end", "trainings at once", "RAM GB", "disk GB")
    table = numbers_table(*headings, title=title)
    least = estimate.recipe.training.gpus
    for cards in (max(least, number) for number in NUMBERS_OF_CARDS):
        schedule = estimate.schedule(A100, cards)
        amounts = (lambda stage: stage.kind == "train", memory_gb, estimate.disk_gb)
        numbers = (f"{schedule.highest(amount):,.0f}" for amount in amounts)
        table.add_row(str(cards), duration(schedule.hours * 3600), *numbers)
    return table
