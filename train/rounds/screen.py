"""What the rounds of a run reached: a table on the screen and on disk."""

import csv

from rich.console import Console
from rich.table import Table

from evaluation.scores import Scores, load_scores
from inference.files import replacing
from train.rounds.run import Run

_COLUMNS = ("round", "cases", "organ DSC", "organ NSD", "tumour DSC", "tumour NSD")


def show_rounds(run: Run) -> None:
    """Print the score of every round that was scored, and write RUN/rounds.csv."""
    rows = [
        _row(step.name, load_scores(path))
        for step in run.recipe.rounds
        if (path := run.folder / step.name / "score" / "scores.json").is_file()
    ]
    if not rows:
        return
    with (
        replacing(run.folder / "rounds.csv") as partial,
        partial.open("w", newline="", encoding="utf-8") as stream,
    ):
        csv.writer(stream).writerows([_COLUMNS, *rows])
    table = Table(
        *_COLUMNS, title=f"{run.recipe.name}: every round's network on the validation cases"
    )
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _row(name: str, scores: Scores) -> tuple[str, ...]:
    means = [scores.means[metric][key] for key in ("organs", "tumour") for metric in ("dsc", "nsd")]
    values = ["" if mean.value is None else f"{mean.value:.4f}" for mean in means]
    return (name, str(len(scores.cases)), *values)
