"""What each stage does: read files of earlier stages, write its own."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from inference.engines import Precision
from inference.errors import KitError
from inference.files import make_folder
from inference.label_maps import read_label_map
from inference.manifest import load_manifest
from inference.pipeline import Settings
from inference.screen import predict_on_screen
from train import fusion
from train.anatomy import IGNORE
from train.fusion import Labels, fuse_case
from train.release import LABEL_SUFFIX, Case, load_cases
from train.rounds.plan import Stage, cases_of, cases_to_label, expand
from train.rounds.recipe import Round, RoundsRecipe
from train.rounds.records import Work, names_under, run_stage

MANIFEST = "weights_manifest.json"
_CHECKPOINT = "checkpoint_final.pth"


@dataclass(frozen=True)
class Run:
    """One run of a recipe."""

    recipe: RoundsRecipe
    folder: Path
    release: Path
    truth: Path | None
    """Folder of true labels of the validation cases; None where nobody knows them."""
    external: dict[str, Path] = field(default_factory=dict)
    """Folders of the recipe's external sources."""
    device: str = "cpu"

    def cases(self) -> tuple[Case, ...]:
        """Return the release's usable cases, as stage `data` found them."""
        return load_cases(self.folder / "data" / "cases.json")

    def step(self, name: str) -> Round:
        """Return a round by its name.

        Raises:
            KitError: There is none.
        """
        for step in self.recipe.rounds:
            if step.name == name:
                return step
        known = ", ".join(step.name for step in self.recipe.rounds)
        raise KitError(f"no round {name!r} in recipe {self.recipe.name!r}; it has {known}")


def do_stage(run: Run, stage: Stage) -> Path:
    """Run one stage.

    Raises:
        KitError: It failed; what it wrote is removed.
    """
    makers: dict[str, Callable[[Run, Stage], tuple[dict[str, Path], Callable[[Path], None]]]] = {
        "data": _data,
        "fuse": _fuse,
        "select": _select,
        "train": _train,
        "export": _export,
        "label": _label,
        "score": _score,
    }
    inputs, make = makers[stage.kind](run, stage)
    order = [other.key for other in expand(run.recipe, scored=True)]
    facts = {
        "place": order.index(stage.key),
        "round": stage.round,
        "recipe": {"name": run.recipe.name, "sha256": run.recipe.sha256},
        "seed": run.recipe.seed,
        "threads": run.recipe.training.threads,
        "device": run.device,
    }
    return run_stage(Work(stage.key, run.folder, facts, inputs), make)


def _data(run: Run, stage: Stage) -> tuple[dict[str, Path], Callable[[Path], None]]:
    from train.data_screen import check_on_screen
    from train.release import Layout

    def make(folder: Path) -> None:
        check_on_screen(run.release, Layout(), folder, run.recipe.training.threads, deep=False)

    return {}, make


def _fuse(run: Run, stage: Stage) -> tuple[dict[str, Path], Callable[[Path], None]]:
    step = run.step(stage.round)
    cases = cases_of(step, run.cases())
    sources = {case.case: _source_maps(run, step, case) for case in cases}
    inputs = {"data/cases.json": run.folder / "data" / "cases.json"}
    for case in cases:
        if case.label is not None:
            inputs[f"release/{case.label}"] = run.release / case.label
        for name, path in zip(step.sources, sources[case.case], strict=True):
            inputs[f"{name}/{case.case}"] = path

    def make(folder: Path) -> None:
        for case in cases:
            real = [run.release / case.label] if case.label is not None else []
            fuse_case(
                partial(fused, step, case.drawn, bool(real)),
                [*real, *sources[case.case]],
                run.release / case.image,
                folder / f"{case.case}{LABEL_SUFFIX}",
            )

    return inputs, make


def fused(step: Round, drawn: Sequence[int], has_real: bool, *maps: Labels) -> Labels:
    """Apply a round's rules to one case.

    Args:
        step: Whose rules.
        drawn: Labels that the case's annotators looked for.
        has_real: Whether the first of `maps` is the annotators'.
        maps: The real labels, if any, then those of the round's sources.
    """
    real, pseudo = (maps[0], maps[1:]) if has_real else (None, maps)
    if step.merge == "real_only":
        if real is None:
            raise KitError(f"round {step.name!r}: a case without real labels and without a source")
        return fusion.annotated_only(real, drawn=drawn)
    one = getattr(fusion, step.combine)(*pseudo) if step.combine else pseudo[0]
    if real is None:
        return np.asarray(one, np.uint8)
    if step.merge == "real_wins":
        return fusion.real_wins(real, one)
    return fusion.annotated_only(real, one, drawn=drawn)


def _source_maps(run: Run, step: Round, case: Case) -> list[Path]:
    """Return where each source's labels of a case are."""
    found = []
    for source in step.sources:
        if source in run.recipe.external:
            folder = run.external[source]
        else:
            labelled = [c.case for c in cases_to_label(run.recipe, source, run.cases())]
            part = labelled.index(case.case) % run.recipe.shards
            folder = run.folder / source / "label" / f"part{part:03d}"
        found.append(folder / f"{case.case}{LABEL_SUFFIX}")
    return found


def _select(run: Run, stage: Stage) -> tuple[dict[str, Path], Callable[[Path], None]]:
    step = run.step(stage.round)
    cases = cases_of(step, run.cases())
    folder_of_labels = run.folder / stage.round / "fuse"
    labels = {case.case: folder_of_labels / f"{case.case}{LABEL_SUFFIX}" for case in cases}
    inputs = names_under(run.folder, labels.values(), "run")
    sources = {}
    if step.least_agreement:
        sources = {case.case: _source_maps(run, step, case)[0] for case in cases}
        inputs |= {f"{step.sources[0]}/{name}": path for name, path in sources.items()}

    def make(folder: Path) -> None:
        agreement = {name: _agreement(labels[name], path) for name, path in sources.items()}
        kept = [name for name in labels if agreement.get(name, 1.0) >= step.least_agreement]
        if not kept:
            raise KitError(f"round {step.name!r}: no case agrees by {step.least_agreement}")
        told = {"kept": kept, "agreement": agreement}
        (folder / "cases.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")

    return inputs, make


def _agreement(first: Path, second: Path) -> float:
    """Return the mean DSC of the labels that either map has, ignored voxels left out."""
    a, b = (read_label_map(path).labels for path in (first, second))
    known = a != IGNORE
    joint = np.bincount(a[known].astype(np.intp) * 16 + b[known] % 16, minlength=256)
    table = joint.reshape(16, 16)[1:, 1:]
    totals = joint.reshape(16, 16).sum(axis=0)[1:] + joint.reshape(16, 16).sum(axis=1)[1:]
    there = totals > 0
    return float(np.mean(2 * table.diagonal()[there] / totals[there])) if there.any() else 1.0


def _train(run: Run, stage: Stage) -> tuple[dict[str, Path], Callable[[Path], None]]:
    from train.nnunet import MODEL_FILES, TrainingSpec, train_round

    place = run.folder / stage.round
    selected = place / "select" / "cases.json"
    kept = set(json.loads(selected.read_text("utf-8"))["kept"])
    cases = [case for case in cases_of(run.step(stage.round), run.cases()) if case.case in kept]
    files = {
        case.case: (run.release / case.image, place / "fuse" / f"{case.case}{LABEL_SUFFIX}")
        for case in cases
    }
    inputs = {f"release/{case.image}": run.release / case.image for case in cases}
    inputs |= names_under(run.folder, (pair[1] for pair in files.values()), "run")

    def make(folder: Path) -> None:
        # The same name and seed in all rounds: rounds differ by their labels, not by their draws.
        spec = TrainingSpec(
            run.recipe.name, run.recipe.seed, run.recipe.spacing_mm, run.recipe.training
        )
        work = place / "train.work"
        model = train_round(spec, files, work, run.device)
        for name in MODEL_FILES:
            make_folder((folder / name).parent)
            shutil.copyfile(model / name, folder / name)

    return inputs, make


def _export(run: Run, stage: Stage) -> tuple[dict[str, Path], Callable[[Path], None]]:
    from train.export.bundle import ExportRequest, export_bundle

    model = run.folder / stage.round / "train"
    checkpoint = model / "fold_all" / _CHECKPOINT

    def make(folder: Path) -> None:
        name = f"{run.recipe.name}_{stage.round}"
        threads = run.recipe.training.threads
        export_bundle(ExportRequest(model, folder, name=name, threads=threads))

    return {f"{stage.round}/train/{_CHECKPOINT}": checkpoint}, make


def _label(run: Run, stage: Stage) -> tuple[dict[str, Path], Callable[[Path], None]]:
    labelled = cases_to_label(run.recipe, stage.round, run.cases())
    part = stage.part or 0
    cases = labelled[part :: run.recipe.shards]
    inputs, predict = _prediction(run, stage.round, cases)
    return inputs, predict


def _prediction(
    run: Run, name: str, cases: Sequence[Case]
) -> tuple[dict[str, Path], Callable[[Path], None]]:
    """Return the inputs and the work of labelling `cases` with the network of round `name`."""
    bundle = run.folder / name / "export"
    manifest = load_manifest(bundle / MANIFEST)
    inputs = {f"release/{case.image}": run.release / case.image for case in cases}
    inputs[f"{name}/export/{MANIFEST}"] = bundle / MANIFEST
    inputs[f"{name}/export/weights"] = manifest.weights("onnx")

    def make(folder: Path) -> None:
        files = {case.case: run.release / case.image for case in cases}
        if not files:
            return
        threads = run.recipe.training.threads
        precision = cast(Precision, run.recipe.precision)
        settings = Settings(precision=precision, threads=threads)
        report = predict_on_screen(files, folder, manifest, settings)
        if report.failed:
            told = "; ".join(f"{case.case}: {case.error}" for case in report.failed)
            raise KitError(f"round {name!r} could not label {told}")

    return inputs, make


def _score(run: Run, stage: Stage) -> tuple[dict[str, Path], Callable[[Path], None]]:
    if run.truth is None:
        raise KitError("there is no truth to score with; give --truth")
    truth = run.truth
    cases = [case for case in run.cases() if case.subset == "validation"]
    inputs, predict = _prediction(run, stage.round, cases)
    truths = {case.case: truth / f"{case.case}{LABEL_SUFFIX}" for case in cases}
    inputs |= {f"truth/{name}": path for name, path in truths.items()}

    def make(folder: Path) -> None:
        from evaluation.scoring import Scoring, score_folder

        preds, wanted = folder / "pred", folder / "truth"
        make_folder(preds)
        predict(preds)
        make_folder(wanted)
        for name, path in truths.items():
            (wanted / f"{name}{LABEL_SUFFIX}").symlink_to(path.resolve())
        scores = score_folder(Scoring(wanted, preds, "fixed", team=stage.round))
        shutil.rmtree(wanted)
        scores.write(folder / "scores.json")
        if scores.amiss:
            raise KitError(f"round {stage.round!r}: {scores.amiss[0].case} cannot be scored")

    return inputs, make
