"""The picture of a calibration: accuracy over confidence, before and after."""

from pathlib import Path

from matplotlib.figure import Figure

from inference.files import replacing
from train.calibration.reliability import Reliability


def draw(
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
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png")
