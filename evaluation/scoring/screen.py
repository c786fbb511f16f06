"""`score` for people: progress while it runs, tables and files when it is done."""

from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from evaluation.scoring.folders import SUFFIX, Scoring, case_of_map, map_files, score_folder
from evaluation.scoring.log import log_scoring
from evaluation.scoring.strata import read_strata, stratify, write_strata
from evaluation.scoring.tables import show_scores, write_long_csv, write_official_csv
from imaging.files import RESULTS, make_folder, passed_over, passed_over_message
from imaging.left_over import left_over, left_over_message
from imaging.terminal import terminal, warn


@dataclass(frozen=True)
class Extras:
    """What is reported beside the scores, on request."""

    strata: Path | None = None
    """CSV file: properties of the cases."""
    references: tuple[str, ...] = ()
    """"COLUMN=VALUE": the strata that others are compared with."""
    log: Path | None = None
    """File that gets a line for this scoring."""


def score_on_screen(
    scoring: Scoring,
    output: Path,
    images: Path | None,
    report: bool,
    view: bool,
    extras: Extras = Extras(),
) -> tuple[str, ...]:
    """Score a folder, write the results into `output`, print the tables.

    Returns:
        Names of the cases that have an error or a warning.

    Raises:
        KitError: Nothing can be scored, or `output` cannot be written.
    """
    make_folder(output)
    if scoring.truth.is_dir() and (passed := passed_over(scoring.truth, SUFFIX, beside=RESULTS)):
        warn(passed_over_message(passed, scoring.truth))
    truths = {case_of_map(path) for path in map_files(scoring.truth)}
    if truths and (others := left_over(scoring.pred, SUFFIX, truths)):
        warn(left_over_message(others, scoring.pred, "without a truth"))
    table = read_strata(extras.strata) if extras.strata is not None else None
    columns = (TextColumn("score"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal(stderr=True), transient=True) as progress:
        task = progress.add_task("score", total=len(truths))
        scores = score_folder(scoring, lambda case: progress.advance(task))
    if table is not None:
        scores = replace(scores, by_stratum=stratify(scores, table, extras.references))
        write_strata(scores.by_stratum, output / "strata.csv")
    if extras.log is not None:
        scores = replace(scores, looks=log_scoring(scores, scoring.truth, extras.log))
    scores.write(output / "scores.json")
    write_official_csv(scores, output / "scores.csv")
    write_long_csv(scores, output / "labels.csv")
    if report:
        from evaluation.report import write_report

        page = output / "report.html"
        write_report(scores, page, scoring.truth, scoring.pred, images, view=view)
    show_scores(scores, terminal())
    return tuple(case.case for case in scores.problems)
