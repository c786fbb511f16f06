"""Call nnU-Net's own commands: fingerprint, plan, preprocess, train."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inference.errors import KitError
from inference.files import replacing
from train.recipe import Recipe

CONFIGURATION = "3d_fullres"
PLANS = "flare23Plans"
TRAINER = "FLARE23Trainer"
_STEPS = {
    "extract_fingerprint": "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints:"
    "extract_fingerprint_entry",
    "plan_experiment": "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints:"
    "plan_experiment_entry",
    "preprocess": "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints:preprocess_entry",
    "train": "nnunetv2.run.run_training:run_training_entry",
}


def environment(work: Path) -> dict[str, str]:
    """Return the variables under which nnU-Net keeps everything in `work`, deterministically."""
    return {
        **os.environ,
        "nnUNet_raw": str(work / "raw"),
        "nnUNet_preprocessed": str(work / "preprocessed"),
        "nnUNet_results": str(work / "results"),
        "nnUNet_extTrainer": str(Path(__file__).parent / "trainers"),
        "nnUNet_compile": "f",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def run(step: str, arguments: list[str], work: Path) -> None:
    """Run nnU-Net's command `nnUNetv2_<step>`, its output on this terminal.

    Raises:
        KitError: The command failed.
    """
    module, _, entry = _STEPS[step].partition(":")
    code = f"from {module} import {entry}; {entry}()"
    variables = environment(work)
    if step == "train":  # the planner refuses 0, which the trainer needs for one random stream
        variables["nnUNet_n_proc_DA"] = "0"
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=variables)
    if done.returncode:
        told = " ".join(["nnUNetv2_" + step, *arguments])
        raise KitError(f"`{told}` ended with exit code {done.returncode}; its output is above")


def write_plans(recipe: Recipe, path: Path) -> None:
    """Give the plans at `path` the recipe's patch, network, HU range and linear resampling."""
    plans: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    configuration = plans["configurations"][CONFIGURATION]
    training = recipe.training
    stages = len(training.features)
    resampling = {"order": 1, "order_z": 0, "force_separate_z": False}
    configuration["architecture"]["arch_kwargs"].update(
        n_stages=stages,
        features_per_stage=list(training.features),
        kernel_sizes=[[3, 3, 3]] * stages,
        strides=[[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        n_conv_per_stage=[2] * stages,
        n_conv_per_stage_decoder=[1] * (stages - 1),
    )
    configuration.update(
        patch_size=list(training.patch),
        batch_size=training.batch,
        flare23={"seed": recipe.seed, **asdict(training)},
        resampling_fn_data_kwargs={"is_seg": False, **resampling},
        resampling_fn_probabilities_kwargs={"is_seg": False, **resampling},
    )
    low_hu, high_hu = training.clip_hu
    plans["foreground_intensity_properties_per_channel"]["0"].update(
        percentile_00_5=low_hu,
        percentile_99_5=high_hu,
        mean=training.mean_hu,
        std=training.std_hu,
    )
    plans["configurations"] = {CONFIGURATION: configuration}
    with replacing(path) as partial:
        partial.write_text(json.dumps(plans, indent=2) + "\n", encoding="utf-8")


def dataset_folder(recipe: Recipe) -> str:
    """Return the raw dataset's name; 23 is the challenge's year."""
    return f"Dataset023_{recipe.name}"


def prepare(recipe: Recipe, work: Path) -> None:
    """Fingerprint, plan and preprocess the recipe's raw dataset."""
    number = ["-d", "23"]
    spacing = [str(recipe.spacing_mm)] * 3
    run("extract_fingerprint", [*number, "-np", "2"], work)
    run(
        "plan_experiment",
        [*number, "-overwrite_target_spacing", *spacing, "-overwrite_plans_name", PLANS],
        work,
    )
    folder = work / "preprocessed" / dataset_folder(recipe)
    write_plans(recipe, folder / f"{PLANS}.json")
    run("preprocess", [*number, "-plans_name", PLANS, "-c", CONFIGURATION, "-np", "2"], work)


def fit(work: Path, device: str) -> None:
    """Train on all cases; a run that was stopped goes on from its last whole epoch."""
    arguments = ["23", CONFIGURATION, "all", "-tr", TRAINER, "-p", PLANS, "-device", device, "--c"]
    run("train", arguments, work)
