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

from imaging.machine import cpu_name
from imaging.records import write_json
from imaging.volumes import write_volume
from train.data.raw import link_dataset
from train.network.naming import CONFIGURATION, DATASET, PLANS, TRAINER
from train.network.nnunet import TrainingSpec, environment, prepare
from train.rounds.cost import MEDIAN_SHAPE, MEDIAN_SPACING_MM
from train.rounds.recipe import load_rounds
from train.synthesis.phantom import phantom

_CASES = (1, 3)
"""Prepared in one call; what both calls take besides their cases falls out of the difference."""


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
        work = Path(folder)
        _write_cases(work)
        few_s, more_s = (_prepared_s(spec, work, count) for count in _CASES)
        drawn = _drawn_s(spec, work, batches)
    table = {
        "cpu": cpu_name(),
        "recipe": loaded.name,
        "spacing_mm": loaded.spacing_mm,
        "patch": training.patch,
        "batch": training.batch,
        "augmentation": training.augmentation,
        "prepare_case_cpu_s": round((more_s - few_s) / (_CASES[1] - _CASES[0]), 1),
        "batches": len(drawn) - 1,
        "draw_batch_cpu_s": round(statistics.fmean(drawn[1:]), 3),
        "draw_batch_cpu_s_most": round(max(drawn[1:]), 3),
    }
    write_json(table, output, indent=2)
    click.echo(output.read_text(encoding="utf-8"), nl=False)


def _files(work: Path, case: int) -> tuple[Path, Path]:
    return work / f"p{case}_0000.nii.gz", work / f"p{case}.nii.gz"


def _write_cases(work: Path) -> None:
    shape = (round(MEDIAN_SHAPE[0]), round(MEDIAN_SHAPE[1]), round(MEDIAN_SHAPE[2]))
    for case in range(_CASES[1]):
        hu, labels = phantom(case, shape, MEDIAN_SPACING_MM)
        image_file, labels_file = _files(work, case)
        write_volume(hu, MEDIAN_SPACING_MM, image_file)
        write_volume(labels, MEDIAN_SPACING_MM, labels_file)


def _prepared_s(spec: TrainingSpec, work: Path, count: int) -> float:
    """Return CPU seconds of fingerprint, plans and preprocessing of so many cases."""
    place = work / str(count)
    cases = {f"p{case}": _files(work, case) for case in range(count)}
    link_dataset(cases, place / "raw" / spec.dataset)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    prepare(spec, place)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _drawn_s(spec: TrainingSpec, work: Path, batches: int) -> list[float]:
    """Return CPU seconds of each batch, drawn as by a training's worker."""
    place = work / str(_CASES[1])
    with mock.patch.dict(os.environ, {**environment(place), "nnUNet_n_proc_DA": "0"}):
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
