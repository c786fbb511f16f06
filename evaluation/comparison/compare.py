"""Measured figures beside reported ones; subtracted only where both are of the same split."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from evaluation.comparison.measured import TeamResults
from evaluation.comparison.reported import METRICS, UNSPECIFIED, Reported, Result
from evaluation.result_files import write_results
from imaging.errors import KitError
from imaging.tables import write_csv

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Comparison:
    """One reported figure, and what one team has beside it."""

    reported_by: str
    """Name of the table in evaluation/reported."""
    split: str
    source: str
    verified: bool
    note: str
    metric: str
    of: str
    reported: Decimal
    measured_by: str
    measured_split: str | None
    measured: Decimal | None
    difference: Decimal | None
    """Measured minus reported; None where the two are not comparable."""
    why_not: str | None

    @property
    def short(self) -> bool:
        """Tell whether a comparable figure is worse than the reported one, at its digits."""
        if self.measured is None or self.difference is None:
            return False
        measured = self.measured.quantize(self.reported, ROUND_HALF_UP)
        better = METRICS[self.metric].more_is_better
        return measured < self.reported if better else measured > self.reported


def comparisons(tables: Iterable[Reported], teams: Sequence[TeamResults]) -> list[Comparison]:
    """Set every figure of `tables` beside what each of `teams` has."""
    return [
        _compared(table.name, result, metric, of, team)
        for table in tables
        for result in table.results
        for metric, figures in result.figures.items()
        for of in figures
        for team in teams
    ]


def _compared(name: str, result: Result, metric: str, of: str, team: TeamResults) -> Comparison:
    reported = result.figures[metric][of]
    figure = team.figures.get(metric, {}).get(of)
    why_not = NOT_MEASURED if figure is None else _split_apart(result, team) or figure.flaw
    return Comparison(
        reported_by=name,
        split=result.split,
        source=result.source,
        verified=result.verified,
        note=result.note,
        metric=metric,
        of=of,
        reported=reported,
        measured_by=team.team,
        measured_split=team.split,
        measured=figure.value if figure else None,
        difference=figure.value - reported if figure and why_not is None else None,
        why_not=why_not,
    )


def _split_apart(result: Result, team: TeamResults) -> str | None:
    """Say why the splits of two figures are not the same; None where they are."""
    if result.split == UNSPECIFIED:
        return "reported without a split"
    if team.split is None:
        return "own split unknown: give --split"
    return None if team.split == result.split else f"other split: {team.split}"


def check_reached(rows: Sequence[Comparison], name: str) -> None:
    """Require that every comparable, verified figure of the table `name` is reached.

    Raises:
        KitError: One falls short, or a team has nothing that is comparable.
    """
    reported = [row for row in rows if row.reported_by == name]
    firm = [row for row in reported if row.difference is not None and row.verified]
    for team in dict.fromkeys(row.measured_by for row in reported):
        if not any(row.measured_by == team for row in firm):
            reasons = dict.fromkeys(
                row.why_not or "unverified" for row in reported if row.measured_by == team
            )
            raise KitError(f"nothing of {team} can be compared with {name}: {'; '.join(reasons)}")
    if short := [_figure_line(row) for row in firm if row.short]:
        raise KitError(
            f"{len(short)} of {len(firm)} figures fall short of {name}: {'; '.join(short)}"
        )


def _figure_line(row: Comparison) -> str:
    metric = METRICS[row.metric]
    return (
        f"{row.measured_by}, {row.split}, {figure_name(row.metric, row.of)} {row.measured} "
        f"{metric.unit}, reported {row.reported} ({row.difference:+})"
    )


def figure_name(metric: str, of: str) -> str:
    """Return what a figure is called in tables: "organ DSC", "mean time"."""
    return f"{'organ' if of == 'organs' else of} {METRICS[metric].title}"


def caveats(teams: Sequence[TeamResults]) -> dict[str, list[str]]:
    """Return every caveat and the teams that it is about."""
    found: dict[str, list[str]] = {}
    for team in teams:
        for caveat in team.caveats:
            found.setdefault(caveat, []).append(team.team)
    return found


def write_comparison(
    rows: Sequence[Comparison], teams: Sequence[TeamResults], folder: Path
) -> None:
    """Write compare.json and compare.csv into `folder`."""
    content = {"caveats": caveats(teams), "rows": [_as_json(row) for row in rows]}
    write_results("comparison", content, folder / "compare.json")
    names = [field.name for field in fields(Comparison)]
    write_csv(folder / "compare.csv", names, (asdict(row).values() for row in rows))


def _as_json(row: Comparison) -> dict[str, object]:
    """Return a row with its decimals as the numbers that JSON has."""
    return {k: float(v) if isinstance(v, Decimal) else v for k, v in asdict(row).items()}
