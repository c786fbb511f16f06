"""Cross-validate thresholds on confidence: what each keeps, and how much of that is right.

Judged are voxels that the network labels as an annotated organ of the case, after the manifest's
component rules: voxels by their own signals, and connected components by the mean probability of
their voxels. The signals are those of all classes, also of unannotated ones, because the CTs that
will be labelled have no annotations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from imaging.fitted_tables import numbers_table, show_table
from imaging.terminal import terminal
from train.pseudo_labels.calibration.signals import signals_of
from train.pseudo_labels.calibration.temperature import ConfidencePieces, Samples
from train.pseudo_labels.cuts import Counts, least_score
from train.pseudo_labels.selection import RIGHT_SHARE

WANTED = (0.8, 0.9, 0.95)
"""Precisions that thresholds are chosen for."""
COMPONENT, COMPONENT_VOXELS = "component", "component's voxels"
SIGNALS = ("probability", "margin", "entropy", COMPONENT, COMPONENT_VOXELS)
"""The last two have the same thresholds, for components to be right, and count what is kept in
components or in voxels."""
Selection = dict[str, dict[str, dict[str, "Kept"]]]
"""By signal, wanted precision (as text) and case."""


class Scored(NamedTuple):
    """Voxels, or components, of one case."""

    scores: NDArray[np.floating]
    """0 to 1, larger where surer."""
    good: Counts
    """1 where it is right, for a component by `RIGHT_SHARE`; else 0: what thresholds go by."""
    right: Counts
    """How much of it is right, in what is counted."""
    total: Counts
    """How much it is."""


@dataclass(frozen=True)
class Kept:
    """What a threshold keeps of one case."""

    threshold: float | None
    """0: everything is kept; None: nothing of the other cases is sure enough, and so of this."""
    before: float
    """Share of the case that is right."""
    share: float
    """Of the case kept."""
    precision: float | None
    """Share of the kept that is right; None where nothing is."""


@dataclass(frozen=True)
class Summary:
    """Of all cases, each counting alike."""

    before: float
    share: float
    precision: float | None
    """Of the cases of which anything is kept."""
    worst: float | None
    """Least precision of these."""
    reached: int
    """Cases of which something is kept, with the wanted precision."""
    empty: int
    """Cases of which nothing is kept."""


def scored(samples: Samples, pieces: ConfidencePieces, signal: str, temperature: float) -> Scored:
    """Return the scores of one case's voxels or components.

    A component's mean is that of its samples; one without any is left out.
    """
    signals = signals_of(softmax(samples.logits.T / np.float32(temperature), axis=0))
    inside, count = pieces.of >= 0, len(pieces.voxels)
    if signal not in (COMPONENT, COMPONENT_VOXELS):
        right = (samples.logits.argmax(axis=1) == samples.truth)[inside].astype(np.float64)
        shares = signals.share(signal, samples.logits.shape[1])[inside]
        return Scored(shares, right, right, np.ones_like(right))
    sums = np.bincount(pieces.of[inside], signals.probability[inside], minlength=count)
    seen = np.bincount(pieces.of[inside], minlength=count)
    there = seen > 0
    right, voxels = pieces.right[there].astype(float), pieces.voxels[there].astype(float)
    scores, good = sums[there] / seen[there], (right >= RIGHT_SHARE * voxels).astype(np.float64)
    if signal == COMPONENT:
        return Scored(scores, good, good, np.ones_like(good))
    return Scored(scores, good, right, voxels)


def threshold_of(cases: Sequence[Scored], wanted: float) -> float:
    """Return the least score such that `wanted` of all at or above it are good, as `least_score`.

    Each case counts alike, however many voxels or components it has.
    """
    shares = [np.full(len(case.good), 1 / max(1, len(case.good))) for case in cases]
    total = np.concatenate(shares)
    good = np.concatenate([case.good for case in cases]) * total
    return least_score(np.concatenate([case.scores for case in cases]), good, total, wanted)


def kept(case: Scored, threshold: float) -> Kept:
    """Judge a threshold on a case that has at least one voxel or component."""
    above, whole = case.scores >= threshold, float(case.total.sum())
    left = float(case.total[above].sum())
    precision = float(case.right[above].sum()) / left if left else None
    finite = threshold if np.isfinite(threshold) else None
    return Kept(finite, float(case.right.sum()) / whole, left / whole, precision)


def cross_validated(
    cases: Mapping[str, tuple[Samples, ConfidencePieces]], temperatures: Mapping[str, float]
) -> Selection:
    """Judge every signal and wanted precision on each case with what was chosen on the others.

    Args:
        cases: Two or more.
        temperatures: Of each case: fitted on the others.

    Returns:
        Without the cases in which the network calls nothing by the name of an annotated organ.
    """
    found: Selection = {}
    for signal in SIGNALS:
        rows: dict[str, dict[str, Kept]] = {f"{wanted:g}": {} for wanted in WANTED}
        for held_out, temperature in temperatures.items():
            every = {name: scored(*case, signal, temperature) for name, case in cases.items()}
            one = every.pop(held_out)
            for wanted in WANTED if len(one.good) else ():
                threshold = threshold_of(list(every.values()), wanted)
                rows[f"{wanted:g}"][held_out] = kept(one, threshold)
        found[signal] = rows
    return found


def summary(rows: Sequence[Kept], wanted: float) -> Summary:
    """Sum up one or more cases."""
    reached = [row.precision for row in rows if row.precision is not None]
    empty = len(rows) - len(reached)
    return Summary(
        float(np.mean([row.before for row in rows])),
        float(np.mean([row.share for row in rows])),
        float(np.mean(reached)) if reached else None,
        min(reached, default=None),
        sum(precision >= wanted for precision in reached),
        empty,
    )


def selection_table(selection: Selection) -> dict[str, Any]:
    """Return a selection, with its sums, in a form for JSON."""
    return {
        signal: {
            wanted: {
                "all": asdict(summary(list(rows.values()), float(wanted))) if rows else None,
                "cases": {case: asdict(row) for case, row in rows.items()},
            }
            for wanted, rows in of.items()
        }
        for signal, of in selection.items()
    }


def show_kept(selection: Selection) -> None:
    """Print a row for each signal and wanted precision."""
    headings = ("signal", "wanted", "kept", "before", "after", "worst", "reached")
    title = "what is right of left-out cases, and kept by thresholds of the others"
    table = numbers_table(*headings, title=title)
    table.columns[0].no_wrap = True
    for signal, of in selection.items():
        for wanted, rows in of.items():
            if rows:
                found = summary(list(rows.values()), float(wanted))
                after = (found.precision, found.worst)
                table.add_row(
                    signal, wanted, f"{found.share:.2f}", f"{found.before:.3f}",
                    *("" if value is None else f"{value:.3f}" for value in after),
                    f"{found.reached} of {len(rows) - found.empty}",
                )  # fmt: skip
    show_table(table, terminal())
