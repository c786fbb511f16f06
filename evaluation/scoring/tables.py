"""Scores as the challenge's CSV, as a long CSV, and as tables on the screen."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from evaluation.open_table import numbers, open_table, with_interval
from evaluation.profiles.profile import FLARE23
from evaluation.scoring.annotated import doubt_of, line_of
from evaluation.scoring.folders import SUFFIX
from evaluation.scoring.healthy import healthy_line
from evaluation.scoring.log import log_sentence
from evaluation.scoring.scores import Mean, Scores, Stratum
from evaluation.scoring.strata import PARTLY
from imaging.fitted_tables import show_table
from imaging.organs import TUMOUR
from imaging.tables import write_csv

_DETAILS = ("dsc", "nsd", "hd95_mm", "truth_ml", "pred_ml", "volume_error_ml", "note")


def write_official_csv(scores: Scores, path: Path) -> None:
    """Write one row a case with the official columns; a case without scores has empty cells."""
    prefixes = scores.challenge.columns
    columns = [(organ, metric) for metric in ("dsc", "nsd") for organ in scores.names]
    header = [f"{prefixes[organ]}_{metric.upper()}" for organ, metric in columns]
    rows = [
        [case.case + SUFFIX, *(case.value(*column) for column in columns)] for case in scores.cases
    ]
    write_csv(path, ["Name", *header], rows)


def write_long_csv(scores: Scores, path: Path) -> None:
    """Write one row a case and label, with everything that was measured."""
    rows = [
        [case.case, organ, *(getattr(label, key) for key in _DETAILS)]
        for case in scores.cases
        for organ, label in case.labels.items()
    ]
    write_csv(path, ["case", "organ", *_DETAILS], rows)


def show_scores(scores: Scores, console: Console) -> None:
    """Print the means by organ, tumours one by one, the problems, the strata, earlier scorings."""
    if scores.scored:
        _show_means(scores, console)
    if scores.problems:
        show_table(_problems(scores), console)
    if scores.detection and scores.detection[0].true + scores.detection[0].predicted:
        show_table(_one_to_one(scores), console)
    shown = [s for s in scores.by_stratum if s.metric == "dsc"]
    for (column, of), group in groupby(shown, lambda s: (s.column, s.of)):
        show_table(_strata(column, of, group), console)
    if scores.by_stratum:
        console.print(Text("Differences from the first row, the reference. NSD: strata.csv."))
        console.print(Text("(–): too few cases for an interval; nothing is settled by them."))
    if scores.by_stratum and scores.partly_annotated:
        console.print(Text(PARTLY))
    console.print(Text(log_sentence(scores.looks)))


def _show_means(scores: Scores, console: Console) -> None:
    """Print the means by organ, what was annotated, and lesions by size."""
    fixed, profile = scores.rules == "fixed", scores.challenge
    count = sum(organ not in scores.unannotated for organ in profile.organs)
    title = f"{scores.team}, cases: {len(scores.cases)}, rules: {scores.rules}, {profile.name}"
    heads = ("cases", "DSC", "NSD", "within mm", *(("HD95 mm", "volume ml") if fixed else ()))
    table = Table(Column("organ", no_wrap=True), *numbers(*heads), title=Text(title))
    for organ in (*scores.names, *(("organs",) if profile.organs else ())):
        if organ in (TUMOUR, "organs"):
            table.add_section()
        row = {metric: found[organ] for metric, found in scores.means.items()}
        cells = [str(row["dsc"].count), _mean_text(row["dsc"], 4), _mean_text(row["nsd"], 4)]
        tolerance_mm = profile.tolerances_mm.get(organ)
        cells.append("" if tolerance_mm is None else f"{tolerance_mm:g}")
        if fixed:
            cells += [
                _mean_text(row["hd95_mm"], 1),
                _mean_text(row["volume_error_ml"], 1, sign=True),
            ]
        table.add_row(f"mean of {count} organs" if organ == "organs" else organ, *cells)
    show_table(table, console)
    console.print(Text(line_of(scores)))
    if (doubt := doubt_of(scores)) is not None:
        console.print(Text(doubt))
    if TUMOUR in scores.names and TUMOUR not in scores.unannotated:
        console.print(Text(healthy_line(scores.healthy)))
    if scores.profile != FLARE23.name:
        console.print(Text(f"{profile.title}. Not confirmed: {'; '.join(profile.left_out)}."))
    if scores.detection:
        show_table(_detection(scores), console)


def _mean_text(mean: Mean, digits: int, *, sign: bool = False) -> str:
    if mean.value is None:
        return "–"
    form = f"{'+' if sign else ''}.{digits}f"
    if mean.low is None or mean.high is None:
        return format(mean.value, form)
    few = f"{'+' if sign else ''}.{min(digits, 3)}f"
    return f"{mean.value:{form}} ({mean.low:{few}} to {mean.high:{few}})"


def _detection(scores: Scores) -> Table:
    heads = numbers("true", "found", "predicted", "real")
    table = Table("lesions", *heads, title="Tumours one by one")
    for row in scores.detection:
        found, real = (
            f"{count} ({share:.0%})" if share is not None else "–"
            for count, share in ((row.found, row.sensitivity), (row.confirmed, row.precision))
        )
        table.add_row(row.size, str(row.true), found, str(row.predicted), real)
    return table


def _problems(scores: Scores) -> Table:
    table = Table("case", "scored", "reason", title="Problems")
    for case in scores.problems:
        reason = Text(case.error or case.warning or "")
        table.add_row(Text(case.case), "yes" if case.labels else "no", reason)
    return table


def _one_to_one(scores: Scores) -> Table:
    heads = numbers("true", "with one of their own", "predicted", "false")
    title = "Tumours one to one (intersection over union of a tenth)"
    table = open_table(title, "lesions", *heads)
    for row in scores.detection:
        counts = (row.true, row.matched, row.predicted, row.false)
        table.add_row(row.size, *map(str, counts))
    return table


def _strata(column: str, of: str, strata: Iterable[Stratum]) -> Table:
    heads = numbers("cases", "mean (95 %)", "difference (95 %)")
    table = open_table(f"DSC of {of} by {column}", column, *heads, "settled")
    for stratum in strata:
        mean, change = stratum.mean, stratum.difference
        cells = [str(mean.count), "–", "", ""]
        if mean.value is not None:
            cells[1] = with_interval(mean.value, mean.low, mean.high, 3)
        if change is not None:
            cells[2] = with_interval(change.value, change.low, change.high, 3, sign=True)
            cells[3] = "yes" if change.settled else "no"
        table.add_row(Text(stratum.value), *cells)
    return table
