"""Pages of single cases in the folder `view` beside a report, for the report to link to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import in_one_line
from imaging.files import make_folder
from viewer.case import NAMES, read_viewed
from viewer.page import page_address, page_name, write_page

FOLDER = "view"
MOST_BYTES = 3_000_000
"""Half of what a page may take that is written alone: a report has several."""


@dataclass(frozen=True)
class Link:
    """Where the page of a case is, or why there is none."""

    address: str | None
    """As the report names it."""
    problem: str | None = None


def write_linked(
    report: Path,
    case: str,
    files: tuple[Path, Path, Path],
    names: tuple[str, str] = NAMES,
    other_labels: Mapping[int, str] | None = None,
) -> Link:
    """Write the page of one case of a report; whatever is wrong with its files becomes a message.

    Args:
        report: The report's file.
        case: Its name.
        files: CT, the map that is painted, the map that it is compared with.
        names: What the page calls the two maps.
        other_labels: Names of labels that are not FLARE23's.

    Raises:
        KitError: The folder cannot be made.
    """
    folder = report.parent / FOLDER
    make_folder(folder)
    try:
        read = read_viewed(*files, names, other_labels)
        write_page(read, folder / page_name(case), MOST_BYTES)
    except Exception as error:  # noqa: BLE001  # whatever it is, the report goes on
        return Link(None, in_one_line(error, case))
    return Link(f"{FOLDER}/{page_address(case)}")
