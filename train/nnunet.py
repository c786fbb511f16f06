"""Call nnU-Net's own commands: fingerprint, plan, preprocess, train."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inference.errors import KitError
from inference.files import replacing
from inference.geometry import SpacingMm
from train.raw import link_dataset
from train.recipe import Training

ROOT = Path(__file__).parents[1]
DATASET = 23
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
        "nnUNet_extTrainer": str(ROOT / "train" / "trainers"),
        "nnUNet_compile": "f",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
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
    if step == "train":  # the planner refuses 0; the trainer has workers of its own
        variables["nnUNet_n_proc_DA"] = "0"
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=variables)
    if done.returncode:
        told = " ".join(["nnUNetv2_" + step, *arguments])
        raise KitError(f"`{told}` ended with exit code {done.returncode}; its output is above")


@dataclass(frozen=True)
class TrainingSpec:
    """One network to train."""

    name: str
    seed: int
    spacing_mm: SpacingMm
    training: Training

    @property
    def dataset(self) -> str:
        """Name of the raw dataset; 23 is the challenge's year."""
        return f"Dataset{DATASET:03d}_{self.name}"


def write_plans(spec: TrainingSpec, path: Path) -> None:
    """Give the plans at `path` the recipe's patch, network, HU range and linear resampling."""
    plans: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    configuration = plans["configurations"][CONFIGURATION]
    training = spec.training
    if training.features:
        configuration["architecture"]["arch_kwargs"].update(_network(training.features))
    if training.patch:
        configuration["patch_size"] = list(training.patch)
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": False}
    configuration.update(
        batch_size=training.batch,
        flare23={"seed": spec.seed, **asdict(training)},
        resampling_fn_data_kwargs=resampling,
        resampling_fn_probabilities_kwargs=resampling,
    )
    if training.clip_hu:
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


def _network(features: tuple[int, ...]) -> dict[str, Any]:
    """Return the settings of a plain U-Net that halves every axis between its stages."""
    stages = len(features)
    return {
        "n_stages": stages,
        "features_per_stage": list(features),
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [1] * (stages - 1),
    }


def prepare(spec: TrainingSpec, work: Path) -> None:
    """Fingerprint, plan and preprocess the raw dataset under `work`."""
    number = ["-d", str(DATASET)]
    spacing = [str(mm) for mm in spec.spacing_mm]
    run("extract_fingerprint", [*number, "-np", "2"], work)
    run(
        "plan_experiment",
        [*number, "-overwrite_target_spacing", *spacing, "-overwrite_plans_name", PLANS],
        work,
    )
    write_plans(spec, work / "preprocessed" / spec.dataset / f"{PLANS}.json")
    run("preprocess", [*number, "-plans_name", PLANS, "-c", CONFIGURATION, "-np", "2"], work)


def fit(work: Path, device: str, fold: str = "all") -> None:
    """Train; a run that was stopped goes on from its last checkpoint."""
    arguments = [str(DATASET), CONFIGURATION, fold, "-tr", TRAINER, "-p", PLANS, "-device", device]
    run("train", [*arguments, "--c"], work)


def model_folder(spec: TrainingSpec, work: Path) -> Path:
    """Return nnU-Net's result folder of a training: what `train export` takes."""
    return work / "results" / spec.dataset / f"{TRAINER}__{PLANS}__{CONFIGURATION}"


def train_round(
    spec: TrainingSpec, cases: Mapping[str, tuple[Path, Path]], work: Path, device: str = "cpu"
) -> Path:
    """Train a network on files that lie elsewhere; a killed training goes on when called again.

    Args:
        spec: What to train.
        cases: CT and label map of each case, on the same voxels.
        work: Folder for nnU-Net's own files.
        device: "cpu" or "cuda".

    Returns:
        nnU-Net's result folder; the checkpoint is in fold_all/checkpoint_final.pth.

    Raises:
        KitError: One of nnU-Net's commands failed.
    """
    model = model_folder(spec, work)
    if (model / "fold_all" / "checkpoint_final.pth").is_file():
        return model
    ready = work / "preprocessed.json"
    if not ready.is_file():
        for leftover in (work / "raw", work / "preprocessed"):
            shutil.rmtree(leftover, ignore_errors=True)
        link_dataset(cases, work / "raw" / spec.dataset)
        prepare(spec, work)
        with replacing(ready) as partial:
            partial.write_text(json.dumps(sorted(cases)) + "\n", encoding="utf-8")
    fit(work, device)
    return model
