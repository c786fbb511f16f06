"""The table of volumes at the end of a prediction."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from imaging.fitted_tables import number_column, show_table
from imaging.words import number_of
from inference.manifest import Manifest
from inference.report import CaseReport, RunReport

_MOST_SHOWN = 20


def show_results(console: Console, report: RunReport, manifest: Manifest) -> None:
    """Print the volumes of the cases, if there are any."""
    if any(case.volumes_ml for case in report.cases):
        show_table(volumes_table(report, manifest), console)


def volumes_table(report: RunReport, manifest: Manifest) -> Table:
    """Return a table of volumes in millilitres: of one case a row an organ, of more a row a case.

    Behind the organs come the volumes that component rules removed, and of tissue outside of the
    region.
    """
    cases = [case for case in report.cases if case.volumes_ml]
    shown = cases[:_MOST_SHOWN]
    left_out = len(cases) - len(shown)
    title = "volumes (ml)"
    if left_out:
        title += f", {number_of(left_out, 'more case', 'more cases')} in run.json"
    organs = [name for name in manifest.labels if any(name in case.volumes_ml for case in shown)]
    names = (*organs, "removed by rules", "outside the region")
    values = [_values(case, organs) for case in shown]
    if len(shown) == 1:
        table = Table("organ", number_column(Text(shown[0].case)), title=title)
        for place, name in enumerate(names):
            table.add_row(name, values[0][place], end_section=place == len(organs) - 1)
        return table
    table = Table("case", *map(number_column, names), title=title)
    for case, row in zip(shown, values, strict=True):
        table.add_row(Text(case.case), *row)
    return table


def _values(case: CaseReport, organs: list[str]) -> list[str]:
    """Return the cells of a case: an organ each, what rules removed, what lies outside."""
    volumes = ((organ in case.empty, case.volumes_ml.get(organ, 0.0)) for organ in organs)
    rest = (sum(case.removed_ml.values()), case.outside_ml)
    return [
        *("empty" if empty else f"{ml:.1f}" for empty, ml in volumes),
        *map("{:.1f}".format, rest),
    ]
