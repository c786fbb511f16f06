"""Train with nnU-Net v2: every step runs in its own process and writes into one folder."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import inference
from imaging.digest import file_sha256
from imaging.errors import KitError
from imaging.files import make_folder, replacing
from imaging.geometry import SpacingMm
from imaging.records import read_record, write_json
from train.data.raw import AnnotatedLabels, link_dataset
from train.network.naming import (
    CONFIGURATION,
    DATASET,
    PLANS,
    TRAINER,
    dataset_name,
    model_folder_name,
)
from train.network.recipe import Training

ROOT = Path(__file__).parents[2]
MODEL_FILES = ("plans.json", "dataset.json", "fold_all/checkpoint_final.pth")
"""What of a model folder is the same in equal trainings; nnU-Net's logs hold times of day."""
_PREPARE = ("train.network.preprocessing", "prepare_entry")
_TRAIN = ("nnunetv2.run.run_training", "run_training_entry")
_SPEC = "spec.json"
_PREPARED = "prepared.json"
_PACKAGES = (
    "acvl_utils", "batchgenerators", "batchgeneratorsv2", "dynamic_network_architectures",
    "nibabel", "nnunetv2", "numpy", "scikit-image", "scipy", "torch",
)  # fmt: skip
"""What reads, prepares and augments cases, and what the network is made of."""


@dataclass(frozen=True)
class TrainingSpec:
    """One network to train."""

    name: str
    seed: int
    spacing_mm: SpacingMm
    training: Training

    @property
    def dataset(self) -> str:
        """Name of the raw dataset."""
        return dataset_name(self.name)


def train_round(
    spec: TrainingSpec,
    cases: Mapping[str, tuple[Path, Path]],
    work: Path,
    device: str = "cpu",
    annotated: AnnotatedLabels | None = None,
    digest: Callable[[Path], str] = file_sha256,
) -> Path:
    """Train a network on files that lie elsewhere; a killed training goes on when called again.

    What an earlier call left in `work` is used only if the request was the same: the same recipe,
    bytes of the cases, version of the kit and of packages, device. Otherwise it is deleted: a stage
    that a new version made stale must not name that version beside what the old one trained.

    Args:
        spec: What to train.
        cases: CT and label map of each case, on the same voxels.
        work: Folder for nnU-Net's own files.
        device: "cpu" or "cuda".
        annotated: Labels that the annotators of each case looked for. The marginal loss asks; where
            the recipe has none, it decides nothing.
        digest: Returns the sha256 of a case's file.

    Returns:
        nnU-Net's result folder, for `train export`; MODEL_FILES are its files to keep.

    Raises:
        KitError: A label map cannot be trained on, `annotated` lacks a case, or a step of nnU-Net
            failed.
    """
    work = work.resolve()
    loss_labels = _labels_for_loss(spec, cases, annotated or {})
    digests = {case: [digest(path) for path in files] for case, files in cases.items()}
    order = _order(spec, digests, device, loss_labels)
    prepared = work / _PREPARED
    model = model_folder(spec, work)
    with _alone_in(work):
        if not (prepared.is_file() and prepared.read_text(encoding="utf-8") == order):
            for stale in ("raw", "preprocessed", "results"):
                shutil.rmtree(work / stale, ignore_errors=True)
            link_dataset(cases, work / "raw" / spec.dataset, loss_labels)
            prepare(spec, work)
            with replacing(prepared) as partial:
                partial.write_text(order, encoding="utf-8")
        if not (model / MODEL_FILES[-1]).is_file():
            fit(work, device)
    return model


def prepare(spec: TrainingSpec, work: Path) -> None:
    """Fingerprint, plan and preprocess the raw dataset under `work`."""
    make_folder(work)
    write_json(asdict(spec), work / _SPEC, indent=2)
    processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    _run(*_PREPARE, [str(work), str(processes)], environment(work))


def fit(work: Path, device: str, fold: str = "all") -> None:
    """Train on what was prepared; a run that was stopped goes on from its last checkpoint."""
    arguments = [str(DATASET), CONFIGURATION, fold, "-tr", TRAINER, "-p", PLANS, "-device", device]
    arguments += ["-num_gpus", str(read_spec(work).training.gpus)]
    # The trainer has workers of its own; nnU-Net's shall not start.
    variables = {**environment(work), "nnUNet_n_proc_DA": "0"}
    _run(*_TRAIN, [*arguments, "--c"], variables)


def model_folder(spec: TrainingSpec, work: Path) -> Path:
    """Return nnU-Net's result folder of a training: what `train export` takes."""
    return work / "results" / spec.dataset / model_folder_name()


def read_spec(work: Path) -> TrainingSpec:
    """Return what `work` was prepared for."""
    return read_record(work / _SPEC, TrainingSpec, "training")


def environment(work: Path) -> dict[str, str]:
    """Return the variables under which nnU-Net keeps everything in `work`, deterministically."""
    return {
        **os.environ,
        "nnUNet_raw": str(work / "raw"),
        "nnUNet_preprocessed": str(work / "preprocessed"),
        "nnUNet_results": str(work / "results"),
        "nnUNet_extTrainer": str(ROOT / "train" / "network" / "trainers"),
        "nnUNet_compile": "f",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",  # so that a log shows how far it is
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def _run(module: str, entry: str, arguments: list[str], variables: Mapping[str, str]) -> None:
    """Run `entry` of `module` in a process that ends with this one; it speaks on stderr."""
    code = (
        "from train.network.parent_process import end_with_parent; "
        f"end_with_parent({os.getpid()}); "
        f"from {module} import {entry}; {entry}()"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=variables, stdout=sys.__stderr__)
    if done.returncode:
        command_line = " ".join([entry, *arguments])
        raise KitError(
            f"nnU-Net's `{command_line}` ended with exit code {done.returncode}; see above"
        )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process trains in `folder`: who started it may be gone, and it not."""
    make_folder(folder)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _labels_for_loss(
    spec: TrainingSpec, cases: Iterable[str], annotated: AnnotatedLabels
) -> AnnotatedLabels | None:
    """Return what the recipe's loss must know of each case; None where it asks for nothing."""
    if spec.training.undecided != "marginal":
        return None
    if missing := sorted(set(cases) - annotated.keys()):
        raise KitError(
            f"the marginal loss must know which labels were annotated in {', '.join(missing)}; "
            'give them for every case, or set undecided = "ignore"'
        )
    return {case: sorted(annotated[case]) for case in sorted(cases)}


def _order(
    spec: TrainingSpec,
    digests: Mapping[str, list[str]],
    device: str,
    loss_labels: AnnotatedLabels | None,
) -> str:
    """Say what decides a training's result."""
    order = {
        "spec": asdict(spec),
        "cases": digests,
        "kit": inference.__version__,
        "packages": {name: version(name) for name in _PACKAGES},
        "device": device,
        **({} if loss_labels is None else {"annotated": loss_labels}),
    }
    return json.dumps(order, indent=2, sort_keys=True) + "\n"
