"""Find volumes unlike the labelled cases', and rank the cases that a person should review."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imaging.organs import ORGANS, TUMOUR
from train.pseudo_labels.audit.measure import CaseMeasures

MOST_Z = 3.5
"""Beyond it a modified z-score is an outlier's (Iglewicz and Hoaglin 1993)."""
_NORMAL = 0.6745
"""Median absolute deviation of the standard normal distribution."""
FEWEST = 5
"""Labelled cases under which no volume is judged."""
NEARLY_ALL = 0.95
"""Share of labelled cases that must have a class for its absence to be odd."""
FLAG = 0.25
"""What one outlier, missing class or oddity adds to a case's worth."""
_LISTED_UNDER = 0.7
"""Agreement that is named among the reasons."""


@dataclass(frozen=True)
class Normal:
    """A class's volumes where annotators looked for it."""

    ml: tuple[float, ...]
    """Of the cases that have it, sorted."""
    share: float
    """Of the cases in which it was looked for that have it."""

    def z_of(self, ml: float) -> float | None:
        """Return the modified z-score of a volume's logarithm; None with too little to compare."""
        logs = np.log(self.ml)
        if len(logs) < FEWEST:
            return None
        middle = np.median(logs)
        spread = float(np.median(np.abs(logs - middle)))
        return float(_NORMAL * (np.log(ml) - middle) / spread) if spread else None

    @property
    def median_ml(self) -> float:
        """Middle volume."""
        return float(np.median(self.ml))


@dataclass(frozen=True)
class Ranked:
    """A case, how much it is worth a look, and why."""

    measured: CaseMeasures
    worth: float
    reasons: tuple[str, ...]
    outliers: tuple[str, ...]
    """Classes whose volume is one."""


def normals_of(cases: Sequence[CaseMeasures]) -> dict[str, Normal]:
    """Return every class's volumes in the cases whose annotators looked for it."""
    found = {}
    for organ in ORGANS:
        volumes = [case.real_ml[organ] for case in cases if organ in case.real_ml]
        there = sorted(ml for ml in volumes if ml)
        found[organ] = Normal(tuple(there), len(there) / len(volumes) if volumes else 0.0)
    return found


def rank_cases(cases: Sequence[CaseMeasures], normals: dict[str, Normal]) -> list[Ranked]:
    """Return the cases, those most worth a human look first.

    Worth is the mean over the classes of one less their agreement, so that a small organ counts as
    much as a large one, plus `FLAG` for every outlier, missing class and oddity. A case that could
    not be read comes first.
    """
    ranked = [_ranked(case, normals) for case in cases]
    return sorted(ranked, key=lambda row: (-row.worth, row.measured.case))


def _ranked(case: CaseMeasures, normals: dict[str, Normal]) -> Ranked:
    if case.error is not None:
        return Ranked(case, float("inf"), (case.error,), ())
    disagreement = [1 - value for value in case.agreement.values()]
    outliers, flags = [], list(case.odd)
    for organ, normal in normals.items():
        if (ml := case.ml.get(organ)) is None:
            if organ != TUMOUR and len(normal.ml) >= FEWEST and normal.share >= NEARLY_ALL:
                flags.append(f"no {organ}")
        elif abs(normal.z_of(ml) or 0.0) > MOST_Z:
            outliers.append(organ)
            flags.append(f"{organ}: {ml:.1f} ml, {ml / normal.median_ml:.2g} times the median")
    worth = (float(np.mean(disagreement)) if disagreement else 0.0) + FLAG * len(flags)
    low = sorted((value, organ) for organ, value in case.agreement.items() if value < _LISTED_UNDER)
    if low:
        flags.append("little agreement: " + ", ".join(f"{organ} {dsc:.2f}" for dsc, organ in low))
    return Ranked(case, worth, tuple(flags), tuple(outliers))
