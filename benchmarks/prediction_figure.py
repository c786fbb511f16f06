"""The picture of an inference benchmark: where time goes, memory over time, length against time."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from evaluation.efficiency.figure import BLACK, DARK, LIGHT, PALE
from evaluation.figures import save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.prediction import Benchmark

Corner = Literal["lower right", "upper left"]
_STAGES = ("engine", "read", "prepare", "network", "labels", "clean", "write")
_SHADES = (PALE, LIGHT, DARK, BLACK, LIGHT, DARK, PALE)
_HATCHES = ("", "", "", "", "//", "//", "//")
_LINES = {
    "nnU-Net": "-", "nnU-Net, tuned": "--", "kit, exact": "-.", "kit": ":",
    "kit, 8-bit": (0, (1, 4)),
}  # fmt: skip
_MARKERS = {
    "nnU-Net": "s", "nnU-Net, tuned": "D", "kit, exact": "^", "kit": "o", "kit, 8-bit": "P",
}  # fmt: skip


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
    axis.set_xlabel("seconds (reading runs beside the engine's start)")
    axis.set_ylim(len(cases) + 0.8, -0.6)
    _finish(axis, "kit: where the time goes", "lower right", columns=4)


def _slices(axis: "Axes", found: "Benchmark") -> None:
    ordered = sorted(found.slices, key=lambda case: found.slices[case])
    slices = [found.slices[case] for case in ordered]
    for name in next(iter(found.ways.values())):
        seconds = [found.ways[case][name].median_s for case in ordered]
        line, marker = _LINES[name], _MARKERS[name]
        axis.plot(slices, seconds, color=BLACK, linestyle=line, marker=marker, label=name)
    axis.set(xlabel="slices", ylabel="seconds, whole process")
    logarithmic(axis)
    low, high = axis.get_ylim()
    axis.set_ylim(low, 4 * high)  # room for the legend
    _finish(axis, "seconds by number of slices", "upper left", columns=2)


def _memory(axis: "Axes", found: "Benchmark", case: str) -> None:
    for name, curve in found.memory[case].items():
        times, mib = zip(*curve, strict=True)
        axis.plot(times, mib, color=BLACK, linestyle=_LINES[name], linewidth=1.2, label=name)
        axis.plot(times[-1], mib[-1], color=BLACK, marker=_MARKERS[name])
    axis.set(xlabel="seconds since the start", ylabel="memory (MiB)")
    logarithmic(axis)
    _finish(axis, f"{case}: memory of all processes over time", "upper left")


def logarithmic(axis: "Axes") -> None:
    """Scale both sides; write numbers as people do, and few of those between powers of ten."""
    axis.set(xscale="log", yscale="log")
    axis.grid(color=PALE)
    for side in (axis.xaxis, axis.yaxis):
        side.set_minor_locator(LogLocator(subs=(2, 5)))
        for set_formatter in (side.set_major_formatter, side.set_minor_formatter):
            set_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _finish(axis: "Axes", title: str, legend: Corner, columns: int = 1) -> None:
    axis.set_title(title, loc="left", fontsize=10)
    axis.legend(fontsize=8, ncols=columns, loc=legend, framealpha=1, edgecolor="white")
    axis.spines[["top", "right"]].set_visible(False)
