"""The DICOM series that were found, and what becomes of each."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from imaging.dicom.series import Series
from imaging.fitted_tables import number_column, show_table
from inference.ct import Source


def show_series(console: Console, series: list[Series], cases: dict[str, Source]) -> None:
    """Print a table of all series: slices, description, and the case or why it is none."""
    chosen = sum(isinstance(source, Series) for source in cases.values())
    numbers = map(number_column, ("no.", "slices", "mm"))
    table = Table(*numbers, "description", "case", title="DICOM series")
    for one in series:
        number = "" if one.number is None else str(one.number)
        mm = "" if one.header is None else f"{one.header.pixdim[0]:.3g}"
        described = one.description or one.modality
        cells = (Text(described), Text(_becomes(one, cases)))  # no markup in names
        table.add_row(number, str(len(one.slices)), mm, *cells)
    show_table(table, console)
    console.print(f"{chosen} of {len(series)} DICOM series are labelled; choose with --series")


def series_rows(series: list[Series], cases: dict[str, Source]) -> list[dict[str, object]]:
    """Return the table for run.json."""
    return [
        {
            "folder": str(one.folder),
            "uid": one.uid,
            "number": one.number,
            "description": one.description,
            "modality": one.modality,
            "slices": len(one.slices),
            "becomes": _becomes(one, cases),
        }
        for one in series
    ]


def _becomes(one: Series, cases: dict[str, Source]) -> str:
    if cases.get(one.name) is not one:
        return one.outcome or "not requested"
    return f"{one.name}: {one.outcome}" if one.outcome else one.name
