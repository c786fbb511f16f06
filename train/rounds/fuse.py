"""Stages `fuse` and `select`: the labels of a round, and the cases that it is trained on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from imaging.errors import GeometryError, KitError
from imaging.label_maps import read_label_map
from imaging.overlap import dice_by_label, joint_counts
from imaging.records import write_json
from imaging.volumes import read_header, read_place
from train.data.anatomy import IGNORE
from train.data.release import Case
from train.progress import CASE, with_lines
from train.pseudo_labels import fusion
from train.pseudo_labels.calibration.confidence import CONFIDENCE_FOLDER, percents_path
from train.pseudo_labels.fusion import Labels, fuse_case, read_flare_labels, same_shape
from train.pseudo_labels.weighting import HeldOut, Weighting, learn
from train.rounds.graph import Stage, cases_of
from train.rounds.recipe import WEIGHTED, Round
from train.rounds.run import Job, Run

Combine = Callable[..., Labels]


@dataclass(frozen=True)
class CaseFiles:
    """The label maps of one case, and what its sources write of their confidence."""

    annotated: tuple[Path, ...]
    """One, or none."""
    labels: dict[str, Path]
    """By source."""
    confidence: dict[str, Path]
    """By source: maps of percents, of those that write them, where the round's rule asks."""

    @property
    def maps(self) -> list[Path]:
        """Label maps: the annotators', then the sources'."""
        return [*self.annotated, *self.labels.values()]


Files = dict[Case, CaseFiles]


def fuse_job(run: Run, stage: Stage) -> Job:
    """Make one label map of the labels that a round's sources and annotators give each case."""
    step = run.recipe.step(stage.round)
    files = _files(run, step, cases_of(run.recipe, step, run.cases), run.labels_of)
    held_out: Files = {}
    if step.combine == WEIGHTED:
        held_out = _files(run, step, run.held_out, run.held_out_labels)
    inputs = run.inputs(run.cases_file)
    for case, of in files.items():
        inputs |= {f"{name}/{case.case}": path for name, path in of.labels.items()}
        place = f"{CONFIDENCE_FOLDER}/{case.case}"
        inputs |= {f"{name}/{place}": path for name, path in of.confidence.items()}
        inputs |= {f"release/{case.label}": path for path in of.annotated}
    for of in held_out.values():
        inputs |= run.inputs(*of.maps, *of.confidence.values())
    return Job(inputs, partial(_fuse_all, run, step, files, held_out))


def _fuse_all(run: Run, step: Round, files: Files, held_out: Files, folder: Path) -> None:
    """Write the fused map of every case into `folder`."""
    weighting = _learn(run, step, held_out, folder) if step.combine == WEIGHTED else None
    for case, of in with_lines(files.items(), CASE, len(files)):
        image = run.release / case.image
        learnt = weighting and partial(_weighted, weighting, _voxel_ml(image))
        rule = partial(fused, step, learnt or combination(step), case.annotated, bool(of.annotated))
        fuse_case(rule, of.maps, image, folder / run.fused(step, case).name, of.confidence.values())


def _files(
    run: Run, step: Round, cases: Iterable[Case], labels_of: Callable[[str], dict[str, Path]]
) -> Files:
    """Return the files of each case; `labels_of` gives those of a source."""
    sources = {name: labels_of(name) for name in step.sources}
    files: Files = {}
    for case in cases:
        labels = {name: of[case.case] for name, of in sources.items()}
        confidence = {name: percents_path(labels[name]) for name in run.telling(step)}
        annotated = () if case.label is None else (run.release / case.label,)
        files[case] = CaseFiles(annotated, labels, confidence)
    return files


def _learn(run: Run, step: Round, held_out: Files, folder: Path) -> Weighting:
    """Learn what a round's sources are worth, and write it into `folder`/weighting.json."""
    reads = [partial(_read_case, case, of) for case, of in held_out.items()]
    places = [step.sources.index(name) for name in run.telling(step)]
    weighting = learn(reads, len(step.sources), step.least_precision, places)
    table = {"held_out": [case.case for case in held_out], **weighting.table(step.sources)}
    write_json(table, folder / "weighting.json")
    return weighting


def _read_case(case: Case, of: CaseFiles) -> HeldOut:
    """Read a held-out case, whose maps must lie where the annotators' does."""
    percents = of.confidence.values()
    truth, *maps = (*map(read_flare_labels, of.maps), *map(read_label_map, percents))
    for path, one in zip((*of.labels.values(), *percents), maps, strict=True):
        if odd := one.elsewhere_than(truth.place, truth.header.shape):
            raise GeometryError(f"{path}: {odd}, as the annotators' of {case.case}")
    voxels, count = [one.labels for one in maps], len(of.labels)
    return HeldOut(
        truth.labels, voxels[:count], case.annotated, truth.grid.voxel_ml, voxels[count:]
    )


def _weighted(weighting: Weighting, voxel_ml: float, *maps: Labels) -> Labels:
    """Fuse a case: the sources' labels, then the percents of those that write them."""
    count = len(weighting.uncertainties)
    return weighting.apply(maps[:count], voxel_ml, maps[count:])


def _voxel_ml(image: Path) -> float:
    """Return the volume of a CT's voxel in millilitres."""
    header = read_header(image)
    return read_place(image, header).grid(header.shape).voxel_ml


def combination(step: Round) -> Combine:
    """Return the rule that makes one map of a round's sources; of one source, that itself."""
    if not step.combine:
        return lambda only: only
    rule: Combine = getattr(fusion, step.combine)
    return rule


def fused(
    step: Round, combine: Combine, annotated: Sequence[int], has_real: bool, *maps: Labels
) -> Labels:
    """Apply a round's rules to one case.

    Args:
        step: Whose rules.
        combine: Makes one map of its sources'.
        annotated: Labels that the case's annotators looked for.
        has_real: Whether the first of `maps` is the annotators'.
        maps: The real labels, if any, then those of the round's sources.
    """
    if not has_real:
        return combine(*maps)
    real, *pseudo = maps
    if not pseudo:
        return fusion.annotated_only(real, annotated=annotated)
    if step.merge == "real_wins":
        return fusion.real_wins(real, combine(*pseudo))
    return fusion.annotated_only(real, combine(*pseudo), annotated=annotated)


def select_job(run: Run, stage: Stage) -> Job:
    """Leave out the cases whose labels agree too little with the round's first source."""
    step = run.recipe.step(stage.round)
    labels = run.fused_labels(step)
    sources = run.labels_of(step.sources[0]) if step.least_agreement else {}
    first = {case: path for case, path in sources.items() if case in labels}
    inputs = run.inputs(*labels.values(), *first.values())
    return Job(inputs, partial(_select, step, labels, first))


def _select(
    step: Round, labels: Mapping[str, Path], first: Mapping[str, Path], folder: Path
) -> None:
    """Write the selected cases into `folder`/cases.json; those without a first source all are."""
    found = {case: agreement(labels[case], first[case]) for case in labels if case in first}
    kept = [case for case in labels if found.get(case, 1.0) >= step.least_agreement]
    if not kept:
        raise KitError(f"round {step.name!r}: no case agrees by {step.least_agreement}")
    write_json({"kept": kept, "agreement": found}, folder / "cases.json")


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
