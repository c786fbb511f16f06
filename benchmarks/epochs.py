"""What determinism costs: seconds an epoch of the kit's trainer against nnU-Net's own.

`python -m benchmarks epochs RECIPE`: the recipe's network, patch and batch on generated
abdomens. The variants run in turn, each in a process of its own, so that whatever else the machine
does falls on all of them alike. CPU seconds are those of all their processes together: other
programs hardly change them. Checkpoints are outside of an epoch's time, as in nnU-Net's log.
"""

import io
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import click
import psutil

from benchmarks.alternating import in_own_process
from benchmarks.generated import write_abdomens
from imaging.geometry import Grid
from imaging.records import write_json
from train.data.raw import link_dataset
from train.network.naming import CONFIGURATION, DATASET, PLANS, TRAINER
from train.network.nnunet import TrainingSpec, environment, prepare
from train.network.recipe import Training
from train.rounds.recipe import load_rounds

Seconds = tuple[float, float]
"""By the clock, and of CPUs."""
_STOCK = "nnUNetTrainer"
_SAME: dict[str, Any] = {
    "augmentation": "nnunet",
    "mirroring": True,
    "optimizer": "sgd",
    "precision": "nnunet",
    "rare_heads": False,
}
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "nnU-Net's own": (_STOCK, {}),
    "the same, deterministic": (TRAINER, {**_SAME, "workers": len(os.sched_getaffinity(0))}),
    "the same, no workers": (TRAINER, {**_SAME, "workers": 0}),
    "the recipe as it is": (TRAINER, {}),
}
_VALIDATION = 2
_CASES = 4
_GRID = Grid((96, 128, 128), (3.0, 3.0, 3.0))


def benchmark_epochs(
    recipe: Path, repeats: int, epochs: int, iterations: int, output: Path
) -> None:
    """Time epochs of every variant; the first of each run is left out.

    Args:
        recipe: Of `train run`: its network, patch, batch and HU range are taken.
        repeats: Runs of each variant.
        epochs: Of each run.
        iterations: Of each epoch.
        output: JSON file.
    """
    loaded = load_rounds(recipe)
    training = replace(
        loaded.training, epochs=epochs, iterations=iterations, validation_iterations=_VALIDATION
    )
    spec = TrainingSpec(loaded.name, loaded.seed, loaded.spacing_mm, training)
    found: dict[str, list[Seconds]] = {name: [] for name in _VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        link_dataset(write_abdomens(work, _CASES, _GRID), work / "raw" / spec.dataset)
        prepare(spec, work)
        for _ in range(repeats):
            for name, (trainer, changes) in _VARIANTS.items():
                varied = replace(spec, training=replace(spec.training, **changes))
                found[name] += _timed(trainer, varied, work)[1:]
    stock = _medians(found["nnU-Net's own"])
    table = {
        name: {
            **_medians(runs),
            "ratio": {kind: round(s / stock[kind], 3) for kind, s in _medians(runs).items()},
            "runs": [tuple(round(s, 2) for s in run) for run in runs],
        }
        for name, runs in found.items()
    }
    head = {"recipe": spec.name, "iterations": iterations, "validation_iterations": _VALIDATION}
    write_json({**head, "epochs": table}, output, indent=2)
    click.echo(output.read_text(encoding="utf-8"), nl=False)


def _medians(runs: list[Seconds]) -> dict[str, float]:
    wall, processors = zip(*runs, strict=True)
    return {"wall_s": statistics.median(wall), "cpu_s": statistics.median(processors)}


def _timed(trainer: str, spec: TrainingSpec, work: Path) -> list[Seconds]:
    """Return wall and CPU seconds of each epoch of one training."""
    from train.network.planning import write_plans

    shutil.rmtree(work / "results", ignore_errors=True)
    write_plans(spec, work / "preprocessed" / spec.dataset / f"{PLANS}.json")
    workers = {} if trainer == _STOCK else {"nnUNet_n_proc_DA": "0"}
    with mock.patch.dict(os.environ, {**environment(work), **workers}):
        return in_own_process(_train, trainer, spec.training)


def _train(trainer: str, settings: Training) -> list[Seconds]:
    """Train, in a process of its own; return each epoch's seconds."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    sys.stdout = io.StringIO()  # nnU-Net says a lot
    torch.set_num_threads(settings.threads)
    training = get_trainer_from_args(
        str(DATASET), CONFIGURATION, "all", trainer, PLANS, device=torch.device("cpu")
    )
    training.num_epochs = settings.epochs
    training.num_iterations_per_epoch = settings.iterations
    training.num_val_iterations_per_epoch = _VALIDATION
    marks: list[Seconds] = []
    for name in ("on_epoch_start", "on_epoch_end"):
        _mark(training, name, marks)
    training.run_training()
    pairs = zip(marks[::2], marks[1::2], strict=True)
    return [(end[0] - start[0], end[1] - start[1]) for start, end in pairs]


def _mark(training: Any, name: str, marks: list[Seconds]) -> None:
    """Note the clocks whenever the trainer's method `name` is called."""
    inner = getattr(training, name)

    def marked() -> None:
        me = psutil.Process()
        used = [each.cpu_times() for each in (me, *me.children(recursive=True))]
        marks.append((time.perf_counter(), sum(cpu.user + cpu.system for cpu in used)))
        inner()

    setattr(training, name, marked)
