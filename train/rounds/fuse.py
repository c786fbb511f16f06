"""Stages `fuse` and `select`: the labels of a round, and the cases that it is trained on."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from imaging.errors import GeometryError, KitError
from imaging.files import replacing
from imaging.label_maps import LabelMap, read_label_map
from imaging.overlap import dice_by_label, joint_counts
from imaging.volumes import read_header, read_place
from train.data.anatomy import IGNORE
from train.data.release import Case
from train.pseudo_labels import fusion
from train.pseudo_labels.calibration.confidence import FOLDER as CONFIDENCE
from train.pseudo_labels.fusion import Labels, fuse_case, read_flare_labels, same_shape
from train.pseudo_labels.uncertainty import Confidences, Doubt, unsure_of
from train.pseudo_labels.weighting import HeldOut, Weighting, learn
from train.rounds.plan import Stage, cases_of
from train.rounds.recipe import WEIGHTED, Round
from train.rounds.run import Job, Run

Combine = Callable[..., Labels]
HeldOutFiles = dict[Case, tuple[list[Path], list[Path]]]
"""Of each held-out case: the annotators' map and the sources'; the maps of how sure these are."""


def fuse(run: Run, stage: Stage) -> Job:
    """Make one label map of what a round's sources and annotators say of each case."""
    step = run.recipe.step(stage.round)
    cases = cases_of(run.recipe, step, run.cases)
    held_out = _held_out(run, step) if step.combine == WEIGHTED else {}
    sources = {name: run.labels_of(name) for name in step.sources}
    maps: dict[str, tuple[list[Path], list[Path]]] = {}
    inputs = {"run/data/cases.json": run.folder / "data" / "cases.json"}
    for case in cases:
        said = {name: of[case.case] for name, of in sources.items()}
        told = _percents(run, step, said)
        maps[case.case] = [*said.values()], [*told.values()]
        inputs |= {f"{name}/{case.case}": path for name, path in said.items()}
        inputs |= {f"{name}/{CONFIDENCE}/{case.case}": path for name, path in told.items()}
        if case.label is not None:
            inputs[f"release/{case.label}"] = run.release / case.label
    inputs |= {run.named(path): path for paths in held_out.values() for path in chain(*paths)}

    def make(folder: Path) -> None:
        learnt = _learnt(run, step, held_out, folder) if held_out else None
        for case in cases:
            real = [] if case.label is None else [run.release / case.label]
            image = run.release / case.image
            combine = combination(step) if learnt is None else _weighted(learnt, image)
            rule = partial(fused, step, combine, case.drawn, bool(real))
            target = folder / run.fused(step, case).name
            said, told = maps[case.case]
            fuse_case(rule, [*real, *said], image, target, told)

    return Job(inputs, make)


def _percents(run: Run, step: Round, said: Mapping[str, Path]) -> dict[str, Path]:
    """Return the maps of how sure its sources are that a round's rule asks for, by source."""
    if step.combine != WEIGHTED:
        return {}
    found = {name: run.confidence_of(name, path) for name, path in said.items()}
    return {name: path for name, path in found.items() if path is not None}


def _held_out(run: Run, step: Round) -> HeldOutFiles:
    """Return the maps of the held-out cases: the annotators' and the sources'; their percents."""
    sources = {name: run.held_out_labels(name) for name in step.sources}
    files: HeldOutFiles = {}
    for case in run.held_out:
        said = {name: of[case.case] for name, of in sources.items()}
        told = _percents(run, step, said)
        files[case] = [run.release / str(case.label), *said.values()], [*told.values()]
    return files


@dataclass(frozen=True)
class _Learnt:
    """What was learnt of a round's sources."""

    weighting: Weighting
    doubts: tuple[Doubt | None, ...]
    """Of each source; None of one that does not tell how sure it is."""


def _learnt(run: Run, step: Round, held_out: HeldOutFiles, folder: Path) -> _Learnt:
    """Learn what a round's sources are worth, and write it into `folder`/weighting.json."""
    doubts = _doubts(run, step, held_out)

    def read(case: Case) -> HeldOut:
        truth, *maps = _maps(case, *held_out[case])
        said, unsure = maps[: len(doubts)], unsure_of(doubts, [one.labels for one in maps])
        labels = [one.labels for one in said]
        return HeldOut(truth.labels, labels, case.drawn, truth.grid.voxel_ml, unsure)

    reads = [partial(read, case) for case in held_out]
    weighting = learn(reads, len(step.sources), step.least_precision)
    table = {"held_out": [case.case for case in held_out], **weighting.table(step.sources)}
    told = zip(step.sources, doubts, strict=True)
    if found := {name: doubt.table() for name, doubt in told if doubt is not None}:
        table["least_percent"] = found
    with replacing(folder / "weighting.json") as path:
        path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return _Learnt(weighting, doubts)


def _doubts(run: Run, step: Round, held_out: HeldOutFiles) -> tuple[Doubt | None, ...]:
    """Learn when each of a round's sources is unsure."""
    names = list(_percents(run, step, dict.fromkeys(step.sources, Path())))
    counted = {name: Confidences() for name in names}
    for case, paths in held_out.items() if names else ():
        truth, *maps = (one.labels for one in _maps(case, *paths))
        for name, percents in zip(names, maps[len(step.sources) :], strict=True):
            said = maps[step.sources.index(name)]
            counted[name].add(truth, said, percents, case.drawn)
    return tuple(counted[name].doubt() if name in counted else None for name in step.sources)


def _maps(case: Case, labels: Sequence[Path], percents: Sequence[Path]) -> list[LabelMap]:
    """Read the maps of a held-out case, which must lie where the first does."""
    maps = [*map(read_flare_labels, labels), *map(read_label_map, percents)]
    for path, one in zip((*labels, *percents), maps, strict=True):
        if odd := one.elsewhere_than(maps[0].place, maps[0].header.shape):
            raise GeometryError(f"{path}: {odd}, as the annotators' of {case.case}")
    return maps


def _weighted(learnt: _Learnt, image: Path) -> Combine:
    """Return the rule for the voxels of one CT: of the sources' labels, then their percents."""
    header = read_header(image)
    voxel_ml = read_place(image, header).grid(header.shape).voxel_ml
    count = len(learnt.doubts)
    return lambda *maps: learnt.weighting.apply(
        maps[:count], voxel_ml, unsure_of(learnt.doubts, maps)
    )


def combination(step: Round) -> Combine:
    """Return the rule that makes one map of a round's sources; of one source, that itself."""
    if not step.combine:
        return lambda only: only
    rule: Combine = getattr(fusion, step.combine)
    return rule


def fused(
    step: Round, combine: Combine, drawn: Sequence[int], has_real: bool, *maps: Labels
) -> Labels:
    """Apply a round's rules to one case.

    Args:
        step: Whose rules.
        combine: Makes one map of its sources'.
        drawn: Labels that the case's annotators looked for.
        has_real: Whether the first of `maps` is the annotators'.
        maps: The real labels, if any, then those of the round's sources.
    """
    real, pseudo = (maps[0], maps[1:]) if has_real else (None, maps)
    if not pseudo:
        return fusion.annotated_only(maps[0], drawn=drawn)
    one = combine(*pseudo)
    if real is None:
        return one
    if step.merge == "real_wins":
        return fusion.real_wins(real, one)
    return fusion.annotated_only(real, one, drawn=drawn)


def select(run: Run, stage: Stage) -> Job:
    """Leave out the cases whose labels agree too little with the round's first source."""
    step = run.recipe.step(stage.round)
    cases = cases_of(run.recipe, step, run.cases)
    first = run.labels_of(step.sources[0]) if step.least_agreement else {}
    pairs = {case.case: (run.fused(step, case), first.get(case.case)) for case in cases}
    inputs = {run.named(path): path for pair in pairs.values() for path in pair if path is not None}

    def make(folder: Path) -> None:
        found = {
            case: agreement(labels, source)
            for case, (labels, source) in pairs.items()
            if source is not None
        }
        kept = [case for case in pairs if found.get(case, 1.0) >= step.least_agreement]
        if not kept:
            raise KitError(f"round {step.name!r}: no case agrees by {step.least_agreement}")
        with replacing(folder / "cases.json") as path:
            path.write_text(json.dumps({"kept": kept, "agreement": found}, indent=1) + "\n")

    return Job(inputs, make)


def agreement(first: Path, second: Path) -> float:
    """Return the mean DSC of the labels that either map has, where neither is ignored.

    Raises:
        KitError: A map cannot be read, holds labels that are not FLARE's, or they differ in shape.
    """
    a, b = (read_flare_labels(path).labels for path in (first, second))
    same_shape(a, b)
    dsc = dice_by_label(joint_counts(a, b)[:IGNORE, :IGNORE])[1:]
    there = ~np.isnan(dsc)
    return float(np.mean(dsc[there])) if there.any() else 1.0
