"""A training so small that it takes seconds: two abdomens at 8 mm, a network of three stages."""

import contextlib
import io
import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from unittest import mock

import SimpleITK as sitk
import torch

from train.network.naming import CONFIGURATION, DATASET, PLANS, TRAINER
from train.network.nnunet import (
    MODEL_FILES,
    TrainingSpec,
    environment,
    model_folder,
)
from train.network.recipe import Training
from train.synthesis.phantom import phantom

TRAINING = Training(
    patch=(16, 24, 24),
    window=(),
    batch=2,
    features=(4, 8, 8),
    decoder_convolutions=1,
    clip_hu=(-200.0, 300.0),
    mean_hu=50.0,
    std_hu=80.0,
    epochs=3,
    iterations=2,
    validation_iterations=1,
    save_every=1,
    optimizer="adamw",
    learning_rate=0.002,
    rare_heads=True,
    augmentation="light",
    mirroring=False,
    rotation_degrees=15.0,
    scaling=(0.8, 1.2),
    dice="nnunet",
    oversample_foreground=0.5,
    undecided="ignore",
    precision="bf16",
    threads=2,
    workers=0,
)
SPEC = TrainingSpec("tiny", 7, (8.0, 8.0, 8.0), TRAINING)


def write_cases(folder):
    """Write two abdomens, turned and stretched otherwise; the first has voxels to ignore."""
    found = {}
    for seed, (spacing, direction) in enumerate((((8, 8, 8), 1), ((6, 9, 8), -1))):
        hu, labels = phantom(seed, (36, 48, 48), (8.0, 8.0, 8.0))
        labels[:4] = labels[:4] if seed else 15
        files = folder / f"p{seed}_0000.nii.gz", folder / f"p{seed}.nii.gz"
        for array, path in zip((hu, labels), files, strict=True):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(spacing)
            image.SetDirection((direction, 0, 0, 0, direction, 0, 0, 0, 1))
            sitk.WriteImage(image, str(path), useCompression=True)
        found[f"p{seed}"] = files
    return found


def varied(**changes):
    """Return the small training with some keys of its recipe changed."""
    return replace(SPEC, training=replace(TRAINING, **changes))


def copied(prepared, work):
    """Return a work folder with the data prepared and nothing trained."""
    return Path(
        shutil.copytree(prepared, work, symlinks=True, ignore=shutil.ignore_patterns("results"))
    )


def checkpoint_of(spec, work):
    """Return the bytes of the last checkpoint."""
    return (model_folder(spec, work) / MODEL_FILES[-1]).read_bytes()


@contextlib.contextmanager
def trainer_of(spec, work, resume=False):
    """Yield nnU-Net's trainer as its command makes it, but in this process; it is silent."""
    flags = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    variables = {**environment(work), "nnUNet_n_proc_DA": "0"}
    with (
        mock.patch.dict(os.environ, variables),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

        from train.network.planning import write_plans

        write_plans(spec, work / "preprocessed" / spec.dataset / f"{PLANS}.json")
        try:
            trainer = get_trainer_from_args(
                str(DATASET), CONFIGURATION, "all", TRAINER, PLANS, resume, torch.device("cpu")
            )
            maybe_load_checkpoint(trainer, resume, validation_only=False)
            trainer.logger.plot_progress_png = mock.Mock()  # most of such an epoch's time
            yield trainer
        finally:
            torch.use_deterministic_algorithms(flags[0])
            torch.set_num_threads(flags[1])


def train_here(spec, work, resume=False):
    """Train in this process and return the bytes of the last checkpoint."""
    with trainer_of(spec, work, resume) as trainer:
        trainer.run_training()
    return checkpoint_of(spec, work)
