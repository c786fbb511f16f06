"""Print and save the scores of a run's rounds, and the decision whether to go on."""

from evaluation.scoring.scores import Scores, load_scores
from imaging.fitted_tables import numbers_table, show_table
from imaging.tables import write_csv
from imaging.terminal import terminal, warn
from train.rounds.run import Run
from train.rounds.stopping import decide, judged_rounds, write_decisions

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
    write_csv(run.folder / "rounds.csv", _COLUMNS, rows)
    title = f"{run.recipe.name}: every round's network on validation cases"
    table = numbers_table(*_COLUMNS, title=title)
    for row in rows:
        table.add_row(*row)
    show_table(table, terminal())


def show_decision(run: Run, count: int) -> bool:
    """Print what the last of the first `count` rounds did, and write all decisions to stop.json.

    Returns:
        Whether another round should be run.

    Raises:
        KitError: A file of the run is missing or cannot be read.
    """
    rounds = judged_rounds(run, count)
    decisions = [decide(rounds[:n], run.recipe.stop) for n in range(2, count + 1)]
    write_decisions(decisions, run.folder / "stop.json")
    if not decisions:
        return True
    last = decisions[-1]
    console = terminal(stderr=True)
    low, high = last.interval
    console.print(
        f"{last.round}: {last.reason} (95 %: {low:+.4f} to {high:+.4f}); "
        f"labels changed by {last.change:.4f}"
    )
    for sign in last.signs:
        warn(f"  sign of failure: {sign}")
    if not last.go_on:
        warn(f"  no further round; use {last.use}")
    return last.go_on


def _row(name: str, scores: Scores) -> tuple[str, ...]:
    means = [scores.means[metric][key] for key in ("organs", "tumour") for metric in ("dsc", "nsd")]
    values = ["" if mean.value is None else f"{mean.value:.4f}" for mean in means]
    return (name, str(len(scores.cases)), *values)
