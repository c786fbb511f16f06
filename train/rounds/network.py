"""Stages `train`, `export`, `label`, `judge`, `rules` and `score` of a round's network."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import cast

import click
import numpy as np

from imaging.errors import KitError
from imaging.files import make_folder
from imaging.organs import ORGANS
from imaging.overlap import dice_by_label, joint_counts
from imaging.records import read_table, write_json
from inference.engines import Precision
from inference.manifest import Manifest, load_manifest
from inference.pipeline import predict_folder
from inference.predictor import Progress
from inference.report import CaseReport
from inference.settings import Settings
from train.data.release import LABEL_SUFFIX, Case
from train.progress import CASE, counting
from train.pseudo_labels.calibration.confidence import Questions
from train.pseudo_labels.calibration.confidence_command import label_all_with_confidence
from train.pseudo_labels.component_rules import choose_rules, rules_of
from train.pseudo_labels.fusion import read_flare_labels, same_shape
from train.pseudo_labels.selection import Pieces, components
from train.rounds.graph import Stage, cases_of, cases_to_label
from train.rounds.recipe import Round
from train.rounds.records import RECORD
from train.rounds.run import Job, Run, truths_in

MANIFEST = "weights_manifest.json"
_CHECKPOINT = "fold_all/checkpoint_final.pth"


def train_job(run: Run, stage: Stage) -> Job:
    """Train a round's network; what a killed training has done is kept in RUN/ROUND/train.work."""
    step = run.recipe.step(stage.round)
    selected = run.folder / step.name / "select" / "cases.json"
    kept = set(read_table(selected, "selected cases")[0]["kept"])
    files = {
        case.case: (run.release / case.image, run.fused(step, case))
        for case in cases_of(run.recipe, step, run.cases)
        if case.case in kept
    }
    inputs = run.inputs(run.cases_file, selected, *chain.from_iterable(files.values()))
    return Job(inputs, partial(_train, run, step, files))


def _train(run: Run, step: Round, files: Mapping[str, tuple[Path, Path]], folder: Path) -> None:
    """Train on CT and labels of each case, and copy the model into `folder`."""
    from train.network.nnunet import MODEL_FILES, TrainingSpec, train_round

    recipe, work = run.recipe, run.folder / step.name / "train.work"
    # The same name and seed in all rounds: rounds differ by their labels, not by their draws.
    spec = TrainingSpec(recipe.name, recipe.seed, recipe.spacing_mm, recipe.training)
    annotated = {case.case: case.annotated for case in run.cases}
    digest = run.known.sha256
    model = train_round(spec, files, work, run.device, annotated, digest=digest)
    for name in MODEL_FILES:
        make_folder((folder / name).parent)
        shutil.copyfile(model / name, folder / name)
    shutil.rmtree(work / "preprocessed", ignore_errors=True)  # by far the largest


def export_job(run: Run, stage: Stage) -> Job:
    """Export a round's network for `inference`."""
    checkpoint = run.folder / stage.round / "train" / _CHECKPOINT
    return Job(run.inputs(checkpoint), partial(_export, run, stage.round))


def _export(run: Run, name: str, folder: Path) -> None:
    """Export the network of round `name` into `folder`."""
    from train.export.bundle import ExportRequest, export_bundle

    model, threads = run.folder / name / "train", run.recipe.training.threads
    export_bundle(ExportRequest(model, folder, name=f"{run.recipe.name}_{name}", threads=threads))


def label_job(run: Run, stage: Stage) -> Job:
    """Label one part of the cases that later rounds want of this round."""
    labelled = cases_to_label(run.recipe, stage.round, run.cases)
    part = labelled[stage.part or 0 :: run.recipe.shards]
    return _predicted(run, stage.round, part, run.recipe.confidence)


def _predicted(
    run: Run, name: str, cases: Sequence[Case], signal: str = "", bundle: str = "export"
) -> Job:
    """Label `cases` with a bundle of round `name`, and say by `signal` how sure the network is."""
    manifest = load_manifest(run.folder / name / bundle / MANIFEST)
    files = {case.case: run.release / case.image for case in cases}
    inputs = run.inputs(*files.values(), *_bundle_files(manifest))
    return Job(inputs, partial(_predict, run, name, manifest, files, signal))


def _bundle_files(manifest: Manifest) -> tuple[Path, Path]:
    """Return what is read of a bundle."""
    return manifest.folder / MANIFEST, manifest.weights("onnx")


def _predict(
    run: Run,
    name: str,
    manifest: Manifest,
    files: dict[str, Path],
    signal: str,
    folder: Path,
) -> None:
    """Write the label maps of CTs into `folder`, and with a `signal` the network's confidence."""
    if not files:
        return
    settings = Settings(
        engine="torch" if run.device == "cuda" else "auto",
        precision=cast(Precision, run.recipe.precision),
        threads=run.recipe.training.threads,
    )
    if signal:
        failed = label_all_with_confidence(
            manifest, files, folder, settings, Questions(signal=signal)
        ).failed
    else:
        step = counting(CASE, len(files))

        def done(case: CaseReport) -> None:
            click.echo(case.summary, err=True)
            step()

        report = predict_folder(files, folder, manifest, settings, Progress(done=done))
        failed = {case.case: str(case.error) for case in report.failed}
    if failed:
        reasons = "; ".join(f"{case}: {error}" for case, error in failed.items())
        raise KitError(f"round {name!r} could not label {reasons}")


def judge_job(run: Run, stage: Stage) -> Job:
    """Label the held-out cases, and write the DSC of every class that was annotated in them."""
    predicted = _predicted(run, stage.round, run.held_out, run.recipe.confidence)
    truths = _truths(run)
    inputs = predicted.inputs | run.inputs(*truths.values())
    return Job(inputs, partial(_judge, predicted, truths))


def _judge(predicted: Job, truths: Mapping[Case, Path], folder: Path) -> None:
    """Label the cases of `truths`, and write their DSC into `folder`/judge.json."""
    predicted.make(folder)
    found = {
        case.case: dsc_of(path, folder / f"{case.case}{LABEL_SUFFIX}", case.annotated)
        for case, path in truths.items()
    }
    write_json({"dsc": found}, folder / "judge.json")


def _truths(run: Run) -> dict[Case, Path]:
    """Return the annotators' maps of the held-out cases."""
    return {case: run.release / str(case.label) for case in run.held_out}


def dsc_of(truth: Path, pred: Path, annotated: Sequence[int]) -> dict[str, float]:
    """Return the DSC of the classes `annotated`, by name; 1 where rightly nothing is labelled.

    Raises:
        KitError: A map cannot be read, or they differ in shape.
    """
    true, predicted = (read_flare_labels(path).labels for path in (truth, pred))
    same_shape(true, predicted)
    dsc = dice_by_label(joint_counts(true, predicted))
    dsc[np.isnan(dsc)] = 1
    return {name: float(dsc[label]) for name, label in ORGANS.items() if label in annotated}


def rules_job(run: Run, stage: Stage) -> Job:
    """Copy a round's bundle, with the least volumes that its held-out cases ask for."""
    manifest = load_manifest(run.folder / stage.round / "export" / MANIFEST)
    preds, truths = run.held_out_labels(stage.round), _truths(run)
    inputs = run.inputs(*_bundle_files(manifest), *preds.values(), *truths.values())
    return Job(inputs, partial(_rules, manifest, truths, preds))


def _rules(
    manifest: Manifest, truths: Mapping[Case, Path], preds: Mapping[str, Path], folder: Path
) -> None:
    """Choose the least volumes, and write the bundle with them and rules.json into `folder`."""
    pieces = Pieces()
    for case, path in truths.items():
        truth, pred = read_flare_labels(path), read_flare_labels(preds[case.case]).labels
        same_shape(truth.labels, pred)
        pieces.add(truth.labels, components(pred), case.annotated, truth.grid.voxel_ml)
    chosen = choose_rules(pieces)
    bundle, ignore = manifest.folder, shutil.ignore_patterns(RECORD)
    shutil.copytree(bundle, folder, ignore=ignore, dirs_exist_ok=True)
    replace(manifest, postprocess=rules_of(chosen)).write(folder / MANIFEST)
    write_json({name: asdict(one) for name, one in chosen.items()}, folder / "rules.json")


def score_job(run: Run, stage: Stage) -> Job:
    """Label the validation cases that have a truth, and score the labels."""
    truths = truth_files(run)
    cases = [case for case in run.cases if case.case in truths]
    predicted = _predicted(run, stage.round, cases, bundle=run.recipe.bundle)
    inputs = predicted.inputs | {f"truth/{case}": path for case, path in truths.items()}
    return Job(inputs, partial(_score, stage.round, predicted, truths))


def _score(name: str, predicted: Job, truths: Mapping[str, Path], folder: Path) -> None:
    """Label the cases of `truths` for round `name`, and write `folder`/scores.json."""
    from evaluation.scoring.folders import score_files

    predicted.make(folder / "pred")
    scores = score_files(truths, folder / "pred", team=name)
    if scores.problems:
        first = scores.problems[0]
        raise KitError(f"round {name!r}: {first.case}: {first.error or first.warning}")
    scores.write(folder / "scores.json")


def truth_files(run: Run) -> dict[str, Path]:
    """Return the true label maps of the validation cases that have one.

    Raises:
        KitError: None has.
    """
    folder = run.truth
    if folder is None:
        raise KitError("there is no truth to score with; give --truth")
    found = truths_in(folder, [case.case for case in run.cases if case.subset == "validation"])
    if not found:
        raise KitError(f"{folder} has no <case>{LABEL_SUFFIX} of a validation case; check --truth")
    return found
