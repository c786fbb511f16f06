"""Train a network on generated samples and write an nnU-Net result folder.

Sample number n depends only on the recipe's seed and on n. So a training that was killed and
resumed from its last checkpoint ends with the same bytes as one that never stopped.
"""

import copy
import os
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from imaging.digest import file_sha256
from imaging.errors import KitError
from imaging.files import make_folder
from imaging.records import write_json
from train.network.checkpoints import write_checkpoint
from train.network.naming import CONFIGURATION, TRAINER, dataset_name, model_folder_name
from train.network.streams import seed_everything
from train.small.compact import PreparedCase, read_case
from train.small.device import Gradients, drawn_ahead, gradients_of
from train.small.plans import dataset_of, nnunet_plans
from train.small.recipe import SmallRecipe, load_small_recipe
from train.small.sampling import CLASSES, Sample, Sampler
from train.small.start import OneSampleNorm, load_start

RECIPE = "recipe.toml"
FINAL = "checkpoint_final.pth"
LATEST = "checkpoint_latest.pth"
_FOREGROUND_SHARE = 0.15
"""Share of a patch's voxels that belong to an organ, roughly: what the output layers start from."""


@dataclass(frozen=True)
class TrainingProgress:
    """What a training says from time to time."""

    step: int
    steps: int
    loss: float
    """Mean since the last report."""


@dataclass
class _Training:
    """All that changes while training."""

    recipe: SmallRecipe
    network: torch.nn.Module
    mean: torch.nn.Module
    """The moving mean of the weights: what is exported."""
    optimizer: torch.optim.Optimizer
    step: int = 0


def fit(
    prepared: Path,
    results: Path,
    device: str = "cpu",
    report: Callable[[TrainingProgress], None] = lambda progress: None,
    until: int | None = None,
    start: Path | None = None,
) -> Path:
    """Train the network of a prepared folder, or go on where a stopped training left off.

    Args:
        prepared: Folder that `train small prepare` wrote.
        results: Folder for nnU-Net's result folder.
        device: "cpu" or "cuda".
        report: Called with a progress message every 50 steps.
        until: Stop after this step, as if killed there; None: the recipe's last.
        start: ONNX file of the weights that the recipe starts from, where it names one.

    Returns:
        nnU-Net's result folder, for `train export` and `nnUNetv2_predict`.

    Raises:
        KitError: `prepared` is not such a folder, the last checkpoint is damaged or of another
            recipe, `start` is not what the recipe starts from, or there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise KitError("no CUDA device here; run with --device cpu")
    recipe = load_small_recipe(prepared / RECIPE)
    fold = _fold_of(recipe, results)
    if (fold / FINAL).is_file():
        return fold.parent
    training = _start(recipe, torch.device(device), start)
    _resume(training, fold / LATEST)
    cases = (read_case(prepared / f"{case}.npz") for case in recipe.cases)
    sampler = Sampler(cases, recipe, torch.device(device))
    _train(training, sampler, until or recipe.fit.steps, fold, report)
    return fold.parent


def results_of(recipe: SmallRecipe, weights: Path, results: Path) -> Path:
    """Write an exported network as the nnU-Net result folder that it may have come from.

    So nnU-Net itself can predict with it. The output layers that an export leaves out, which only
    a training uses, are random.

    Args:
        recipe: Of the network.
        weights: Its ONNX file.
        results: Folder for nnU-Net's result folder.

    Returns:
        nnU-Net's result folder.

    Raises:
        KitError: `weights` cannot be read, or are of another network.
    """
    fit = replace(recipe.fit, start_sha256=file_sha256(weights))
    started = _start(replace(recipe, fit=fit), torch.device("cpu"), weights)
    fold = _fold_of(recipe, results)
    write_checkpoint(_result(started), fold / FINAL)
    return fold.parent


def _fold_of(recipe: SmallRecipe, results: Path) -> Path:
    """Make nnU-Net's result folder, without a checkpoint; return the folder of its fold."""
    folder = results / dataset_name(recipe.name) / model_folder_name()
    make_folder(folder / "fold_all")
    write_json(nnunet_plans(recipe), folder / "plans.json", indent=2)
    write_json(dataset_of(recipe), folder / "dataset.json", indent=2)
    return folder / "fold_all"


def trained(
    recipe: SmallRecipe, cases: Sequence[PreparedCase], device: torch.device
) -> torch.nn.Module:
    """Return the mean network of a whole training in memory, from random weights, unsaved."""
    training = _start(recipe, device, None)
    for _ in _steps(training, Sampler(cases, recipe, device), recipe.fit.steps):
        pass
    return training.mean


def _train(
    training: _Training,
    sampler: Sampler,
    until: int,
    fold: Path,
    report: Callable[[TrainingProgress], None],
) -> None:
    """Train up to step `until`, with reports and checkpoints."""
    steps, save_every = training.recipe.fit.steps, training.recipe.fit.save_every
    last = min(until, steps)
    recent: deque[torch.Tensor] = deque(maxlen=50)
    for loss in _steps(training, sampler, last):
        recent.append(loss)
        if training.step % 50 == 0 or training.step == last:
            mean = float(torch.stack(list(recent)).mean())
            report(TrainingProgress(training.step, steps, mean))
        if training.step % save_every == 0 or training.step == last:
            write_checkpoint(_state(training), fold / LATEST)
    if training.step == steps:
        write_checkpoint(_result(training), fold / FINAL)


def _pin(threads: int) -> None:
    """Turn off every choice that depends on timing."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # without it cuBLAS refuses
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling new memory would take a sixth of a step; nothing here reads what it did not write.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def _start(recipe: SmallRecipe, device: torch.device, start: Path | None) -> _Training:
    """Build network and optimizer from the recipe's seed, or from the weights that it names."""
    _pin(recipe.fit.threads)
    seed_everything(recipe.seed, 0)
    network = _network(recipe)
    for head in network.decoder.seg_layers:
        organs = head.bias.numel() - 1
        with torch.no_grad():
            head.bias.fill_(float(torch.tensor(_FOREGROUND_SHARE / organs).log()))
            head.bias[0] = float(torch.tensor(1 - _FOREGROUND_SHARE).log())
    load_start(network, recipe.fit.start_sha256, start)
    network = network.to(device, memory_format=torch.channels_last_3d)
    fit = recipe.fit
    optimizer = torch.optim.AdamW(
        network.parameters(), fit.learning_rate, weight_decay=fit.weight_decay
    )
    return _Training(recipe, network, copy.deepcopy(network), optimizer)


def _network(recipe: SmallRecipe) -> PlainConvUNet:
    """Build what plans.json describes, as nnU-Net does."""
    planned = nnunet_plans(recipe)["configurations"][CONFIGURATION]["architecture"]
    network: PlainConvUNet = get_network_from_plans(
        planned["network_class_name"],
        planned["arch_kwargs"],
        planned["_kw_requires_import"],
        1,
        CLASSES,
        allow_init=True,
        deep_supervision=True,
    )
    for module in network.modules():
        if isinstance(module, torch.nn.InstanceNorm3d):
            module.__class__ = OneSampleNorm
    return network


def _steps(training: _Training, sampler: Sampler, last: int) -> Iterator[torch.Tensor]:
    """Train up to step `last`; yield each step's loss, a scalar that lies on the device."""
    gradients = gradients_of(training.network, training.recipe)
    for samples in drawn_ahead(sampler, training.recipe.fit.batch, training.step, last):
        training.step += 1
        yield _step(training, gradients, samples)


def _step(training: _Training, gradients: Gradients, samples: Sequence[Sample]) -> torch.Tensor:
    """Take one step; weights, loss and sums are float32, the network computes in bfloat16."""
    fit = training.recipe.fit
    for group in training.optimizer.param_groups:
        group["lr"] = _learning_rate(training.recipe, training.step)
    training.optimizer.zero_grad(set_to_none=False)
    total = torch.zeros((), device=samples[0].image.device)
    for sample in samples:
        total += gradients(sample)
    torch.nn.utils.clip_grad_norm_(training.network.parameters(), fit.gradient_norm)
    training.optimizer.step()
    kept = min(fit.averaging, training.step / (training.step + 10))
    with torch.no_grad():
        pairs = zip(training.mean.parameters(), training.network.parameters(), strict=True)
        for mean, weight in pairs:
            mean.lerp_(weight, 1 - kept)
    return total


def _learning_rate(recipe: SmallRecipe, step: int) -> float:
    """Grow linearly over the warm-up, fall as nnU-Net's (1 - t)^0.9 does, at last linearly to 0."""
    fit = recipe.fit
    grown = min(1.0, step / max(1, fit.warm_up))
    left = min(1.0, (fit.steps - step + 1) / max(1, fit.cool_down))
    falling = float((1 - (step - 1) / fit.horizon) ** 0.9)
    return fit.learning_rate * grown * left * falling


def _state(training: _Training) -> dict[str, Any]:
    """Return what a killed training goes on from."""
    return {
        **_result(training),
        "trained_weights": training.network.state_dict(),
        "optimizer_state": training.optimizer.state_dict(),
    }


def _result(training: _Training) -> dict[str, Any]:
    """Return the checkpoint that nnU-Net and the export read: the mean of the weights."""
    return {
        "network_weights": training.mean.state_dict(),
        "optimizer_state": None,
        "grad_scaler_state": None,
        "logging": {},
        "_best_ema": None,
        "current_epoch": training.step,
        "init_args": {
            "plans": nnunet_plans(training.recipe),
            "configuration": CONFIGURATION,
            "fold": "all",
            "dataset_json": dataset_of(training.recipe),
        },
        "trainer_name": TRAINER,
        "inference_allowed_mirroring_axes": None,
    }


def _resume(training: _Training, path: Path) -> None:
    """Bring a training to where its last checkpoint is; nothing where there is none.

    Raises:
        KitError: The checkpoint is damaged, or of a recipe with another network.
    """
    if not path.is_file():
        return
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise KitError(f"{path}: damaged ({reason}); delete it to train from the start") from error
    if stored["init_args"]["plans"] != nnunet_plans(training.recipe):
        raise KitError(
            f"{path} is of a recipe with another network; take another --work, or delete it"
        )
    training.network.load_state_dict(stored["trained_weights"])
    training.mean.load_state_dict(stored["network_weights"])
    training.optimizer.load_state_dict(stored["optimizer_state"])
    training.step = stored["current_epoch"]
