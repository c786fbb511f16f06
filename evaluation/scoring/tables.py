"""Scores as the challenge's CSV, as a long CSV, and as a table on the screen."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.profiles.profile import FLARE23
from evaluation.scoring.annotated import line_of
from evaluation.scoring.folders import SUFFIX
from evaluation.scoring.healthy import healthy_line
from evaluation.scoring.scores import LabelScore, Mean, Scores
from imaging.fitted_tables import show_table
from imaging.organs import TUMOUR
from imaging.tables import write_csv

_DETAILS = ("dsc", "nsd", "hd95_mm", "truth_ml", "pred_ml", "volume_error_ml", "note")


def write_official_csv(scores: Scores, path: Path) -> None:
    """Write one row a case with the official columns; a case without scores has empty cells."""
    metrics = ("dsc", "nsd")
    columns = [scores.challenge.columns[name] for name in scores.names]
    header = [f"{column}_{metric.upper()}" for metric in metrics for column in columns]
    rows = []
    for case in scores.cases:
        labels = [case.labels.get(organ, LabelScore()) for organ in scores.names]
        cells = [getattr(label, metric) for metric in metrics for label in labels]
        rows.append([case.case + SUFFIX, *cells])
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
    """Print the means by organ, and the problems by case."""
    fixed, profile = scores.rules == "fixed", scores.challenge
    count = sum(organ not in scores.unannotated for organ in profile.organs)
    title = f"{scores.team}, cases: {len(scores.cases)}, rules: {scores.rules}, {profile.name}"
    table = Table(title=Text(title))
    table.add_column("organ", no_wrap=True)
    for name in ("cases", "DSC", "NSD", "within mm", *(("HD95 mm", "volume ml") if fixed else ())):
        table.add_column(name, justify="right")
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
    console.print(Text(line_of(scores.names, scores.unannotated, scores.annotated)))
    if TUMOUR in scores.names and TUMOUR not in scores.unannotated:
        console.print(Text(healthy_line(scores.healthy)))
    if scores.profile != FLARE23.name:
        console.print(Text(f"{profile.title}. Not confirmed: {'; '.join(profile.left_out)}."))
    if scores.detection:
        show_table(_detection(scores), console)
    if scores.problems:
        show_table(_problems(scores), console)


def _mean_text(mean: Mean, digits: int, *, sign: bool = False) -> str:
    if mean.value is None:
        return "–"
    form = f"{'+' if sign else ''}.{digits}f"
    if mean.low is None or mean.high is None:
        return format(mean.value, form)
    few = f"{'+' if sign else ''}.{min(digits, 3)}f"
    return f"{mean.value:{form}} ({mean.low:{few}} to {mean.high:{few}})"


def _detection(scores: Scores) -> Table:
    table = Table("lesions", title="Tumours one by one")
    for name in ("true", "found", "predicted", "real"):
        table.add_column(name, justify="right")
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
