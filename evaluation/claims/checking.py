"""Compare the pages with the claims, and the claims with the values of their runs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from evaluation.claims.pages import StatedFigure, stated_figures
from evaluation.claims.table import (
    Claim,
    ClaimsTable,
    Given,
    figures_of,
    is_rounding,
    read_page,
    rounded,
    values_of,
)
from imaging.digest import file_sha256
from imaging.errors import KitError
from imaging.files import replacing

_Keyed = TypeVar("_Keyed", StatedFigure, Claim)


def unclaimed(table: ClaimsTable, root: Path, page: str) -> list[StatedFigure]:
    """Return the figures of a page that are in no claim."""
    return _without_partner(figures_of(table, root, page), table.of_page(page))


def gone(table: ClaimsTable, root: Path, page: str) -> list[Claim]:
    """Return the claims whose figure the page does not state any more."""
    return _without_partner(table.of_page(page), figures_of(table, root, page))


def _without_partner(
    those: Sequence[_Keyed], others: Sequence[StatedFigure] | Sequence[Claim]
) -> list[_Keyed]:
    """Return what is left of `those` when each of the others takes one with its key."""
    left = Counter(one.key for one in others)
    found = []
    for one in those:
        left[one.key] -= 1
        if left[one.key] < 0:
            found.append(one)
    return found


def problems(table: ClaimsTable, root: Path) -> Iterator[str]:
    """Say which figures are in no claim, which claims are wrong, and what no page states.

    Yields:
        A line each.

    Raises:
        KitError: A page or a results file cannot be read.
    """
    for page in table.covered(root):
        for figure in unclaimed(table, root, page):
            yield f"{page}:{figure.line}: {figure.figure} ({figure.what}) is in no claim"
        for claim in gone(table, root, page):
            yield f"{page}: does not say {claim.figure} ({claim.what}) any more"
    for given in _not_stated(table, root):
        yield f"{given.page}: does not say {given.figure} ({given.why}) any more"
    for claim in table.claims:
        value = value_of(claim, table, root)
        if value is None:
            yield f"{claim.page}: {claim.text} ({claim.what}): {claim.run} has no {claim.value}"
        elif not is_rounding(claim.text, value):
            yield f"{claim.page}: {claim.text} ({claim.what}): {claim.run} has {value:.6g}"


def _not_stated(table: ClaimsTable, root: Path) -> Iterator[Given]:
    """Yield the given figures that their page does not have: a measured one could hide there."""
    pages = {given.page for given in table.given} - {"*"}
    stated = {page: stated_figures(page, read_page(root / page)) for page in pages}
    for given in table.given:
        if given.page != "*" and not any(map(given.covers, stated[given.page])):
            yield given


def value_of(claim: Claim, table: ClaimsTable, root: Path) -> float | None:
    """Return the value of a claim's run, in the page's unit; None where it has none."""
    value = values_of(table.runs[claim.run], root).get(claim.value)
    return None if value is None else value * claim.times


def other_inputs(table: ClaimsTable, root: Path) -> dict[str, tuple[str, ...]]:
    """Return the runs of which an input is not what it was, with the inputs."""
    found = {}
    for name, run in table.runs.items():
        odd = tuple(file for file, digest in run.inputs.items() if not _is(root / file, digest))
        if odd:
            found[name] = odd
    return found


def _is(file: Path, digest: str) -> bool:
    return file.is_file() and file_sha256(file) == digest


def updated(table: ClaimsTable, root: Path) -> tuple[ClaimsTable, list[str]]:
    """Write the values of the runs into claims and pages; drop claims that no page states.

    Returns:
        The new table, and a line for each change.

    Raises:
        KitError: A page cannot be read or written.
    """
    claims, told = [], []
    for page in dict.fromkeys(claim.page for claim in table.claims):
        kept, lines = _updated_page(table, root, page)
        claims += kept
        told += lines
    return replace(table, claims=tuple(claims)), told


def _updated_page(table: ClaimsTable, root: Path, page: str) -> tuple[list[Claim], list[str]]:
    text = read_page(root / page)
    left = list(figures_of(table, root, page))
    kept, told = [], []
    changes: list[tuple[StatedFigure, str]] = []
    for claim in table.of_page(page):
        value = value_of(claim, table, root)
        new = claim.text if value is None else rounded(value, claim.text)
        if value is not None and is_rounding(claim.text, value):
            new = claim.text
        stated = _taken(left, claim) or _taken(left, replace(claim, text=new))
        if stated is None or value is None:
            told.append(f"{page}: {claim.text} ({claim.what}): claim dropped")
            continue
        if stated.text != new:
            changes.append((stated, new))
        if claim.text != new:
            told.append(f"{page}:{stated.line}: {claim.text} → {new} ({claim.what})")
        kept.append(replace(claim, text=new))
    for stated, new in sorted(changes, key=lambda change: -change[0].start):
        text = text[: stated.start] + new + text[stated.start + len(stated.text) :]
    if changes:
        with replacing(root / page) as partial:
            partial.write_text(text, encoding="utf-8")
    return kept, told


def _taken(left: list[StatedFigure], claim: Claim) -> StatedFigure | None:
    """Take the first figure that a claim is about out of `left`."""
    for place, figure in enumerate(left):
        if figure.key == claim.key:
            return left.pop(place)
    return None


def repository(start: Path) -> Path:
    """Return the repository's root, which holds docs/claims.json.

    Raises:
        KitError: This is no checkout of the kit.
    """
    for folder in (start, *start.parents):
        if (folder / "docs" / "claims.json").is_file():
            return folder
    raise KitError(f"no docs/claims.json in {start} or above; run this in a checkout of the kit")
