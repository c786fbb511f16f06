"""Stages `train`, `export`, `label`, `judge`, `rules`, `score`: a network, and what it says."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import numpy as np

from imaging.errors import KitError
from imaging.files import make_folder
from imaging.organs import ORGANS
from imaging.records import write_json
from inference.engines import Precision
from inference.manifest import load_manifest
from inference.predictor import Settings
from inference.screen import predict_on_screen
from train.data.release import LABEL_SUFFIX, Case
from train.pseudo_labels.calibration.confidence import Questions
from train.pseudo_labels.calibration.confidence_command import look_at_all
from train.pseudo_labels.component_rules import choose, look_at, rules_of
from train.pseudo_labels.fusion import read_flare_labels, same_shape
from train.pseudo_labels.selection import Pieces
from train.rounds.plan import Stage, cases_of, cases_to_label
from train.rounds.records import RECORD
from train.rounds.run import Job, Run

MANIFEST = "weights_manifest.json"
_CHECKPOINT = "fold_all/checkpoint_final.pth"


def train(run: Run, stage: Stage) -> Job:
    """Train a round's network; what a killed training has done is kept in RUN/ROUND/train.work."""
    from train.network.nnunet import MODEL_FILES, TrainingSpec, train_round

    recipe, place = run.recipe, run.folder / stage.round
    step = recipe.step(stage.round)
    selected = place / "select" / "cases.json"
    kept = set(json.loads(selected.read_text("utf-8"))["kept"])
    files = {
        case.case: (run.release / case.image, run.fused(step, case))
        for case in cases_of(run.recipe, step, run.cases)
        if case.case in kept
    }
    inputs = {run.named(path): path for pair in files.values() for path in pair}
    inputs["run/data/cases.json"] = run.folder / "data" / "cases.json"
    drawn = {case.case: case.drawn for case in run.cases}

    def make(folder: Path) -> None:
        # The same name and seed in all rounds: rounds differ by their labels, not by their draws.
        spec = TrainingSpec(recipe.name, recipe.seed, recipe.spacing_mm, recipe.training)
        work = place / "train.work"
        model = train_round(spec, files, work, run.device, drawn)
        for name in MODEL_FILES:
            make_folder((folder / name).parent)
            shutil.copyfile(model / name, folder / name)
        shutil.rmtree(work / "preprocessed", ignore_errors=True)  # by far the largest

    return Job({f"run/{stage.round}/select/cases.json": selected, **inputs}, make)


def export(run: Run, stage: Stage) -> Job:
    """Export a round's network for `inference`."""
    from train.export.bundle import ExportRequest, export_bundle

    model = run.folder / stage.round / "train"
    name, threads = f"{run.recipe.name}_{stage.round}", run.recipe.training.threads

    def make(folder: Path) -> None:
        export_bundle(ExportRequest(model, folder, name=name, threads=threads))

    checkpoint = model / _CHECKPOINT
    return Job({run.named(checkpoint): checkpoint}, make)


def label(run: Run, stage: Stage) -> Job:
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
    weights = manifest.weights("onnx")
    paths = (*files.values(), manifest.folder / MANIFEST, weights)
    recipe = run.recipe

    def make(folder: Path) -> None:
        if not files:
            return
        settings = Settings(
            precision=cast(Precision, recipe.precision), threads=recipe.training.threads
        )
        if signal:
            questions = Questions(signal=signal)
            failed = look_at_all(manifest, files, folder, settings, questions).failed
        else:
            report = predict_on_screen(files, folder, manifest, settings)
            failed = {case.case: str(case.error) for case in report.failed}
        if failed:
            told = "; ".join(f"{case}: {error}" for case, error in failed.items())
            raise KitError(f"round {name!r} could not label {told}")

    return Job({run.named(path): path for path in paths}, make)


def judge(run: Run, stage: Stage) -> Job:
    """Label the held-out cases, and write the DSC of every class that was drawn in them."""
    predicted = _predicted(run, stage.round, run.held_out, run.recipe.confidence)
    truths = {case: run.release / str(case.label) for case in run.held_out}

    def make(folder: Path) -> None:
        predicted.make(folder)
        found = {
            case.case: dsc_of(path, folder / f"{case.case}{LABEL_SUFFIX}", case.drawn)
            for case, path in truths.items()
        }
        write_json({"dsc": found}, folder / "judge.json")

    return Job(predicted.inputs | {run.named(path): path for path in truths.values()}, make)


def dsc_of(truth: Path, pred: Path, drawn: Sequence[int]) -> dict[str, float]:
    """Return the DSC of the classes `drawn`, by name; 1 where rightly nothing is labelled.

    Raises:
        KitError: A map cannot be read, or they differ in shape.
    """
    true, said = (read_flare_labels(path).labels for path in (truth, pred))
    same_shape(true, said)
    sizes = np.bincount(true.ravel(), minlength=256) + np.bincount(said.ravel(), minlength=256)
    both = np.bincount(true[true == said], minlength=256)
    names = {label: name for name, label in ORGANS.items()}
    return {names[k]: float(2 * both[k] / sizes[k]) if sizes[k] else 1.0 for k in drawn}


def rules(run: Run, stage: Stage) -> Job:
    """Copy a round's bundle, with the least volumes that its held-out cases ask for."""
    place = run.folder / stage.round / "export"
    manifest = load_manifest(place / MANIFEST)
    said = run.held_out_labels(stage.round)
    truths = {case: run.release / str(case.label) for case in run.held_out}

    def make(folder: Path) -> None:
        pieces = Pieces()
        for case, path in truths.items():
            true, pred = read_flare_labels(path), read_flare_labels(said[case.case]).labels
            same_shape(true.labels, pred)
            look_at(pieces, true.labels, pred, case.drawn, true.grid.voxel_ml)
        chosen = choose(pieces)
        shutil.copytree(place, folder, ignore=shutil.ignore_patterns(RECORD), dirs_exist_ok=True)
        replace(manifest, postprocess=rules_of(chosen)).write(folder / MANIFEST)
        write_json({name: asdict(one) for name, one in chosen.items()}, folder / "rules.json")

    paths = (place / MANIFEST, manifest.weights("onnx"), *said.values(), *truths.values())
    return Job({run.named(path): path for path in paths}, make)


def score(run: Run, stage: Stage) -> Job:
    """Label the validation cases that have a truth, and score the labels."""
    from evaluation.scoring.folders import Scoring, score_folder

    truths = truth_files(run)
    cases = [case for case in run.cases if case.case in truths]
    predicted = _predicted(run, stage.round, cases, bundle=run.recipe.bundle)

    def make(folder: Path) -> None:
        preds, wanted = folder / "pred", folder / "truth"
        predicted.make(preds)
        make_folder(wanted)
        for case in cases:
            (wanted / f"{case.case}{LABEL_SUFFIX}").symlink_to(truths[case.case].resolve())
        scores = score_folder(Scoring(wanted, preds, "fixed", team=stage.round))
        shutil.rmtree(wanted)
        if scores.amiss:
            odd = scores.amiss[0]
            raise KitError(f"round {stage.round!r}: {odd.case}: {odd.error or odd.warning}")
        scores.write(folder / "scores.json")

    return Job({**predicted.inputs, **{f"truth/{n}": path for n, path in truths.items()}}, make)


def truth_files(run: Run) -> dict[str, Path]:
    """Return the true label maps of the validation cases that have one.

    Raises:
        KitError: None has.
    """
    folder = run.truth
    if folder is None:
        raise KitError("there is no truth to score with; give --truth")
    paths = {
        case.case: folder / f"{case.case}{LABEL_SUFFIX}"
        for case in run.cases
        if case.subset == "validation"
    }
    found = {case: path for case, path in paths.items() if path.is_file()}
    if not found:
        raise KitError(f"{folder} has no <case>{LABEL_SUFFIX} of a validation case; check --truth")
    return found
