"""The DICOM series that were found, and what becomes of each."""

from rich.table import Table

from imaging.dicom.series import Series
from inference.ct import Source


def series_table(series: list[Series], cases: dict[str, Source]) -> Table:
    """Return a table of all series: slices, description, and the case or why it is none."""
    chosen = sum(isinstance(source, Series) for source in cases.values())
    table = Table(title=f"DICOM series: {chosen} of {len(series)} labelled; --series chooses")
    for column in ("no.", "slices", "mm"):
        table.add_column(column, justify="right")
    table.add_column("description", overflow="fold")
    table.add_column("case", overflow="fold")
    for one in series:
        number = "" if one.number is None else str(one.number)
        mm = "" if one.header is None else f"{one.header.pixdim[0]:.3g}"
        described = one.description or one.modality
        table.add_row(number, str(len(one.slices)), mm, described, _becomes(one, cases))
    return table


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
