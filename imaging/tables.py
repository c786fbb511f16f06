"""Write tables as CSV files."""

import csv
from collections.abc import Iterable
from pathlib import Path

from imaging.files import replacing


def write_csv(
    target: Path, head: Iterable[str], rows: Iterable[Iterable[object]], line_end: str = "\r\n"
) -> None:
    """Write a table as a CSV file, whole or not at all; None is an empty cell.

    Bytes of a case's name that are not UTF-8 are written with a backslash.

    Raises:
        KitError: The file cannot be written.
    """
    with (
        replacing(target) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        table = csv.writer(stream, lineterminator=line_end)
        table.writerow(head)
        table.writerows(rows)
