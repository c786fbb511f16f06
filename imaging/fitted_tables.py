"""Tables that fit the terminal: names fold, numbers stay whole, columns go on to further pages."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

_TEXT_FLOOR = 14
"""Characters that a column of text, folded, has at least."""
_FIRST_FLOORS = (20, 32)
"""The same of the first column, which says what a row is: on one page, and on each of several."""


def number_column(heading: str | Text) -> Column:
    """Return a column of numbers: right-justified, and so never folded."""
    return Column(heading, justify="right")


def numbers_table(first: str, *numbers: str, title: str) -> Table:
    """Return a table without rows, whose first column holds text and all others numbers.

    Args:
        first: Heading of the first column.
        numbers: Headings of the others.
        title: Of the table.
    """
    return Table(first, *map(number_column, numbers), title=title)


def show_table(table: Table, console: Console) -> None:
    """Print a table no wider than the console.

    A right-justified column holds numbers and is not folded, unless it is too wide for a page of
    its own; text is folded. If that is not enough, the columns are parted into pages, each with the
    first column. Nothing is cut.
    """
    for page in fitted(table, console):
        console.print(page)


def fitted(table: Table, console: Console) -> list[Table]:
    """Return `table`, or the pages that it takes."""
    for column in table.columns:
        column.overflow = "fold"
    if _size(table, console).maximum <= console.width:
        return [table]
    around = 1 + table.padding[1] + table.padding[3]
    first = _floor(table.columns[0], _FIRST_FLOORS[-1], console)
    room = console.width - 1 - 2 * around - first
    columns = [_narrowed(column, room, console) for column in table.columns]
    groups = _grouped(columns, around, console)
    pages = [_page(table, [columns[place] for place in group]) for group in groups]
    for number, page in enumerate(pages, 1):
        if len(pages) > 1:
            title = table.title if isinstance(table.title, Text) else f"{table.title or ''}"
            page.title = Text.assemble(title, f" ({number} of {len(pages)})")
            page.caption = table.caption if number == len(pages) else None
    return pages


def _narrowed(column: Column, room: int, console: Console) -> Column:
    """Return a column as narrow as it goes: of numbers, a word of the heading in each line.

    Args:
        column: Of the table.
        room: Characters that it has on a page of its own; wider numbers are folded.
        console: Where it is printed.
    """
    if column.justify != "right":
        return column
    header, footer = (
        "\n".join(cell.split(" ")) if isinstance(cell, str) else cell
        for cell in (column.header, column.footer)
    )
    narrow = replace(column, no_wrap=True, header=header, footer=footer)
    return narrow if _floor(narrow, 0, console) <= room else replace(narrow, no_wrap=False)


def _floor(column: Column, least: int, console: Console) -> int:
    """Return the least width of a column's cells; of text, `least` or what it needs."""
    sizes = [_size(cell, console) for cell in (column.header, *column.cells, column.footer)]
    widest = max(size.maximum for size in sizes)
    return widest if column.no_wrap else min(widest, max(least, sizes[0].minimum))


def _size(cell: RenderableType, console: Console) -> Measurement:
    return Measurement.get(console, console.options.update_width(10_000), cell)


def _grouped(columns: Sequence[Column], around: int, console: Console) -> list[list[int]]:
    """Return the columns of each page by their place, the first on every one.

    Args:
        columns: All of them.
        around: What a column takes beside its cells: its padding and a line.
        console: Where they are printed.
    """
    floors = [_floor(column, _TEXT_FLOOR, console) for column in columns[1:]]
    groups: list[list[int]] = []
    for least in _FIRST_FLOORS:
        whole = console.width - 1 - around - _floor(columns[0], least, console)
        groups, free = [[0]], whole
        for place, floor in enumerate(floors, 1):
            if floor + around > free and len(groups[-1]) > 1:
                groups.append([0])
                free = whole
            groups[-1].append(place)
            free -= floor + around
        if len(groups) == 1:
            break
    return groups


def _page(table: Table, columns: Sequence[Column]) -> Table:
    page = copy(table)
    page.columns = [replace(column, _index=place) for place, column in enumerate(columns)]
    return page
