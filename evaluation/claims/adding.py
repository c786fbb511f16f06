"""Claim the figures of a page: find each among the results of the runs, or record it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from evaluation.claims.checking import gone, unclaimed
from evaluation.claims.pages import StatedFigure, decimals, headings
from evaluation.claims.table import (
    Claim,
    ClaimedRun,
    ClaimsTable,
    Pointer,
    as_number,
    is_rounding,
    read_page,
    values_of,
)
from imaging.errors import KitError

TIMES = {"%": (1.0, 100.0), "MB": (1.0, 1e-6), "MiB": (1.0, 2.0**-20), "ms": (1.0, 1000.0)}
"""What a run's value may be multiplied by to have the page's unit; 1 for all others."""
_SYNONYMS = {
    "s": "seconds total",
    "MiB": "memory peak",
    "MB": "bytes",
    "voxels": "differ",
    "%": "percent share",
}
"""Words that results files have for a unit."""
_LEAST_WORDS, _LEAST_DIGITS = 2, 3
"""Words that a place and a figure must share, and digits that a figure must have, to be matched. In
a sentence one word more, unless the run is named and the figure is longer; in a table one digit
less where the page names the results file, two where the run is named."""
_COMMON = {"a", "and", "are", "as", "at", "by", "in", "is", "it", "of", "on", "the", "to", "with"}
_SHARES = {"s": 0.25, "ms": 0.25, "min": 0.25, "h": 0.25, "MiB": 0.03, "GiB": 0.03, "ml": 0.01}
"""Tolerance by unit, as a share of the figure: what a repetition, or another CPU, spreads."""
_SCORE = 0.003
"""Tolerance of a score between 0 and 1: what bfloat16 or another CPU makes of it."""


@dataclass(frozen=True)
class Added:
    """What `add_page` did."""

    table: ClaimsTable
    new: tuple[Claim, ...]
    """Claims that were not there before; last those whose value was taken from the page."""
    dropped: tuple[Claim, ...]
    """Claims that the page does not state any more."""
    left: tuple[StatedFigure, ...]
    """Figures that are in no results file, where no run was named for them."""


def add_page(
    table: ClaimsTable, root: Path, page: str, runs: tuple[str, ...] = (), section: str = ""
) -> Added:
    """Claim the figures of a page; once all are claimed, it is no longer uncovered.

    Args:
        table: The claims.
        root: The repository's root.
        page: Its path from there.
        runs: Runs that made its figures; those that are in no results file are of the last.
        section: Only the figures below the heading that has these words; "": all.

    Raises:
        KitError: The page or a results file cannot be read, or there is no such run or heading.
    """
    for run in runs:
        if run not in table.runs:
            known = ", ".join(sorted(table.runs))
            raise KitError(f"no run {run!r}; give --command too, or one of: {known}")
    dropped, text = gone(table, root, page), read_page(root / page)
    named = {*runs, *(claim.run for claim in table.of_page(page))}
    table = replace(table, claims=_without(table.claims, dropped))
    places, lines = _places(table, root, text, named), _lines_of(text, section, page)
    found, recorded, left = [], [], []
    for figure in unclaimed(table, root, page):
        if figure.line not in lines:
            continue
        if claim := _found(figure, places):
            found.append(claim)
        elif runs:
            table, claim = _recorded(table, figure, runs[-1])
            recorded.append(claim)
        else:
            left.append(figure)
    new = (*found, *recorded)
    table = replace(table, claims=(*table.claims, *new))
    if not unclaimed(table, root, page):
        uncovered = (other for other in table.uncovered if other != page)
        table = replace(table, uncovered=tuple(uncovered))
    return Added(table, new, tuple(dropped), tuple(left))


def _lines_of(text: str, section: str, page: str) -> range:
    """Return the numbers of the lines below the heading that has the words of `section`."""
    stop = len(text.splitlines()) + 1
    if not section:
        return range(1, stop)
    heads = headings(text)
    start = next((number for number, line in heads.items() if section in line), None)
    if start is None:
        raise KitError(
            f"{page} has no heading with {section!r}; it has: {'; '.join(heads.values())}"
        )
    ends = (number for number in heads if number > start)
    return range(start, next(ends, stop))


def _without(claims: tuple[Claim, ...], dropped: Iterable[Claim]) -> tuple[Claim, ...]:
    left = list(claims)
    for claim in dropped:
        left.remove(claim)
    return tuple(left)


@dataclass(frozen=True)
class _Place:
    """A value that some run has."""

    run: str
    value: Pointer
    number: float
    words: frozenset[str]
    near: int
    """2: the run is named, or the page has claims of it; 1: the page names its results file."""


def _places(table: ClaimsTable, root: Path, text: str, named: set[str]) -> list[_Place]:
    """Return the values that a page may state: of the runs that it has to do with, of no others."""
    near = {
        name: 2 if name in named else int(_names(text, run)) for name, run in table.runs.items()
    }
    return [
        _Place(name, place, number, frozenset(_words(place)), near[name])
        for name, run in table.runs.items()
        if near[name]
        for place, number in values_of(run, root).items()
    ]


def _names(text: str, run: ClaimedRun) -> bool:
    return bool(run.results) and Path(run.results).name in text


def _found(figure: StatedFigure, places: list[_Place]) -> Claim | None:
    """Return a claim of the place that has the figure's value and shares the most words with it.

    Of several, that with the fewest words which the figure lacks; None where several are left.
    """
    unit = f"{figure.unit} {_SYNONYMS.get(figure.unit, '')}"
    words = _words(f"{figure.where} {figure.what} {unit}")
    ranked = [
        ((shared, -len(place.words - words)), place, times)
        for place in places
        if (times := _times(figure, place)) and (shared := _shared(figure, words, place))
    ]
    most = max((rank for rank, *_ in ranked), default=None)
    best = [(place, times) for rank, place, times in ranked if rank == most]
    if len(best) != 1:
        return None
    place, times = best[0]
    return _claim(figure, place.run, place.value, times)


def _times(figure: StatedFigure, place: _Place) -> float:
    """Return what a value is multiplied by to be the figure; 0 if it is another."""
    times = TIMES.get(figure.unit, (1.0,))
    return next((one for one in times if is_rounding(figure.text, place.number * one)), 0.0)


def _shared(figure: StatedFigure, words: set[str], place: _Place) -> int:
    """Return how many words a figure and a place share, more for a near run; 0 if too few."""
    digits = len(re.sub(r"\D", "", figure.text).lstrip("0"))
    common = len(words & place.words)
    if digits < _LEAST_DIGITS - (place.near if figure.where else 0):
        return 0
    is_long = place.near == 2 and digits > _LEAST_DIGITS
    if common < _LEAST_WORDS + (not figure.where and not is_long):
        return 0
    return common + place.near


def _recorded(table: ClaimsTable, figure: StatedFigure, name: str) -> tuple[ClaimsTable, Claim]:
    """Add a figure to a run's values; the same figure said elsewhere has the same value there."""
    run = table.runs[name]
    words = re.sub(r"[^\w.,%]+", " ", figure.where or figure.what).split()
    key = stem = " ".join(words[-12:])
    number = 1
    while run.values.get(key, as_number(figure.text)) != as_number(figure.text):
        number += 1
        key = f"{stem} ({number})"
    values = {**run.values, key: as_number(figure.text)}
    runs = {**table.runs, name: replace(run, values=values)}
    return replace(table, runs=runs), _claim(figure, name, key, 1.0)


def _claim(figure: StatedFigure, run: str, value: Pointer, times: float) -> Claim:
    number = as_number(figure.text)
    tolerance = 0.0
    if figure.unit in _SHARES:
        tolerance = round(_SHARES[figure.unit] * number, 4)
    elif not figure.unit and decimals(figure.text) > 1 and number <= 1:
        tolerance = _SCORE
    return Claim(
        figure.page,
        figure.text,
        run,
        value,
        figure.unit,
        figure.where,
        "" if figure.where else figure.what,
        times,
        tolerance,
    )


def _words(text: str) -> set[str]:
    """Return the words of a text that say something, without the s of a plural."""
    parts = re.split(r"[^a-z0-9.]+", text.lower().replace("_", " "))
    said = {part.strip(".") for part in parts} - _COMMON - {""}
    return {word.removesuffix("s") or word for word in said}
