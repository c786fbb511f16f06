"""Scores by a property of the cases, and how each group differs from the reference group."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from evaluation.scoring.intervals import Floats, against_a_figure, unpaired_difference
from evaluation.scoring.scores import FIGURES, CaseScores, Mean, Scores, Stratum
from imaging.errors import KitError
from imaging.tables import write_csv

NOT_GIVEN = "not given"
_MOST_NUMBERS = 6
"""A column with more different numbers is cut in three groups."""
_HEAD = (
    "column", "stratum", "reference", "of", "metric", "cases", "mean", "low", "high",
    "difference", "difference_low", "difference_high", "settled", "cases_needed",
)  # fmt: skip
Table = dict[str, dict[str, str]]
"""table[column][case]."""
PARTLY = (
    "Not every organ was annotated in every case, so strata may differ because their organs do: "
    "score with --annotated and the organs that all cases have."
)
"""What to say where a stratum's organs may not be another's."""


def read_strata(path: Path) -> Table:
    """Read a CSV file with a column "case" and others.

    Raises:
        KitError: It cannot be read, has no such column, no other, or a case twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise KitError(f"cannot read the table of strata {path}: {error}") from error
    names = [name for name in columns if name != "case"]
    if "case" not in columns or not names:
        found = ", ".join(columns) or "none"
        raise KitError(f"{path}: needs a column case and one more, found: {found}")
    if odd := next((n for n, row in enumerate(rows, 2) if None in row or None in row.values()), 0):
        raise KitError(f"{path}: line {odd} does not have {len(columns)} cells")
    counts = Counter(row["case"] for row in rows)
    if twice := [case for case, count in counts.items() if count > 1]:
        raise KitError(f"{path}: given twice: {', '.join(twice)}; one row a case")
    return {name: {row["case"]: row[name].strip() for row in rows} for name in names}


def stratify(scores: Scores, table: Table, references: Sequence[str] = ()) -> tuple[Stratum, ...]:
    """Return every figure of every stratum.

    A case without a value is of the stratum "not given"; that of the most cases is the reference.

    Args:
        scores: Of all cases.
        table: Values by column and case.
        references: "COLUMN=VALUE" of other references.

    Raises:
        KitError: No scored case is in the table, or a reference is not.
    """
    cases = [case for case in scores.cases if case.labels]
    known = {case for column in table.values() for case in column}
    if not known & {case.case for case in cases}:
        raise KitError(
            "no scored case is in the table of strata; its column case holds names without .nii.gz"
        )
    wanted = _references(references, table)
    found: list[Stratum] = []
    for column, values in table.items():
        groups: dict[str, list[CaseScores]] = {}
        for value, case in zip(_grouped(cases, values), cases, strict=True):
            groups.setdefault(value, []).append(case)
        given = {value: len(group) for value, group in groups.items() if value != NOT_GIVEN}
        reference = wanted.get(column) or max(given or groups, key=lambda v: len(groups[v]))
        if reference not in groups:
            options = ", ".join(groups)
            raise KitError(f"--reference: no case has {column}={reference}; there are: {options}")
        found += _strata(column, groups, reference)
    return tuple(found)


def write_strata(strata: Sequence[Stratum], path: Path) -> None:
    """Write one row a stratum and figure.

    Raises:
        KitError: The file cannot be written.
    """
    rows = []
    for s in strata:
        d = s.difference
        change = (d.value, d.low, d.high, d.settled, d.cases_needed) if d else (None,) * 5
        mean = (s.mean.count, s.mean.value, s.mean.low, s.mean.high)
        rows.append((s.column, s.value, s.reference, s.of, s.metric, *mean, *change))
    write_csv(path, _HEAD, rows)


def _strata(
    column: str, groups: Mapping[str, Sequence[CaseScores]], reference: str
) -> list[Stratum]:
    order = sorted(groups, key=lambda value: (value != reference, value == NOT_GIVEN, value))
    rows = []
    for of, metric in FIGURES:
        values = {value: _values(groups[value], of, metric) for value in order}
        if not any(len(found) for found in values.values()):
            continue  # nobody annotated it
        for value in order:
            own, others = values[value], values[reference]
            compared = value != reference and len(own) and len(others)
            difference = unpaired_difference(own, others) if compared else None
            is_it = value == reference
            rows.append(Stratum(column, value, metric, of, _mean(own), is_it, difference))
    return rows


def _mean(values: Floats) -> Mean:
    if not len(values):
        return Mean(None, 0)
    found = against_a_figure(values, 0.0)
    return Mean(found.value, len(values), found.low, found.high)


def _values(cases: Sequence[CaseScores], of: str, metric: str) -> Floats:
    values = (case.value(of, metric) for case in cases)
    return np.array([value for value in values if value is not None], np.float64)


def _grouped(cases: Sequence[CaseScores], values: Mapping[str, str]) -> list[str]:
    """Return each case's stratum; many numbers are cut at the thirds of the cases."""
    given = [values.get(case.case) or NOT_GIVEN for case in cases]
    numbers = [_number(value) for value in given]
    known = [n for n, v in zip(numbers, given, strict=True) if v != NOT_GIVEN]
    found = np.array([n for n in known if n is not None], np.float64)
    if len(found) < len(known) or len(np.unique(found)) <= _MOST_NUMBERS:
        return given
    low, high = (float(edge) for edge in np.quantile(found, (1 / 3, 2 / 3), method="nearest"))
    names = (f"up to {low:g}", f"over {low:g} to {high:g}", f"over {high:g}")
    return [NOT_GIVEN if n is None else names[int(n > low) + int(n > high)] for n in numbers]


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _references(words: Sequence[str], table: Table) -> dict[str, str]:
    """Read COLUMN=VALUE."""
    found = {}
    for word in words:
        column, equals, value = word.partition("=")
        if not equals or column not in table:
            columns = ", ".join(table)
            raise KitError(f"--reference {word!r}: give COLUMN=VALUE; columns: {columns}")
        found[column] = value
    return found
