"""`score` for people: progress while it runs, tables and files when it is done."""

from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evaluation.scoring.folders import SUFFIX, Scoring, case_name, score_folder
from evaluation.scoring.scores import CaseScores
from evaluation.scoring.tables import show_scores, write_long_csv, write_official_csv
from imaging.errors import KitError
from imaging.files import RESULTS, passed_over, passed_over_message
from imaging.left_over import left_over, left_over_message
from imaging.terminal import terminal, warn


def score_on_screen(
    scoring: Scoring, output: Path, images: Path | None, report: bool
) -> tuple[str, ...]:
    """Score a folder, write the results into `output`, print the tables.

    Returns:
        Names of the cases that have an error or a warning.

    Raises:
        KitError: Nothing can be scored, or `output` cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KitError(f"cannot make {output}: {error.strerror}; choose another -o") from error
    if scoring.truth.is_dir() and (passed := passed_over(scoring.truth, SUFFIX, beside=RESULTS)):
        message = passed_over_message(passed, scoring.truth)
        terminal(stderr=True).print(message, soft_wrap=True, highlight=False)
    _name_left_over(scoring)
    columns = (TextColumn("score"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    total = len(list(scoring.truth.glob(f"[!.]*{SUFFIX}")))
    with Progress(*columns, console=terminal(stderr=True), transient=True) as progress:
        task = progress.add_task("score", total=total)

        def done(case: CaseScores) -> None:
            progress.advance(task)

        scores = score_folder(scoring, done)
    scores.write(output / "scores.json")
    write_official_csv(scores, output / "scores.csv")
    write_long_csv(scores, output / "labels.csv")
    if report:
        from evaluation.report import write_report

        write_report(scores, output / "report.html", scoring.truth, scoring.pred, images)
    show_scores(scores, terminal())
    return tuple(case.case for case in scores.problems)


def _name_left_over(scoring: Scoring) -> None:
    """Name predictions that are not scored, because there is no truth of that name."""
    truths = {case_name(path) for path in scoring.truth.glob(f"[!.]*{SUFFIX}")}
    if truths and (others := left_over(scoring.pred, SUFFIX, truths)):
        warn(left_over_message(others, scoring.pred, "without a truth"))
