"""Figures that others have reported, each with its split and source: evaluation/reported/*.toml.

Strict: an unknown or missing key is an error, so that a misspelt one is never a silent gap.
"""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from imaging.errors import KitError
from imaging.organs import ORGANS
from imaging.records import Text, read_table, to_record

_FOLDER = Path(__file__).parents[1] / "reported"
UNSPECIFIED = "unspecified"
SPLITS: dict[str, int | None] = {
    "public validation": 50,
    "online validation": 100,
    "test": None,
    "FLARE22 validation": 50,
    "FLARE22 test": 200,
    "FLARE24 task 2 public validation": None,
    "FLARE24 task 2 online validation": None,
    "FLARE26 task 1 public validation": 50,
    "FLARE26 task 1 hidden validation": 100,
    UNSPECIFIED: None,
}
"""Every split that a figure may be of, and its cases; None where that could not be confirmed."""


def challenge_of(split: str) -> str:
    """Return whose split it is: "FLARE22" of "FLARE22 test", FLARE23 where it does not say."""
    return split.partition(" ")[0] if split.startswith("FLARE") else "FLARE23"


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

Figures = dict[str, int | Decimal]
"""By what they are of, with the digits as printed."""


@dataclass(frozen=True)
class Result:
    """What one source reports of one split; the figures by metric."""

    split: str
    source: Text
    verified: bool
    """The source was read, and says both the figures and their split."""
    note: Text = ""
    dsc_percent: Figures | None = None
    nsd_percent: Figures | None = None
    seconds: Figures | None = None
    gpu_auc_mib_s: Figures | None = None
    stage_seconds: Figures | None = None

    @property
    def figures(self) -> dict[str, dict[str, Decimal]]:
        """Return figures[metric][of]."""
        tables = {key: getattr(self, key) for key in METRICS}
        return {
            key: {of: Decimal(value) for of, value in table.items()}
            for key, table in tables.items()
            if table is not None
        }


@dataclass(frozen=True)
class Reported:
    """Everything that is known of one team."""

    team: Text
    title: Text
    reference: Text
    results: tuple[Result, ...]
    name: str
    """Name of its file."""
    note: Text = ""


def reported_names() -> list[str]:
    """Return the names of the tables that the kit holds."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


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
    return load_reported(_FOLDER / f"{name}.toml")


def load_reported(path: Path) -> Reported:
    """Read one TOML file.

    Raises:
        KitError: It cannot be read, or does not say exactly what the format asks.
    """
    where = f"table of figures {path}"
    table, _ = read_table(path, "table of figures", parse_float=Decimal)
    reported = to_record(table, Reported, where, known={"name": path.stem})
    if not reported.results:
        raise KitError(f"{where}: results: at least one is needed")
    for number, result in enumerate(reported.results):
        _check(result, f"{where}: results[{number}]")
    return reported


def _check(result: Result, where: str) -> None:
    """Check what types cannot say."""
    if result.split not in SPLITS:
        raise KitError(f"{where}.split: {result.split!r} is none of {', '.join(SPLITS)}")
    if result.split == UNSPECIFIED and result.verified:
        raise KitError(f"{where}.verified: a figure of an unspecified split is not")
    if not result.figures:
        raise KitError(f"{where}: no figures; give at least one of {', '.join(METRICS)}")
    for key, figures in result.figures.items():
        _check_figures(METRICS[key], figures, f"{where}.{key}")


def _check_figures(metric: Metric, figures: dict[str, Decimal], where: str) -> None:
    if not figures:
        raise KitError(f"{where}: no figures")
    for of, value in figures.items():
        place = f"{where}.{of}"
        if metric.subjects is not None and of not in metric.subjects:
            raise KitError(f"{place}: none of {', '.join(sorted(metric.subjects))}")
        if not value.is_finite() or value < 0:
            raise KitError(f"{place}: expected a number of {metric.unit}, found {value}")
        if metric.unit == "%" and not 1 < value <= 100:
            raise KitError(f"{place}: {value} is no percentage; fractions are given as percent")
