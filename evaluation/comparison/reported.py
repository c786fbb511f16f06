"""Figures that others have reported, each with its split and source: evaluation/reported/*.toml.

Strict: an unknown or missing key is an error, so that a misspelt one is never a silent gap.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

from imaging.errors import KitError
from imaging.organs import ORGANS

UNSPECIFIED = "unspecified"
SPLITS: dict[str, int | None] = {
    "public validation": 50,
    "online validation": 100,
    "test": None,
    "FLARE22 validation": 50,
    "FLARE22 test": 200,
    UNSPECIFIED: None,
}
"""Every split that a figure may be of, and its cases; None where that could not be confirmed."""


@dataclass(frozen=True)
class Metric:
    """A kind of figure."""

    title: str
    unit: str
    subjects: frozenset[str] | None
    """What it may be of; None: anything, as there is nothing of the kit's own to set beside it."""
    more_is_better: bool = False


_MASKS = frozenset({*ORGANS, "organs"})
METRICS: dict[str, Metric] = {
    "dsc_percent": Metric("DSC", "%", _MASKS, more_is_better=True),
    "nsd_percent": Metric("NSD", "%", _MASKS, more_is_better=True),
    "seconds": Metric("time", "s", frozenset({"mean", "max"})),
    "gpu_auc_mib_s": Metric("GPU AUC", "MiB·s", frozenset({"mean"})),
    "stage_seconds": Metric("stage", "s", None),
}
"""By the name of its table in the TOML files."""

Figures = dict[str, dict[str, Decimal]]
"""figures[metric][of], with the digits as printed."""


@dataclass(frozen=True)
class Result:
    """What one source reports of one split."""

    split: str
    source: str
    verified: bool
    """The source was read, and says both the figures and their split."""
    figures: Figures
    note: str = ""


@dataclass(frozen=True)
class Reported:
    """Everything that is known of one team."""

    name: str
    """Name of its file."""
    team: str
    title: str
    reference: str
    results: tuple[Result, ...]
    note: str = ""


def reported_names() -> list[str]:
    """Return the names of the tables that the kit holds."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def find_reported(name: str) -> Reported:
    """Read a table of the kit by its name, or any other by its path.

    Raises:
        KitError: There is no such table, or it does not say exactly what the format asks.
    """
    if name.endswith(".toml"):
        return load_reported(Path(name))
    if name not in reported_names():
        known = ", ".join(reported_names())
        raise KitError(f"no reported figures {name!r}; give one of {known}, or a TOML file")
    return load_reported(_folder() / f"{name}.toml")


def load_reported(path: Path) -> Reported:
    """Read one TOML file.

    Raises:
        KitError: It cannot be read, or does not say exactly what the format asks.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise KitError(f"{path}: not a readable table of figures: {error}") from error
    where = str(path)
    needed = {"team": str, "title": str, "reference": str, "results": list}
    _check_keys(table, needed, {"note": str}, where)
    results = tuple(
        _result(row, f"{where}: result {number}") for number, row in enumerate(table["results"], 1)
    )
    if not results:
        raise KitError(f"{where}: results: at least one is needed")
    return Reported(**{**table, "name": path.stem, "results": results})


def _folder() -> Path:
    return Path(str(files("evaluation"))) / "reported"


def _result(row: Any, where: str) -> Result:
    if not isinstance(row, dict):
        raise KitError(f"{where}: expected a table, found {row!r}")
    needed = {"split": str, "source": str, "verified": bool}
    _check_keys(row, needed, {"note": str, **dict.fromkeys(METRICS, dict)}, where)
    if row["split"] not in SPLITS:
        raise KitError(f"{where}: split: {row['split']!r} is none of {', '.join(SPLITS)}")
    if row["split"] == UNSPECIFIED and row["verified"]:
        raise KitError(f"{where}: verified: a figure of an unspecified split is not")
    figures = {key: _figures(key, row.pop(key), where) for key in METRICS if key in row}
    if not figures:
        raise KitError(f"{where}: no figures; give at least one of {', '.join(METRICS)}")
    return Result(**row, figures=figures)


def _figures(key: str, table: dict[str, Any], where: str) -> dict[str, Decimal]:
    metric = METRICS[key]
    for subject, value in table.items():
        place = f"{where}: {key}: {subject}"
        if metric.subjects is not None and subject not in metric.subjects:
            raise KitError(f"{place}: none of {', '.join(sorted(metric.subjects))}")
        if type(value) not in (int, Decimal) or not Decimal(value).is_finite() or value < 0:
            raise KitError(f"{place}: expected a number of {metric.unit}, found {value!r}")
        if metric.unit == "%" and not 1 < value <= 100:
            raise KitError(f"{place}: {value} is no percentage; fractions are given as percent")
    if not table:
        raise KitError(f"{where}: {key}: no figures")
    return {subject: Decimal(value) for subject, value in table.items()}


def _check_keys(
    table: dict[str, Any],
    needed: Mapping[str, type],
    optional: Mapping[str, type],
    where: str,
) -> None:
    """Check that `table` has exactly these keys, with values of these types."""
    if odd := sorted(
        (table.keys() - needed.keys() - optional.keys()) | (needed.keys() - table.keys())
    ):
        raise KitError(f"{where}: unknown or missing keys: {', '.join(odd)}")
    for key, value in table.items():
        kind = {**needed, **optional}[key]
        if type(value) is not kind or value == "":
            raise KitError(f"{where}: {key}: expected {kind.__name__}, found {value!r}")
