"""What feeding a GPU takes of the CPU: seconds of preparing a case, and of drawing a batch.

`python -m benchmarks feeding RECIPE`: generated abdomens on FLARE23's median grid, prepared and
drawn as the recipe's training does, in one process without workers. CPU seconds: other programs
hardly change them.
"""

import os
import resource
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import click
import SimpleITK as sitk

from benchmarks.generated import write_abdomens
from imaging.geometry import Grid
from imaging.machine import cpu_name
from imaging.records import write_json
from train.data.raw import link_dataset
from train.network.naming import CONFIGURATION, DATASET, PLANS, TRAINER
from train.network.nnunet import TrainingSpec, environment, prepare
from train.rounds.cost import MEDIAN_SHAPE, MEDIAN_SPACING_MM
from train.rounds.recipe import load_rounds

_CASES = 3
"""Prepared in a second call, after one alone: the difference is without what both calls take."""


def benchmark_feeding(recipe: Path, batches: int, output: Path) -> None:
    """Measure CPU seconds of a recipe's preparation and batches.

    Args:
        recipe: Of `train run`.
        batches: To draw; the first is left out.
        output: JSON file.
    """
    loaded = load_rounds(recipe)
    training = replace(loaded.training, threads=1, workers=0, validation_iterations=1)
    spec = TrainingSpec(loaded.name, loaded.seed, loaded.spacing_mm, training)
    with tempfile.TemporaryDirectory() as folder:
        few, more = Path(folder) / "few", Path(folder) / "more"
        z, y, x = map(round, MEDIAN_SHAPE)
        cases = write_abdomens(Path(folder), _CASES, Grid((z, y, x), MEDIAN_SPACING_MM))
        few_s = _prepared_s(spec, few, {"p0": cases["p0"]})
        more_s = _prepared_s(spec, more, cases)
        drawn = _drawn_s(spec, more, batches)
    table = {
        "cpu": cpu_name(),
        "recipe": loaded.name,
        "spacing_mm": loaded.spacing_mm,
        "patch": training.patch,
        "batch": training.batch,
        "augmentation": training.augmentation,
        "prepare_case_cpu_s": round((more_s - few_s) / (_CASES - 1), 1),
        "batches": len(drawn) - 1,
        "draw_batch_cpu_s": round(statistics.fmean(drawn[1:]), 3),
        "draw_batch_cpu_s_most": round(max(drawn[1:]), 3),
    }
    write_json(table, output, indent=2)
    click.echo(output.read_text(encoding="utf-8"), nl=False)


def _prepared_s(spec: TrainingSpec, work: Path, cases: dict[str, tuple[Path, Path]]) -> float:
    """Return CPU seconds of fingerprint, plans and preprocessing of some cases."""
    link_dataset(cases, work / "raw" / spec.dataset)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    prepare(spec, work)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _drawn_s(spec: TrainingSpec, work: Path, batches: int) -> list[float]:
    """Return CPU seconds of each batch, drawn as by a training's worker."""
    with mock.patch.dict(os.environ, {**environment(work), "nnUNet_n_proc_DA": "0"}):
        import torch
        from nnunetv2.run.run_training import get_trainer_from_args

        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        trainer = get_trainer_from_args(
            str(DATASET), CONFIGURATION, "all", TRAINER, PLANS, device=torch.device("cpu")
        )
        trainer.initialize()
        stream, _ = trainer.get_dataloaders()
        found = []
        for _ in range(batches):
            start_s = time.process_time()
            next(stream)
            found.append(time.process_time() - start_s)
    return found
