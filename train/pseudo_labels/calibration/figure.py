"""Plots of a calibration: accuracy over confidence, and what thresholds keep."""

from pathlib import Path

from matplotlib.figure import Figure

from evaluation.figures import save_png
from train.pseudo_labels.calibration.temperature import Reliability
from train.pseudo_labels.calibration.thresholds import SIGNALS, WANTED, Selection

_MARKERS = ("o", "s", "^")
_COLORS = ("0.0", "#c04000", "#0060a0", "#508030", "#806090")


def draw_calibration(
    network: str, temperature: float, before: Reliability, after: Reliability, path: Path
) -> None:
    """Draw both reliability curves and how many voxels each of their points stands for."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    figure.suptitle(f"{network}: voxels that the truth or the network calls an organ")
    curve, counts = figure.subplots(1, 2)
    curve.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    ways = {
        "as trained": (before, "o", "-", "0.0"),
        f"temperature {temperature:.2f}, fitted on other cases": (after, "s", "--", "0.45"),
    }
    for name, (found, marker, line, color) in ways.items():
        confidence = [one.confidence for one in found.bins]
        label = f"{name}: ECE {found.ece:.3f}"
        accuracy = [one.accuracy for one in found.bins]
        curve.plot(confidence, accuracy, line, marker=marker, color=color, label=label)
        counts.plot(confidence, [one.count for one in found.bins], line, marker=marker, color=color)
    curve.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share that is right")
    curve.legend(fontsize=8, loc="upper left", framealpha=1, edgecolor="white")
    counts.set(xlim=(0, 1), yscale="log", xlabel="confidence", ylabel="voxels")
    for axis in (curve, counts):
        axis.spines[["top", "right"]].set_visible(False)
    save_png(figure, path, dpi=110)


def draw_kept(network: str, selection: Selection, path: Path) -> None:
    """Draw each case from all that is labelled to what the thresholds of the others keep of it."""
    figure = Figure(figsize=(13, 3.4), layout="constrained")
    figure.suptitle(f"{network}: what is kept of a case by thresholds from the other cases")
    panels = figure.subplots(1, len(SIGNALS), sharey=True)
    for axis, signal in zip(panels, SIGNALS, strict=True):
        of = selection[signal]
        for number, case in enumerate(next(iter(of.values()))):
            rows = [rows[case] for rows in of.values()]
            color = _COLORS[number % len(_COLORS)]
            points = [(1.0, rows[0].before)]
            points += [(row.share, row.precision) for row in rows if row.precision is not None]
            axis.plot(*zip(*points, strict=True), color=color, linewidth=1, label=case)
            axis.plot(1.0, rows[0].before, "x", color=color)
            for row, marker in zip(rows, _MARKERS, strict=True):
                if row.precision is not None:
                    axis.plot(row.share, row.precision, marker, color=color, markersize=5)
        for wanted in WANTED:
            axis.axhline(wanted, color="0.8", linewidth=0.8, zorder=0)
        axis.set(xlim=(-0.03, 1.03), ylim=(0, 1.03), xlabel="share kept", title=signal)
        axis.spines[["top", "right"]].set_visible(False)
    legend = ", ".join(
        f"{m} {w:g}" for m, w in zip(("circle", "square", "triangle"), WANTED, strict=True)
    )
    panels[0].set_ylabel(f"share that is right\n(cross: all; wanted: {legend})", fontsize=8)
    panels[0].legend(fontsize=7, loc="lower left")
    save_png(figure, path, dpi=110)
