"""Command line of the evaluation: parse, call one function, report."""

from pathlib import Path
from typing import Any

import click

from evaluation.claims.cli import claims
from evaluation.efficiency.cli import efficiency
from evaluation.options import (
    ANNOTATED,
    GPU_INDEX,
    MEMORY_LIMIT,
    OUTPUT,
    PATH,
    PROFILE,
    SPLIT,
    TIME_LIMIT,
    TIMEOUT,
    jobs,
)
from imaging.commands import CommandGroup
from imaging.errors import KitError
from imaging.words import number_of


@click.group(cls=CommandGroup)
def main() -> None:
    """Score label maps."""


@main.command()
@click.option("--truth", required=True, type=PATH, help="Folder of <case>.nii.gz: the cases.")
@click.option("--pred", required=True, type=PATH, help="Folder of files of the same names.")
@OUTPUT
@click.option(
    "--rules", type=click.Choice(["official", "fixed"]), default="official", show_default=True
)
@PROFILE
@click.option(
    "--low-dsc",
    type=click.FloatRange(0, 1),
    help="Official rules: below it the NSD is 0. By default the profile's, for FLARE23 0.2; its "
    "script had 0.1 until 2024-03-18.",
)
@click.option(
    "--missing",
    type=click.Choice(["fail", "zero"]),
    default="fail",
    show_default=True,
    help="A case without a usable prediction is left out, or counts 0 as in the challenge.",
)
@ANNOTATED
@jobs("Processes")
@click.option(
    "--team", default="", help="Whose predictions: for tables. By default the folder's name."
)
@SPLIT
@click.option(
    "--images", type=PATH, help="Folder of <case>_0000.nii.gz, for the report's pictures."
)
@click.option(
    "--report/--no-report", default=True, show_default=True, help="Write report.html too."
)
@click.option("--strata", type=PATH, help="CSV file: case, and columns such as phase or vendor.")
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="What the other strata are compared with; by default the largest.",
)
@click.option(
    "--log",
    type=PATH,
    envvar="FLARE23_LOOKS",
    show_envvar=True,
    help="File that gets a line a scoring, and says how often it was before.",
)
@click.option(
    "--view/--no-view",
    default=True,
    show_default=True,
    help="With --images: a page of each of the six worst cases too, view/<case>.html (3 MB each).",
)
def score(
    output: Path,
    images: Path | None,
    report: bool,
    view: bool,
    strata: Path | None,
    references: tuple[str, ...],
    log: Path | None,
    profile: Any,
    **options: Any,
) -> None:
    """DSC and NSD of every case and label: scores.csv, labels.csv, scores.json, report.html.

    Exit code 1: a case could not be scored, or needs a look; the others are done.
    """
    from evaluation.profiles.profile import FLARE23
    from evaluation.scoring.folders import Scoring
    from evaluation.scoring.screen import Extras, score_on_screen

    if references and strata is None:
        raise click.UsageError("--reference needs --strata")
    extras = Extras(strata, references, log)
    scoring = Scoring(**options, profile=profile or FLARE23)
    odd = score_on_screen(scoring, output, images, report, view, extras)
    if odd:
        count = number_of(len(odd), "case needs", "cases need")
        raise KitError(f"{count} a look: {', '.join(odd)}; the reasons are above")


@main.command()
@click.argument("image")
@click.option("--cases", required=True, type=PATH, help="Folder of <case>_0000.nii.gz.")
@OUTPUT
@click.option(
    "--archive-limit",
    "archive_limit_mb",
    type=click.FloatRange(min=0),
    help="Megabytes that the archive may have.",
)
@click.option(
    "--same-as",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Archive that this one should equal, file by file.",
)
@TIMEOUT
@TIME_LIMIT
@MEMORY_LIMIT
@GPU_INDEX
def submission(
    image: str,
    cases: Path,
    output: Path,
    archive_limit_mb: float | None,
    same_as: Path | None,
    timeout: float,
    time_limit: float,
    memory_limit: float,
    gpu_index: int,
) -> None:
    """Check IMAGE, the NAME of a loaded image or its archive NAME.tar.gz, as the organisers would.

    Exit code 1: a rule failed.
    """
    from evaluation.efficiency.protocol import Protocol
    from evaluation.efficiency.results import ChallengeLimits
    from evaluation.submission.check import CheckRequest
    from evaluation.submission.screen import check_submission_on_screen
    from inference.pipeline import find_cases

    settings = Protocol(1, timeout, ChallengeLimits(time_limit, memory_limit))
    request = CheckRequest(
        image, find_cases(cases), output, settings, gpu_index, archive_limit_mb, same_as
    )
    if same_as is not None and not request.is_archive:
        raise click.UsageError("--same-as compares archives; give the image as NAME.tar.gz")
    found = check_submission_on_screen(request)
    if found.failed:
        raise KitError(f"{number_of(len(found.failed), 'rule')} failed: {', '.join(found.failed)}")


@main.command()
@click.argument("results", required=True, nargs=-1, type=PATH)
@click.option("--reported", multiple=True, help="Table of evaluation/reported, or a TOML file.")
@click.option("--require", "required", multiple=True, help="The same; its figures must be reached.")
@click.option("--split", help="Which cases RESULTS are of, where they do not say so themselves.")
@click.option("-o", "--output", type=PATH, help="Folder for compare.* and differences.*.")
def compare(
    results: tuple[Path, ...],
    reported: tuple[str, ...],
    required: tuple[str, ...],
    split: str | None,
    output: Path | None,
) -> None:
    """Set RESULTS (folders of `score` and `efficiency`) beside figures that others reported.

    Several RESULTS are compared with each other, too: differences with 95 % intervals.

    Exit code 1: a figure falls short of one required, or nothing can be compared with it.
    """
    if not reported + required and len(results) < 2:
        message = "give --reported or --require, for example --reported ust, or several results"
        raise click.UsageError(message)
    from evaluation.comparison.compare_screen import compare_on_screen

    compare_on_screen(results, reported, required, split, output)


@main.command()
@click.argument("teams", required=True, nargs=-1, type=PATH)
@OUTPUT
@click.option(
    "--bootstrap",
    default=1000,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often cases are sampled again, to see how stable the ranking is.",
)
def rank(teams: tuple[Path, ...], output: Path, bootstrap: int) -> None:
    """Rank TEAMS (folders of scores.json, perhaps efficiency.json) case by case, as FLARE does.

    What is ranked beside the scores is what the profile says by which they were scored.

    Writes OUTPUT/rank.json, rank.csv, rank.png, differences.json and differences.csv.
    """
    from evaluation.comparison.ranking_screen import rank_on_screen

    rank_on_screen(teams, output, bootstrap)


@main.command()
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@click.option("-o", "--output", type=PATH, help="Folder for agree.json and agree.csv.")
@jobs("Threads")
@click.option(
    "--least-dsc",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="What every label of every case must reach.",
)
def agree(first: Path, second: Path, output: Path | None, jobs: int, least_dsc: float) -> None:
    """Compare two folders of label maps with each other, voxel by voxel.

    Exit code 1: a map is missing, unreadable or lies elsewhere, or a label agrees too little.
    """
    from evaluation.agreement.screen import agree_on_screen

    cases = agree_on_screen(first, second, output, jobs)
    reasons = {case.case: why for case in cases if (why := case.problem(least_dsc))}
    if reasons:
        verb = "does" if len(reasons) == 1 else "do"
        listed = "; ".join(f"{case}: {why}" for case, why in reasons.items())
        raise KitError(
            f"{len(reasons)} of {number_of(len(cases), 'case')} {verb} not agree: {listed}"
        )


@main.command()
@click.argument("sources", required=True, nargs=-1, type=PATH)
@click.option("-o", "--output", type=PATH, help="Folder for leakage.json and leakage.csv.")
@click.option("--cache", type=PATH, help="Folder that keeps what was computed of each CT.")
@click.option("--within", is_flag=True, help="Compare the cases of each folder, too.")
@jobs("Threads")
def leakage(
    sources: tuple[Path, ...], output: Path | None, cache: Path | None, within: bool, jobs: int
) -> None:
    """Find cases that training, held-out and test folders share: by name, file and content.

    SOURCES are folders of <case>_0000.nii.gz, or text files with a case a line (names alone are
    compared). A copy in another window, crop, grid or orientation is found too.

    Exit code 1: something is shared, or a CT cannot be read.
    """
    from evaluation.leakage.screen import leakage_on_screen

    found = leakage_on_screen(sources, output, cache, within=within, threads=jobs)
    problems = []
    if found.shared:
        problems.append(
            number_of(len(found.shared), "pair of cases is", "pairs of cases are") + " shared"
        )
    if found.unreadable:
        problems.append(
            f"{number_of(len(found.unreadable), 'CT')} could not be compared by content"
        )
    if problems:
        raise KitError(f"{' and '.join(problems)}; see above")


main.add_command(efficiency)
main.add_command(claims)
