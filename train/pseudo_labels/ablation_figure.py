"""Plot of `train ablate`: every rule's DSC, and the tumours it found by size."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from evaluation.figures import save_png
from evaluation.scoring.lesions import size_names

if TYPE_CHECKING:
    from train.pseudo_labels.ablation import Ways

_OURS, _OTHERS = "#1b6ca8", "#9aa5ad"


def draw_ablation(found: "Mapping[str, Ways]", path: Path) -> None:
    """Draw a row a rule: DSC of organs and tumour, and the share of tumours found by size.

    Raises:
        KitError: The file cannot be written.
    """
    names = list(found)[::-1]
    colors = [_OURS if name.startswith("weighted") else _OTHERS for name in names]
    columns = {
        "organs' mean DSC": [found[name].organ_dsc for name in names],
        "tumour DSC": [found[name].dsc["tumour"] or 0.0 for name in names],
    }
    for size in size_names():
        shares = [found[name].tumours_found[size] for name in names]
        columns[f"found, {size}"] = [hit / total if total else 0.0 for hit, total in shares]
    figure = Figure(figsize=(12, 0.34 * len(names) + 1.2), layout="constrained")
    for axes, (title, values) in zip(
        figure.subplots(1, len(columns), sharey=True), columns.items(), strict=True
    ):
        bars = axes.barh(names, values, color=colors, height=0.7)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
        axes.set_xlim(0, 1.2)
        axes.set_xticks([])
        axes.set_title(title, fontsize=10, loc="left")
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    save_png(figure, path, dpi=150)
