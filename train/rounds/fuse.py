"""Stages `fuse` and `select`: the labels of a round, and the cases that it is trained on."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from inference.errors import KitError
from inference.files import replacing
from inference.label_maps import read_label_map
from train import fusion
from train.anatomy import IGNORE
from train.fusion import Labels, fuse_case
from train.rounds.plan import Stage, cases_of
from train.rounds.recipe import Round
from train.rounds.run import Job, Run


def fuse(run: Run, stage: Stage) -> Job:
    """Make one label map of what a round's sources and annotators say of each case."""
    step = run.recipe.step(stage.round)
    cases = cases_of(step, run.cases)
    sources = {name: run.labels_of(name) for name in step.sources}
    maps = {case.case: [of[case.case] for of in sources.values()] for case in cases}
    inputs = {"run/data/cases.json": run.folder / "data" / "cases.json"}
    for case in cases:
        inputs |= {f"{name}/{case.case}": of[case.case] for name, of in sources.items()}
        if case.label is not None:
            inputs[f"release/{case.label}"] = run.release / case.label

    def make(folder: Path) -> None:
        for case in cases:
            real = [] if case.label is None else [run.release / case.label]
            rule = partial(fused, step, case.drawn, bool(real))
            target = folder / run.fused(step, case).name
            fuse_case(rule, [*real, *maps[case.case]], run.release / case.image, target)

    return Job(inputs, make)


def fused(step: Round, drawn: Sequence[int], has_real: bool, *maps: Labels) -> Labels:
    """Apply a round's rules to one case.

    Args:
        step: Whose rules.
        drawn: Labels that the case's annotators looked for.
        has_real: Whether the first of `maps` is the annotators'.
        maps: The real labels, if any, then those of the round's sources.
    """
    real, pseudo = (maps[0], maps[1:]) if has_real else (None, maps)
    if not pseudo:
        return fusion.annotated_only(maps[0], drawn=drawn)
    one: Labels = getattr(fusion, step.combine)(*pseudo) if step.combine else pseudo[0]
    if real is None:
        return one
    if step.merge == "real_wins":
        return fusion.real_wins(real, one)
    return fusion.annotated_only(real, one, drawn=drawn)


def select(run: Run, stage: Stage) -> Job:
    """Leave out the cases whose labels agree too little with the round's first source."""
    step = run.recipe.step(stage.round)
    cases = cases_of(step, run.cases)
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
    """Return the mean DSC of the labels that either map has, where neither is ignored."""
    a, b = (read_label_map(path).labels for path in (first, second))
    known = (a != IGNORE) & (b != IGNORE)
    joint = np.bincount(a[known].astype(np.intp) * IGNORE + b[known], minlength=IGNORE**2)
    table = joint.reshape(IGNORE, IGNORE)
    totals = (table.sum(axis=0) + table.sum(axis=1))[1:]
    there = totals > 0
    return float(np.mean(2 * table.diagonal()[1:][there] / totals[there])) if there.any() else 1.0
