"""The figures that a page states: numbers that somebody measured.

A figure is a number with a unit of `UNITS`, one with two decimals or an exponent, and every number
in a cell of a table that holds nothing else, but in the first column. Lengths in mm, shapes such as
512×512×78, versions, dates, headings, links and all that stands in backquotes are none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

UNITS = {
    **{name: name for name in ("s", "ms", "min", "h", "d", "KiB", "MiB", "GiB", "MiB·s")},
    **{name: name for name in ("kB", "KB", "MB", "GB", "bytes", "ml", "%", "voxels", "times")},
    **{name: name for name in ("points", "GFLOP", "GFLOP/s")},
    **{"second": "s", "seconds": "s", "minutes": "min", "hours": "h", "percent": "%"},
}
"""Units of measured figures as pages write them, and as claims do."""
_UNIT = "(" + "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True)) + r")(?![\w/])"
_UNIT_AFTER = re.compile(r"[\s\u00a0]{0,3}" + _UNIT)
_UNIT_IN_HEAD = re.compile(r"(?:^|[\s,])" + _UNIT + r"(?=$|,|\s\(|\sof\b)")
_NUMBER = re.compile(
    r"(?<![\w.×])(?<![A-Za-z]-)(?<!\d,)"
    r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+)(?:e-?\d{1,2})?"
    r"(?![\w×]|\.\d|,\d{3}\b|-[A-Za-z])"
)
_LENGTH_AFTER = re.compile(r"\s?(?:mm|cm|m|HU|°|GHz|px|years)(?!\w)")
_SHAPE_AFTER, _SHAPE_BEFORE = re.compile(r"\s*×"), re.compile(r"×\s*$")
_LIST = re.compile(r"[\s(]*(?:,|and|or|to|of|–|-|±|/)?[\s(]*")
"""Between two numbers of which only the last has the unit: "1.9 and 2.8 s"."""
_HIDDEN = re.compile(
    r"^ *```.*?^ *```|`[^`\n]+(?:\n[^`\n]+)?`|<!--.*?-->|\]\([^)]*\)|^#.*?$|https?://\S+"
    r"|\d{4}-\d\d-\d\d|\bv?\d+(?:\.\d+){2,}|\*\*|\b(?:arXiv|Python|Docker|CUDA) \d+\.\d+",
    re.DOTALL | re.MULTILINE,
)
DIGEST = re.compile(r"\b[0-9a-f]{16,}\b")
"""A digest or the beginning of one."""
_CODE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
_PLAIN_CELL = re.compile(r"(?:[\s()±–+−,;/<>~-]|\b(?:to|of|and)\b)*")


@dataclass(frozen=True)
class StatedFigure:
    """A figure as a page states it."""

    page: str
    line: int
    start: int
    """Place of the first character in the page's text."""
    text: str
    """As written: "1,266"."""
    unit: str
    where: str
    """In a table its row and column; empty in a sentence, which may be worded anew."""
    what: str
    """The words around it, for people."""

    @property
    def figure(self) -> str:
        """The figure with its unit."""
        return f"{self.text} {self.unit}".strip()

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a claim must have in common with it."""
        return self.page, self.where, self.text, self.unit


def stated_figures(page: str, text: str) -> list[StatedFigure]:
    """Return the figures of a page, in their order.

    Args:
        page: Its path from the repository's root.
        text: Its Markdown.
    """
    reader = _Reader(page, text)
    for start, block, is_table in _blocks(reader.hidden):
        if is_table:
            reader.read_table(start, block)
        else:
            reader.read_sentences(start, start + len(block))
    return reader.found


def headings(text: str) -> dict[int, str]:
    """Return the headings of a page by the numbers of their lines."""
    plain = _CODE.sub(lambda block: "\n" * block[0].count("\n"), text)
    lines = enumerate(plain.splitlines(), 1)
    return {number: line for number, line in lines if re.match("#+ ", line)}


def decimals(text: str) -> int:
    """Return the number of digits after the point of a figure as written."""
    return len(text.partition("e")[0].partition(".")[2])


def _blocks(hidden: str) -> Iterator[tuple[int, str, bool]]:
    """Yield start, text and whether it is a table, of every run of lines of one kind."""
    start = 0
    for (_, is_table), lines in groupby(hidden.splitlines(keepends=True), _kind):
        block = "".join(lines)
        yield start, block, is_table
        start += len(block)


def _kind(line: str) -> tuple[bool, bool]:
    """Return whether a line is blank, and whether it is a row of a table."""
    return not line.strip(), line.lstrip().startswith("|")


class _Reader:
    """Collects the figures of one page."""

    def __init__(self, page: str, text: str) -> None:
        self.page, self.text = page, text
        self.hidden = _HIDDEN.sub(lambda part: re.sub(r"[^\n|]", " ", part[0]), text)
        """The text with blanks for all that holds no figure."""
        self.found: list[StatedFigure] = []

    def read_sentences(self, start: int, stop: int, where: str = "") -> None:
        """Take the figures of a part of the page, by their units and decimals."""
        numbers = self._numbers(start, stop)
        units = [_UNIT_AFTER.match(self.hidden, one.end(), stop) for one in numbers]
        names = [UNITS[unit[1]] if unit else "" for unit in units]
        for place in range(len(numbers) - 2, -1, -1):
            between = self.hidden[numbers[place].end() : numbers[place + 1].start()]
            if not names[place] and _LIST.fullmatch(between):
                names[place] = names[place + 1]
        for one, unit in zip(numbers, names, strict=True):
            if unit or decimals(one[0]) > 1 or "e" in one[0]:
                self._take(one, unit, where, where or _words_around(self.text, one, start, stop))

    def read_table(self, start: int, block: str) -> None:
        """Take the figures of a table: of its plain cells all, of the others as of sentences."""
        heads: list[str] = []
        above = ""
        for row in re.finditer(r"[^\n]+", block):
            first = start + row.start()
            cells = [
                (first + cell.start(1), first + cell.end(1))
                for cell in re.finditer(r"\|([^|\n]*)(?=\|)", row[0])
            ]
            raw = [_bare(self.text[slice(*cell)]) for cell in cells]
            if not heads:
                heads = raw
            elif not all(re.fullmatch(r":?-+:?", cell) for cell in raw):
                above = raw[0] or above
                label = " ".join((above, *_texts(raw[1:])))[:80].strip()
                for cell, head in zip(cells, heads, strict=False):
                    if cell == cells[0] or not _is_plain(self.text[slice(*cell)]):
                        self.read_sentences(*cell, f"{label} | {head}")
                    else:
                        self._read_plain(*cell, label, head)

    def _read_plain(self, start: int, stop: int, label: str, head: str) -> None:
        in_head = _UNIT_IN_HEAD.search(head)
        for one in self._numbers(start, stop):
            unit = _UNIT_AFTER.match(self.hidden, one.end(), stop) or in_head
            where = f"{label} | {head}"
            self._take(one, UNITS[unit[1]] if unit else "", where, where)

    def _numbers(self, start: int, stop: int) -> list[re.Match[str]]:
        found = _NUMBER.finditer(self.hidden, start, stop)
        return [one for one in found if not _is_length(self.hidden, one)]

    def _take(self, one: re.Match[str], unit: str, where: str, what: str) -> None:
        line = self.text.count("\n", 0, one.start()) + 1
        figure = StatedFigure(self.page, line, one.start(), one[0], unit, where, what)
        self.found.append(figure)


def _is_length(hidden: str, one: re.Match[str]) -> bool:
    return bool(
        _LENGTH_AFTER.match(hidden, one.end())
        or _SHAPE_AFTER.match(hidden, one.end())
        or _SHAPE_BEFORE.search(hidden, max(0, one.start() - 4), one.start())
    )


def _texts(cells: list[str]) -> Iterator[str]:
    """Yield the words of the cells that hold any, without their figures and digests."""
    for cell in cells:
        if cell and not _is_plain(cell) and cell != "not yet measured":
            yield _NUMBER.sub("", DIGEST.sub("", cell)).strip()


def _is_plain(cell: str) -> bool:
    """Tell whether a cell holds numbers, units and signs alone."""
    bare = cell.replace("**", "")
    left = re.sub(rf"{_NUMBER.pattern}\s*(?:{_UNIT})?", "", bare)
    return bool(_NUMBER.search(bare) and _PLAIN_CELL.fullmatch(left))


def _bare(cell: str) -> str:
    return re.sub(r"\*\*|`|\]\([^)]*\)|\[", "", cell).strip()


def _words_around(text: str, one: re.Match[str], start: int, stop: int) -> str:
    before = text[max(start, one.start() - 90) : one.start()].split()[-8:]
    after = text[one.end() : min(stop, one.end() + 60)].split()[:4]
    return " ".join((*before, "…", *after))
