"""The picture of an inference benchmark: where time goes, memory over time, length against time."""

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from evaluation.efficiency.figure import BLACK, DARK, LIGHT, PALE
from evaluation.figures import save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

    from benchmarks.prediction import Benchmark

_STAGES = ("engine", "read", "prepare", "network", "labels", "clean", "write")
_SHADES = (PALE, LIGHT, DARK, BLACK, LIGHT, DARK, PALE)
_HATCHES = ("", "", "", "", "//", "//", "//")
_LINES = {"nnU-Net": "-", "nnU-Net, tuned": "--", "kit, exact": "-.", "kit": ":"}
_MARKERS = {"nnU-Net": "s", "nnU-Net, tuned": "D", "kit, exact": "^", "kit": "o"}


def draw_benchmark(found: "Benchmark", path: Path) -> None:
    """Draw `found` as a PNG file; greys and hatches, so that it can be printed."""
    cases = list(found.ways)
    figure = Figure(figsize=(11, 4 + 3 * len(cases)), layout="constrained")
    grid = figure.add_gridspec(len(cases) + 1, 2)
    figure.suptitle(f"{found.network}, {found.repeats} runs each, medians, {found.cpu}")
    _stages(figure.add_subplot(grid[0, 0]), found)
    _slices(figure.add_subplot(grid[0, 1]), found)
    for row, case in enumerate(cases, start=1):
        _memory(figure.add_subplot(grid[row, :]), found, case)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(figure, path, dpi=110)


def _stages(axis: "Axes", found: "Benchmark") -> None:
    cases = list(found.ways)
    left = [0.0] * len(cases)
    for stage, shade, hatch in zip(_STAGES, _SHADES, _HATCHES, strict=True):
        widths = [found.ways[case]["kit"].stages_s.get(stage, 0.0) for case in cases]
        axis.barh(
            cases, widths, left=left, label=stage, color=shade, hatch=hatch, edgecolor="white"
        )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axis.invert_yaxis()
    axis.set_title("kit: where the time goes", loc="left", fontsize=10)
    axis.set_xlabel("seconds (reading runs beside the engine's start)")
    axis.legend(ncols=4, fontsize=8, loc="lower right", framealpha=1, edgecolor="white")
    axis.set_ylim(len(cases) + 0.8, -0.6)
    axis.spines[["top", "right"]].set_visible(False)


def _slices(axis: "Axes", found: "Benchmark") -> None:
    ordered = sorted(found.slices, key=lambda case: found.slices[case])
    for name in next(iter(found.ways.values())):
        axis.plot(
            [found.slices[case] for case in ordered],
            [found.ways[case][name].median_s for case in ordered],
            color=BLACK,
            linestyle=_LINES[name],
            marker=_MARKERS[name],
            label=name,
        )
    axis.set(xscale="log", yscale="log", xlabel="slices", ylabel="seconds, whole process")
    for side in (axis.xaxis, axis.yaxis):
        plain_numbers(side)
    axis.set_title("seconds by number of slices", loc="left", fontsize=10)
    low, high = axis.get_ylim()
    axis.set_ylim(low, 4 * high)  # room for the legend
    axis.legend(fontsize=8, ncols=2, loc="upper left", framealpha=1, edgecolor="white")
    axis.grid(color=PALE)
    axis.spines[["top", "right"]].set_visible(False)


def plain_numbers(side: "Axis") -> None:
    """Write a logarithmic axis's numbers as people do; few of those between powers of ten."""
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    side.set_minor_locator(LogLocator(subs=(2, 5)))
    side.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _memory(axis: "Axes", found: "Benchmark", case: str) -> None:
    for name, curve in found.memory[case].items():
        times, mib = zip(*curve, strict=True)
        axis.plot(times, mib, color=BLACK, linestyle=_LINES[name], linewidth=1.2, label=name)
        axis.plot(times[-1], mib[-1], color=BLACK, marker=_MARKERS[name])
    axis.set(xscale="log", yscale="log", xlabel="seconds since the start", ylabel="memory (MiB)")
    for side in (axis.xaxis, axis.yaxis):
        plain_numbers(side)
    axis.set_title(f"{case}: memory of all processes over time", loc="left", fontsize=10)
    axis.legend(fontsize=8, framealpha=1, edgecolor="white", loc="upper left")
    axis.grid(color=PALE)
    axis.spines[["top", "right"]].set_visible(False)
