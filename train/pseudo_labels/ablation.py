"""`train ablate`: compare every fusion rule with the truth, and ours without each source."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.progress import track

from evaluation.figures import save_png
from evaluation.scoring.lesions import lesions_of, size_names, size_of
from imaging.errors import KitError
from imaging.files import make_folder
from imaging.fitted_tables import numbers_table, show_table
from imaging.organs import ORGANS
from imaging.overlap import dice_by_label, joint_counts
from imaging.records import write_json
from imaging.terminal import terminal
from imaging.words import number_of
from train.data.anatomy import IGNORE
from train.data.release import LABEL_SUFFIX
from train.pseudo_labels.fusion import Labels, agree_or_background, read_flare_labels, staple, vote
from train.pseudo_labels.reliability import CLASSES, TUMOUR, Evidence
from train.pseudo_labels.staple import KnownStaple
from train.pseudo_labels.weighting import HeldOut, learn

PRECISIONS = (0.7, 0.8, 0.9)
"""That our rule is required to reach, where it may ignore and drop."""
FOLDS = 2
_OURS, _OTHERS = "#1b6ca8", "#9aa5ad"
"""Colours of the bars."""
Rule = Callable[[Sequence[Labels], float], Labels]


@dataclass(frozen=True)
class Ways:
    """A rule's result, over all cases."""

    dsc: dict[str, float | None]
    """By organ, the mean over the cases that have it; what is ignored counts as background."""
    precision: dict[str, float | None]
    recall: dict[str, float | None]
    """By organ, of all cases' voxels together."""
    organ_dsc: float
    """Mean over the organs, tumour not among them."""
    tumours_found: dict[str, tuple[int, int]]
    """By size: how many of how many."""
    false_tumours: int
    ignored: float
    """Share of the voxels that are an organ or the tumour, or are called so."""
    wrong: float
    """Of the same voxels: taught as what they are not."""


class _Tally:
    """Voxels and tumours, added up case by case."""

    def __init__(self) -> None:
        self.counts = np.zeros((3, CLASSES))  # both, predicted, true
        self.dsc: list[list[float]] = [[] for _ in range(CLASSES)]
        self.found = {name: [0, 0] for name in size_names()}
        self.false_tumours, self.ignored, self.wrong, self.voxels = 0, 0, 0, 0

    def add(self, truth: Labels, fused: Labels, voxel_ml: float) -> None:
        joint = joint_counts(truth, fused)
        self.voxels += int(joint.sum() - joint[0, 0])
        ignored = joint[:, IGNORE].copy()
        self.ignored += int(ignored.sum())
        joint[:, IGNORE] = 0
        self.wrong += int(joint.sum() - joint.trace())
        joint[:, 0] += ignored
        predicted, present = joint.sum(axis=0)[:CLASSES], joint.sum(axis=1)[:CLASSES]
        self.counts += [joint.diagonal()[:CLASSES], predicted, present]
        dsc = dice_by_label(joint)
        for label in np.flatnonzero(present):
            self.dsc[label].append(float(dsc[label]))
        true, pred = truth == TUMOUR, fused == TUMOUR
        for lesion in lesions_of(true, pred, voxel_ml):
            row = self.found[size_names()[size_of(lesion.ml)]]
            row[0] += lesion.found
            row[1] += 1
        self.false_tumours += sum(not lesion.found for lesion in lesions_of(pred, true, voxel_ml))

    def result(self) -> Ways:
        both, predicted, true = self.counts
        means = {o: float(np.mean(self.dsc[k])) if self.dsc[k] else None for o, k in ORGANS.items()}
        organs = [m for o, m in means.items() if m is not None and ORGANS[o] != TUMOUR]
        return Ways(
            means,
            {o: float(both[k] / predicted[k]) if predicted[k] else None for o, k in ORGANS.items()},
            {o: float(both[k] / true[k]) if true[k] else None for o, k in ORGANS.items()},
            float(np.mean(organs)),
            {name: (row[0], row[1]) for name, row in self.found.items()},
            self.false_tumours,
            self.ignored / max(1, self.voxels),
            self.wrong / max(1, self.voxels),
        )


def compare_rules(truth: Path, sources: Mapping[str, Path], output: Path) -> dict[str, Ways]:
    """Fuse the sources' maps of every labelled case by every rule; write and show the table.

    Reliabilities are counted on one half of the cases, sampled at random, and used on the other, in
    turn.

    Args:
        truth: Folder of `<case>.nii.gz`, all organs annotated.
        sources: Folders of the same names, by source.
        output: Folder for ablation.json and ablation.png.

    Raises:
        KitError: Fewer than two cases or sources, or a map that is missing or lies elsewhere.
    """
    names = sorted(path.name for path in truth.glob(f"*{LABEL_SUFFIX}"))
    cases = [names[place] for place in np.random.default_rng(0).permutation(len(names))]
    if len(cases) < FOLDS or len(sources) < 2:
        given = f"{number_of(len(cases), 'case')}, {number_of(len(sources), 'source')}"
        raise KitError(f"{given}; give two or more of each")
    make_folder(output)
    tallies: dict[str, _Tally] = {}
    for fold in range(FOLDS):
        learnt = [case for n, case in enumerate(cases) if n % FOLDS != fold]
        rules = _rules(truth, sources, learnt)
        used = cases[fold::FOLDS]
        for case in track(used, f"fold {fold + 1}", console=terminal(stderr=True), transient=True):
            read = _read(truth, sources, case)
            for name, rule in rules.items():
                fused = rule(read.maps, read.voxel_ml)
                tallies.setdefault(name, _Tally()).add(read.truth, fused, read.voxel_ml)
    found = {name: tally.result() for name, tally in tallies.items()}
    rows = {name: asdict(way) for name, way in found.items()}
    table = {"cases": len(cases), "sources": list(sources), "rules": rows}
    write_json(table, output / "ablation.json")
    draw_ablation(found, output / "ablation.png")
    show_rules(found)
    return found


def _read(truth: Path, sources: Mapping[str, Path], case: str) -> HeldOut:
    true = read_flare_labels(truth / case)
    maps = []
    for name, folder in sources.items():
        found = read_flare_labels(folder / case)
        if odd := found.elsewhere_than(true.place, true.header.shape):
            raise KitError(f"{name}: {case}: {odd}, as in the truth; give maps of one CT")
        maps.append(found.labels)
    return HeldOut(true.labels, maps, range(1, CLASSES), true.grid.voxel_ml)


def _rules(truth: Path, sources: Mapping[str, Path], learnt: Sequence[str]) -> dict[str, Rule]:
    """Return every rule by its name, ours as learnt on the cases `learnt`."""
    names = list(sources)
    rules: dict[str, Rule] = {
        "first two agree, else background": lambda maps, _: agree_or_background(*maps[:2]),
        "vote": lambda maps, _: vote(*maps),
        "STAPLE": lambda maps, _: staple(*maps),
        **{f"{name} alone": _alone(place) for place, name in enumerate(names)},
        "STAPLE, from held-out cases": _known_staple(truth, sources, learnt),
    }

    def weighted(kept: Sequence[str], precision: float) -> Rule:
        some = {name: sources[name] for name in kept}
        weighting = learn(
            [partial(_read, truth, some, case) for case in learnt], len(some), precision
        )
        places = [names.index(name) for name in kept]
        return lambda maps, voxel_ml: weighting.apply([maps[place] for place in places], voxel_ml)

    for title, kept in without_each(names).items():
        rules[f"weighted, {title}"] = weighted(kept, 0.0)
    for precision in PRECISIONS:
        rules[f"weighted, {precision:.0%} right"] = weighted(names, precision)
    return rules


def _known_staple(truth: Path, sources: Mapping[str, Path], learnt: Sequence[str]) -> Rule:
    evidence = Evidence(len(sources))
    for case in learnt:
        evidence.add(*_read(truth, sources, case)[:3])
    staple = KnownStaple(evidence)
    return lambda maps, _: staple.apply(*maps)[0]


def _alone(place: int) -> Rule:
    return lambda maps, _: maps[place]


def without_each(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return all sources, and all but each of them, by what is left out."""
    rest = {f"without {left}": tuple(n for n in names if n != left) for left in names}
    return {"all sources": tuple(names), **rest}


def show_rules(found: Mapping[str, Ways]) -> None:
    """Print a row a rule."""
    first, last = ("organs", "tumour", "precision", "recall"), ("false", "ignored", "wrong")
    title = "pseudo labels against truth: DSC; tumours found by size"
    table = numbers_table("rule", *first, *size_names(), *last, title=title)
    for name, way in found.items():
        tumour = (way.dsc["tumour"], way.precision["tumour"], way.recall["tumour"])
        figures = ("–" if value is None else f"{value:.3f}" for value in tumour)
        sizes = (f"{hit}/{total}" for hit, total in way.tumours_found.values())
        rest = (str(way.false_tumours), f"{way.ignored:.2%}", f"{way.wrong:.2%}")
        table.add_row(name, f"{way.organ_dsc:.4f}", *figures, *sizes, *rest)
    show_table(table, terminal())


def draw_ablation(found: Mapping[str, Ways], path: Path) -> None:
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
