"""One team's results as figures that can stand beside reported ones."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from statistics import fmean

from evaluation.comparison.reported import SPLITS, UNSPECIFIED, challenge_of
from evaluation.efficiency.results import CaseEfficiency, Efficiency, load_efficiency
from evaluation.profiles.profile import FLARE23
from evaluation.scoring.official import LOW_DSC_2023
from evaluation.scoring.scores import Mean, Scores, load_scores
from imaging.errors import KitError
from imaging.records import read_table
from imaging.words import number_of

FILES = ("scores.json", "efficiency.json")
_MOST_NAMED = 3
"""Organs that a reason names; of more it says how many."""


@dataclass(frozen=True)
class Figure:
    """One measured figure."""

    value: Decimal
    flaw: str | None = None
    """Why it is no figure of the whole split by the challenge's rules; None where it is."""


Figures = dict[str, dict[str, Figure]]
"""figures[metric][of], in the words and units of evaluation/reported."""


@dataclass(frozen=True)
class TeamResults:
    """One team's scores, its efficiency, or both."""

    team: str
    split: str | None
    figures: Figures
    caveats: tuple[str, ...] = ()
    """What the figures depend on, although they can be compared."""
    scores: Scores | None = None
    """Case by case; None where there is only an efficiency.json."""


def load_measured(path: Path, split: str | None = None) -> TeamResults:
    """Read a results folder, or one scores.json or efficiency.json.

    Args:
        path: Folder or file.
        split: Which cases they are, where the files do not say so themselves.

    Raises:
        KitError: There are no results, or they contradict each other or `split`.
    """
    scores, efficiency = found = load_results(path)
    given = [table for table in found if table is not None]
    split = _one_split(path, {table.split for table in given} | {split})
    figures: Figures = {}
    caveats: list[str] = []
    if scores is not None:
        figures |= _score_figures(scores, split)
        if scores.profile == FLARE23.name and scores.low_dsc != LOW_DSC_2023:
            caveats.append(
                f"NSD counts 0 below a DSC of {scores.low_dsc:g}; during FLARE23 it was "
                f"{LOW_DSC_2023:g} (score --low-dsc)"
            )
        if scores.partly_annotated:
            caveats.append(
                "not every organ was annotated in every case, so the mean over organs is not that "
                "over cases, of which differences are made"
            )
    if efficiency is not None:
        figures |= _efficiency_figures(efficiency, split)
        machine = (efficiency.circumstances.get(key) for key in ("cpu", "gpu"))
        named = ", ".join(str(part) for part in machine if part)
        caveats.append(f"time and GPU memory are those of {named or 'an unnamed machine'}")
    return TeamResults(given[0].team, split, figures, tuple(caveats), scores)


def check_names(teams: Iterable[str]) -> None:
    """Refuse two teams of one name.

    Raises:
        KitError: Tables could not tell them apart.
    """
    if twice := [name for name, count in Counter(teams).items() if count > 1]:
        raise KitError(f"several results are {', '.join(twice)}'s; name them apart: score --team")


def load_results(path: Path) -> tuple[Scores | None, Efficiency | None]:
    """Read the results that `path` is or holds: scores, times, or both.

    Raises:
        KitError: There are none, or they cannot be read.
    """
    scores, efficiency = None, None
    paths = [path / name for name in FILES if (path / name).is_file()] if path.is_dir() else [path]
    if not paths:
        raise KitError(f"{path} holds no {' or '.join(FILES)}; run score or efficiency first")
    for file in paths:
        if read_table(file, "results")[0].get("kind") == "efficiency":
            efficiency = load_efficiency(file)
        else:
            scores = load_scores(file)
    return scores, efficiency


def _one_split(path: Path, stated: set[str | None]) -> str | None:
    names = sorted(name for name in stated if name is not None)
    if len(names) > 1:
        raise KitError(f"{path} is given as of {' and of '.join(names)}; only one can be true")
    return names[0] if names else None


def check_split(split: str) -> None:
    """Refuse a split that no reported figure can be of.

    Raises:
        KitError: It is misspelt, or is none of them.
    """
    known = [name for name in SPLITS if name != UNSPECIFIED]
    if split not in known:
        raise KitError(f"unknown split {split!r}; reported figures are of: {', '.join(known)}")


def _score_figures(scores: Scores, split: str | None) -> Figures:
    return {
        f"{metric}_percent": {
            of: Figure(_hundredths(100 * mean.value), _score_flaw(scores, of, mean, split))
            for of, mean in scores.means[metric].items()
            if mean.value is not None
        }
        for metric in ("dsc", "nsd")
    }


def _score_flaw(scores: Scores, of: str, mean: Mean, split: str | None) -> str | None:
    if scores.rules != "official":
        return f"{scores.rules} rules"
    if split is not None and (wanted := challenge_of(split)) != scores.challenge.challenge:
        return f"scored by the rules of {scores.profile}, not of {wanted}"
    unannotated = {organ for case in scores.cases for organ in case.not_in_mean}
    if of == "organs" and unannotated:
        named = [organ for organ in scores.names if organ in unannotated]
        shown = f"{len(named)} organs" if len(named) > _MOST_NAMED else ", ".join(named)
        return f"not annotated in every case: {shown}"
    if mean.count < len(scores.cases):
        return f"{mean.count} of {number_of(len(scores.cases), 'case')} scored"
    return _size_flaw(mean.count, split)


def _efficiency_figures(efficiency: Efficiency, split: str | None) -> Figures:
    cases = efficiency.cases
    flaw = _size_flaw(len(cases), split)
    if efficiency.failed:
        flaw = f"{len(efficiency.failed)} of {number_of(len(cases), 'case')} failed"
    figures: Figures = {}
    if seconds := _medians(cases, "seconds"):
        figures["seconds"] = {
            "mean": Figure(_hundredths(fmean(seconds)), flaw),
            "max": Figure(_hundredths(max(seconds)), flaw),
        }
    if areas := _medians(cases, "gpu_mib.auc_official"):
        figures["gpu_auc_mib_s"] = {"mean": Figure(_hundredths(fmean(areas)), flaw)}
    return figures


def _medians(cases: tuple[CaseEfficiency, ...], name: str) -> list[float]:
    """Return one figure of every case; nothing where a case lacks it."""
    found = [case.figures[name].median for case in cases if name in case.figures]
    return found if len(found) == len(cases) else []


def _size_flaw(cases: int, split: str | None) -> str | None:
    size = SPLITS.get(split) if split is not None else None
    return (
        f"{number_of(cases, 'case')}, the split has {size}" if size not in (None, cases) else None
    )


def _hundredths(value: float) -> Decimal:
    return Decimal(f"{value:.2f}")
