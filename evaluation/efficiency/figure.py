"""The three official curves of a case in one picture that reads in grey."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.efficiency.results import CaseEfficiency, ChallengeLimits, EfficiencyRun
from evaluation.efficiency.sampling import MemorySample
from evaluation.figures import save_png

BLACK, DARK, LIGHT, PALE = "0.0", "0.35", "0.65", "0.9"


@dataclass(frozen=True)
class _Panel:
    name: str
    title: str
    unit: str
    own: str | None = None
    """A second curve, dashed, and its name."""
    own_label: str = ""


PANELS = (
    _Panel("gpu_mib", "GPU memory", "MiB"),
    _Panel("cpu_percent", "CPU used", "%", "cpu_busy_percent", "without the official +0.1 s"),
    _Panel("ram_mib", "RAM", "MiB", "own_ram_mib", "the command's own"),
)


def draw_case(
    case: CaseEfficiency,
    samples: dict[int, tuple[MemorySample, ...]],
    limits: ChallengeLimits,
    no_gpu: str | None,
    path: Path,
) -> None:
    """Draw GPU memory, CPU and RAM over time: the median run in black, other runs pale.

    Args:
        case: The case to plot.
        samples: Its samples by the number of the run.
        limits: Plotted where they lie within the picture.
        no_gpu: Why there is no GPU curve.
        path: PNG file.
    """
    ranked = sorted(case.counted, key=lambda run: run.seconds)
    middle = ranked[(len(ranked) - 1) // 2]
    others = [samples[run.number] for run in case.runs if run is not middle and run.samples]
    end_s = max(1e-3, max(run.seconds for run in case.runs) * 1.02)
    figure = Figure(figsize=(8, 8), layout="constrained")
    title = f"{case.case}: {middle.seconds:.2f} s"
    if limits.seconds is not None:
        title += f" (tolerated: {limits.seconds:g} s)"
    if len(case.runs) > 1:
        title += f", run {middle.number} of {len(case.runs)}, the median; the others grey"
    figure.suptitle(f"{title}\n{case.verdict}", fontsize=11, parse_math=False)
    heights = [1.0 if panel.name in middle.loads else 0.3 for panel in PANELS]
    axes = figure.subplots(len(PANELS), 1, sharex=True, height_ratios=heights)
    for axis, panel in zip(axes, PANELS, strict=True):
        axis.set(xlim=(0, end_s))
        axis.spines[["top", "right"]].set_visible(False)
        if panel.name not in middle.loads:
            why = no_gpu if panel.name == "gpu_mib" and no_gpu else "no samples"
            message = f"{panel.title} not measured: {why}"
            at = axis.transAxes
            axis.text(0.5, 0.5, message, transform=at, ha="center", va="center", parse_math=False)
            axis.set_yticks([])
            continue
        _draw(axis, panel, samples[middle.number], others, middle)
        if limits.seconds is not None and limits.seconds <= end_s:
            axis.axvline(limits.seconds, color=DARK, linestyle=":")
    gpu_limit_mib = limits.gpu_mib if "gpu_mib" in middle.loads else None
    if gpu_limit_mib is not None and axes[0].get_ylim()[1] >= gpu_limit_mib:
        axes[0].axhline(gpu_limit_mib, color=DARK, linestyle=":")
    axes[-1].set_xlabel("seconds since the start")
    save_png(figure, path, dpi=120)


def _draw(
    axis: Axes,
    panel: _Panel,
    samples: Sequence[MemorySample],
    others: Sequence[Sequence[MemorySample]],
    run: EfficiencyRun,
) -> None:
    for other in others:
        axis.plot(*_curve(other, panel.name, other[-1].seconds), color=LIGHT, linewidth=0.8)
    times, values = _curve(samples, panel.name, run.seconds)
    axis.fill_between(times, values, color=PALE, linewidth=0)
    axis.plot(times, values, color=BLACK, linewidth=1.5, label=panel.title)
    if panel.own is not None and panel.own in run.loads:
        axis.plot(
            *_curve(samples, panel.own, run.seconds),
            color=DARK,
            linewidth=1.5,
            linestyle="--",
            label=f"{panel.own_label}, at most {run.loads[panel.own].peak:,.0f}",
        )
        axis.legend(loc="upper right", ncols=2, fontsize=9, framealpha=1, edgecolor="white")
    load = run.loads[panel.name]
    axis.set_title(
        f"at most {load.peak:,.0f}; area {load.auc_official:,.0f} {panel.unit}·s"
        f" as the official sum, {load.auc:,.0f} with the true times",
        fontsize=9,
        loc="left",
    )
    axis.set_ylabel(f"{panel.title} ({panel.unit})")
    ticks = [tick for tick in axis.get_yticks() if 0 <= tick <= axis.get_ylim()[1]]
    axis.set_yticks(ticks)
    axis.set_ylim(0, max(1.0, 1.25 * axis.get_ylim()[1]))  # room for the legend


def _curve(
    samples: Sequence[MemorySample], name: str, end_s: float
) -> tuple[list[float], list[float]]:
    seen = [(s.seconds, v) for s in samples if (v := getattr(s, name)) is not None]
    times, values = [max(0.0, seconds) for seconds, _ in seen], [value for _, value in seen]
    return [*times, end_s], [*values, values[-1]]
