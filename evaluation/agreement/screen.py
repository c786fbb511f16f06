"""`agree` for people: progress, a table, the files."""

from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from evaluation.agreement.label_maps import (
    CaseAgreement,
    agree_files,
    file_names,
    write_agreement,
)
from evaluation.open_table import numbers
from evaluation.scoring.folders import SUFFIX
from imaging.files import RESULTS, make_folder, passed_over, passed_over_message
from imaging.fitted_tables import show_table
from imaging.terminal import terminal, warn
from imaging.words import number_of


def agree_on_screen(
    first: Path, second: Path, output: Path | None, jobs: int
) -> tuple[CaseAgreement, ...]:
    """Compare two folders, print the table, write agree.json and agree.csv into `output`.

    Raises:
        KitError: There is nothing to compare, or `output` cannot be written.
    """
    if output is not None:
        make_folder(output)
    for folder in (first, second):
        if folder.is_dir() and (passed := passed_over(folder, SUFFIX, beside=RESULTS)):
            warn(passed_over_message(passed, folder))
    columns = (TextColumn("agree"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal(stderr=True), transient=True) as progress:
        names = file_names(first, second)
        cases = tuple(progress.track(agree_files(first, second, names, jobs), len(names)))
    if output is not None:
        write_agreement(cases, output)
    show_table(_table(cases), terminal())
    return cases


def _table(cases: tuple[CaseAgreement, ...]) -> Table:
    same = sum(case.same_file for case in cases)
    table = Table(
        "case",
        *numbers("differ", "of both", "least DSC", "most volume change, ml"),
        "remark",
        title=f"byte for byte the same: {same} of {number_of(len(cases), 'file')}",
    )
    for case in cases:
        table.add_row(Text(case.case), *_figures(case), Text(_remark(case)))
    return table


def _figures(case: CaseAgreement) -> tuple[str, ...]:
    if case.differ_voxels is None:
        return ("–",) * 4
    least, change = case.least, case.most_changed
    return (
        f"{case.differ_voxels:,}",
        f"{case.differ_share:.2%}",
        f"{least.dsc:.4f} {least.organ if least.dsc < 1 else ''}" if least else "–",
        f"{change.change_ml:+.2f} {change.organ}" if change and change.change_ml else "–",
    )


def _remark(case: CaseAgreement) -> str:
    if case.error or case.geometry:
        return "not comparable" if case.error else "lies elsewhere"
    return case.warning or ("same file" if case.same_file else "")
