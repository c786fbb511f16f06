"""docs/claims.json: the runs behind the figures of the documents, and the figures."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from evaluation.claims.pages import DIGEST, StatedFigure, decimals, stated_figures
from imaging.errors import KitError
from imaging.records import read_record, read_table, write_json

_HEAD = {"schema": 1, "kind": "claims"}
Pointer = str
"""Place of a value in a results file, after RFC 6901: "/cases/CHAOS_3/labels/liver/dsc".

Without "/" at its beginning: words of a page, from which the value was taken."""


@dataclass(frozen=True)
class ClaimedRun:
    """What made figures: a command, its inputs and its circumstances."""

    command: str
    """As a reader would type it; what stands in capitals is the reader's own."""
    machine: str
    date: str
    commit: str
    results: str = ""
    """The file with its values, from the repository's root; empty where `values` has them."""
    values: dict[str, float] = field(default_factory=dict)
    """By their places in `made`, or by words of a page."""
    inputs: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the files of the repository that the figures depend on."""
    needs: tuple[str, ...] = ()
    """Of `rerun.NEEDS`: what a machine must have to repeat it."""
    seconds: float = 0.0
    """What a repetition takes."""
    again: str = ""
    """Shell script that repeats it: $DATA are the real CTs, $OUT is an empty folder."""
    made: str = ""
    """The file in $OUT that then holds the values."""


@dataclass(frozen=True)
class Claim:
    """One figure of one page."""

    page: str
    text: str
    """As the page has it: "1,266"."""
    run: str
    value: Pointer
    """Place of the value among the run's."""
    unit: str = ""
    where: str = ""
    """Row and column of a table; empty in a sentence."""
    words: str = ""
    """In a sentence, the words around it."""
    times: float = 1.0
    """What the run's value is multiplied by: 100 of a share that the page gives in percent."""
    tolerance: float = 0.0
    """How far a repetition may be from it, in the page's unit."""

    @property
    def what(self) -> str:
        """What it is a figure of."""
        return self.where or self.words

    @property
    def by_hand(self) -> bool:
        """Whether its value was taken from the page's words, so that no file has its new value."""
        return not self.value.startswith("/")

    @property
    def figure(self) -> str:
        """The figure with its unit."""
        return f"{self.text} {self.unit}".strip()

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it has in common with the figure on the page."""
        return self.page, self.where, self.text, self.unit


@dataclass(frozen=True)
class Given:
    """Numbers with a unit that nobody measured: limits, settings, other people's definitions."""

    page: str
    """Or "*": any page."""
    figure: str
    """As written, with its unit: "15 s"; or "| seed": all of that column."""
    why: str

    def covers(self, figure: StatedFigure) -> bool:
        """Tell whether a figure is one of these."""
        column = self.figure.startswith("|") and figure.where.endswith(self.figure)
        return self.page in ("*", figure.page) and (figure.figure == self.figure or column)


@dataclass(frozen=True)
class ClaimsTable:
    """The whole file."""

    uncovered: tuple[str, ...] = ()
    """Pages whose figures need not be claimed yet: all but these are covered."""
    given: tuple[Given, ...] = ()
    runs: dict[str, ClaimedRun] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()

    def of_page(self, page: str) -> list[Claim]:
        """Return the claims about a page."""
        return [claim for claim in self.claims if claim.page == page]

    def covered(self, root: Path) -> list[str]:
        """Return the pages whose every figure must be claimed: README.md and all of docs/."""
        files = (root / "README.md", *sorted((root / "docs").rglob("*.md")))
        pages = [path.relative_to(root).as_posix() for path in files if path.is_file()]
        return [page for page in pages if page not in self.uncovered]


def read_claims(path: Path) -> ClaimsTable:
    """Read a table of claims.

    Raises:
        KitError: It cannot be read, or a claim names a run that is not there.
    """
    table = read_record(path, ClaimsTable, "claims", head=_HEAD)
    if odd := sorted({claim.run for claim in table.claims} - table.runs.keys()):
        raise KitError(f"claims {path}: no such run: {', '.join(odd)}")
    return table


def write_claims(table: ClaimsTable, path: Path) -> None:
    """Write a table of claims, those of one page together."""
    shown = {
        "uncovered": table.uncovered,
        "given": [asdict(given) for given in sorted(table.given, key=lambda one: one.page)],
        "runs": {name: _told(run) for name, run in table.runs.items()},
        "claims": [_told(claim) for claim in sorted(table.claims, key=lambda one: one.page)],
    }
    write_json({**_HEAD, **shown}, path)


def _told(record: ClaimedRun | Claim) -> dict[str, Any]:
    """Return a record without what is as it is by default."""
    defaults = {item.name: item.default for item in fields(record)}
    told = asdict(record).items()
    return {key: value for key, value in told if value not in (defaults[key], (), {})}


def figures_of(table: ClaimsTable, root: Path, page: str) -> list[StatedFigure]:
    """Return the measured figures of a page: all but the `given` ones.

    Raises:
        KitError: The page cannot be read.
    """
    found = stated_figures(page, read_page(root / page))
    return [one for one in found if not any(given.covers(one) for given in table.given)]


def read_page(path: Path) -> str:
    """Return the text of a page.

    Raises:
        KitError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise KitError(f"cannot read page {path}: {error.strerror}") from error


def values_of(run: ClaimedRun, root: Path) -> dict[Pointer, float]:
    """Return every number among a run's values, by its place.

    Raises:
        KitError: The results file cannot be read.
    """
    return run.values | (file_values(root / run.results) if run.results else {})


def file_values(path: Path) -> dict[Pointer, float]:
    """Return every number in a JSON or TOML file, by its place.

    Raises:
        KitError: It cannot be read.
    """
    return _values_in(path, path.stat().st_mtime_ns if path.is_file() else 0)


@cache
def _values_in(path: Path, changed_ns: int) -> dict[Pointer, float]:
    """Read a file once for each time that it was changed."""
    return dict(_numbers(read_table(path, "results")[0], ""))


def _numbers(value: Any, place: Pointer) -> Iterator[tuple[Pointer, float]]:
    if isinstance(value, list):
        value = dict(zip(_tokens(value), value, strict=True))
    if isinstance(value, dict):
        for key, part in value.items():
            token = str(key).replace("~", "~0").replace("/", "~1")
            yield from _numbers(part, f"{place}/{token}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place, float(value)


def _tokens(array: list[Any]) -> list[str]:
    """Return the names of an array's entries: the first texts in them that tell them apart.

    Digests are none of these. Where the texts do not tell them apart, their numbers.
    """
    texts = [_texts(entry) for entry in array]
    for length in range(1, min(map(len, texts), default=0) + 1):
        names = [" ".join(text[:length]) for text in texts]
        if len(set(names)) == len(names):
            return names
    return [str(number) for number in range(len(array))]


def _texts(entry: Any) -> list[str]:
    values = entry.values() if isinstance(entry, dict) else ()
    return [value for value in values if isinstance(value, str) and not DIGEST.search(value)]


def as_number(text: str) -> float:
    """Return the number that a figure as written says: "1,266" is 1266."""
    return float(text.replace(",", ""))


def is_rounding(text: str, value: float) -> bool:
    """Tell whether a figure as written is `value`, rounded to the digits that it has.

    Half of the last digit may go either way; the sign is not part of a figure.
    """
    if "e" in text:
        return abs(as_number(text) - abs(value)) <= 0.051 * abs(value)
    return abs(as_number(text) - abs(value)) <= 0.5 * 10.0 ** -decimals(text) * (1 + 1e-9)


def rounded(value: float, like: str) -> str:
    """Write `value` with as many decimals as the figure `like` has, and a comma as it has one."""
    if "e" in like:
        return f"{abs(value):.{decimals(like)}e}"
    shown = f"{abs(value):,.{decimals(like)}f}"
    if "," not in like and len(like.partition(".")[0]) > 3:
        shown = shown.replace(",", "")
    return shown.removeprefix("0") if like.startswith(".") else shown
