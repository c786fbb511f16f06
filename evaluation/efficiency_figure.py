"""The three official curves of a case in one picture that reads in grey."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evaluation.efficiency_report import CaseEfficiency, Limits, Run
from evaluation.sampling import Sample
from inference.files import replacing

BLACK, DARK, LIGHT, PALE = "0.0", "0.35", "0.65", "0.9"


@dataclass(frozen=True)
class _Panel:
    name: str
    label: str
    unit: str
    own: str | None = None
    """A second curve, dashed, and its name."""
    own_label: str = ""


PANELS = (
    _Panel("gpu_mib", "GPU memory (MiB)", "MiB·s"),
    _Panel("cpu_percent", "CPU used (%)", "%·s", "cpu_busy_percent", "without the official +0.1 s"),
    _Panel("ram_mib", "RAM (MiB)", "MiB·s", "own_ram_mib", "the command's own"),
)


def draw_case(
    case: CaseEfficiency,
    samples: dict[int, tuple[Sample, ...]],
    limits: Limits,
    no_gpu: str | None,
    path: Path,
) -> None:
    """Draw GPU memory, CPU and RAM over time: the median run in black, other runs pale.

    Args:
        case: What is drawn.
        samples: Its samples by the number of the run.
        limits: Drawn where they lie within the picture.
        no_gpu: Why there is no GPU curve.
        path: PNG file.
    """
    ranked = sorted(case.runs, key=lambda run: run.seconds)
    middle = ranked[(len(ranked) - 1) // 2]
    others = [samples[run.number] for run in case.runs if run is not middle]
    end_s = max(1e-3, max(run.seconds for run in case.runs) * 1.02)
    figure = Figure(figsize=(8, 8), layout="constrained")
    title = f"{case.case}: {middle.seconds:.2f} s (tolerated: {limits.seconds:g} s)"
    if len(ranked) > 1:
        title += f", run {middle.number} of {len(ranked)}, the median; the others grey"
    figure.suptitle(f"{title}\n{case.verdict}", fontsize=11)
    axes = figure.subplots(len(PANELS), 1, sharex=True)
    for axis, panel in zip(axes, PANELS, strict=True):
        axis.set(ylabel=panel.label, xlim=(0, end_s))
        axis.spines[["top", "right"]].set_visible(False)
        if panel.name in middle.loads:
            _draw(axis, panel, samples[middle.number], others, middle)
        else:
            why = no_gpu if panel.name == "gpu_mib" and no_gpu else "no samples"
            axis.text(0.5, 0.5, f"not measured: {why}", transform=axis.transAxes, ha="center")
            axis.set_yticks([])
        if limits.seconds <= end_s:
            axis.axvline(limits.seconds, color=DARK, linestyle=":")
    if "gpu_mib" in middle.loads and axes[0].get_ylim()[1] >= limits.gpu_mib:
        axes[0].axhline(limits.gpu_mib, color=DARK, linestyle=":")
    axes[-1].set_xlabel("seconds since the start")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120, format="png")


def _draw(
    axis: Axes,
    panel: _Panel,
    samples: Sequence[Sample],
    others: Sequence[Sequence[Sample]],
    run: Run,
) -> None:
    for other in others:
        axis.plot(*_curve(other, panel.name), color=LIGHT, linewidth=0.8)
    times, values = _curve(samples, panel.name)
    axis.fill_between(times, values, color=PALE, linewidth=0)
    axis.plot(times, values, color=BLACK, linewidth=1.5, label=panel.label.partition(" (")[0])
    if panel.own is not None and panel.own in run.loads:
        axis.plot(
            *_curve(samples, panel.own),
            color=DARK,
            linewidth=1.5,
            linestyle="--",
            label=f"{panel.own_label}, at most {run.loads[panel.own].peak:,.0f}",
        )
    load = run.loads[panel.name]
    axis.set_title(
        f"at most {load.peak:,.0f}; area {load.auc_official:,.0f} {panel.unit} as the official sum,"
        f" {load.auc:,.0f} with the true times",
        fontsize=9,
        loc="left",
    )
    axis.set_ylim(bottom=0)
    if panel.own is not None:
        axis.margins(y=0.25)
        axis.legend(loc="upper right", ncols=2, fontsize=9, frameon=False)


def _curve(samples: Sequence[Sample], name: str) -> tuple[list[float], list[float]]:
    seen = [(s.seconds, v) for s in samples if (v := getattr(s, name)) is not None]
    return [max(0.0, seconds) for seconds, _ in seen], [value for _, value in seen]
