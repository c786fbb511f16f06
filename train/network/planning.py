"""Put a recipe into the plans that nnU-Net made."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.network_topology import (
    get_pool_and_conv_props,
)

from imaging.errors import KitError
from imaging.records import read_table, write_json
from train.network.naming import CONFIGURATION
from train.network.nnunet import TrainingSpec
from train.network.recipe import Training

_LEAST_VOXELS = 4
"""nnU-Net's: no axis of the deepest stage is shorter."""
_MAX_FEATURES = 320
_LEAST_STAGES = 3
"""nnU-Net's deep supervision gives the deepest output no weight: of two stages, none is left."""


def write_plans(spec: TrainingSpec, path: Path) -> None:
    """Give the plans at `path` what the recipe says: window, network, HU range, linear resampling.

    Raises:
        KitError: The recipe's window or patch does not fit its network.
    """
    plans, _ = read_table(path, "plans")
    configuration = plans["configurations"][CONFIGURATION]
    training = spec.training
    if window := training.window or training.patch:
        configuration["patch_size"] = list(window)
    if training.patch or training.features:
        network = _network(training, spec.spacing_mm, tuple(configuration["patch_size"]))
        configuration["architecture"]["arch_kwargs"].update(network)
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": False}
    configuration.update(
        batch_size=training.batch,
        flare23={"seed": spec.seed, **asdict(training)},
        resampling_fn_data_kwargs=resampling,
        resampling_fn_probabilities_kwargs=resampling,
    )
    if training.dice == "batch":
        configuration["batch_dice"] = True
    if training.clip_hu:
        low_hu, high_hu = training.clip_hu
        plans["foreground_intensity_properties_per_channel"]["0"].update(
            percentile_00_5=low_hu,
            percentile_99_5=high_hu,
            mean=training.mean_hu,
            std=training.std_hu,
        )
    plans["configurations"] = {CONFIGURATION: configuration}
    write_json(plans, path, indent=2)


def _network(
    training: Training, spacing_mm: tuple[float, ...], window: tuple[int, ...]
) -> dict[str, Any]:
    """Return a plain U-Net's settings: nnU-Net's rule for strides and kernels, so many stages."""
    strides, kernels = get_pool_and_conv_props(spacing_mm, window, _LEAST_VOXELS, 999)[1:3]
    features = training.features or tuple(
        min(32 * 2**stage, _MAX_FEATURES) for stage in range(len(strides))
    )
    stages = len(features)
    if not _LEAST_STAGES <= stages <= len(strides):
        raise KitError(
            f"a patch of {window} voxels allows {_LEAST_STAGES} to {len(strides)} stages, the "
            f"recipe's features are {stages}; change the patch or the features"
        )
    total = np.prod(strides[:stages], axis=0)
    for size in (window, training.patch or window):
        if np.any(np.mod(size, total)):
            raise KitError(
                f"patch {size} is not a multiple of {total.tolist()}, the network's strides"
            )
    return {
        "n_stages": stages,
        "features_per_stage": list(features),
        "strides": [list(stride) for stride in strides[:stages]],
        "kernel_sizes": [list(kernel) for kernel in kernels[:stages]],
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [training.decoder_convolutions] * (stages - 1),
    }


def feature_map_voxels(
    training: Training, spacing_mm: tuple[float, ...], patch: tuple[int, ...], classes: int
) -> int:
    """Return the values of all feature maps of one patch: what nnU-Net's planner counts for memory.

    It is `compute_conv_feature_map_size` of its PlainConvUNet, without making the network.

    Args:
        training: Whose features and convolutions.
        spacing_mm: Axes (Z, Y, X); with the patch it decides the strides.
        patch: Axes (Z, Y, X), voxels.
        classes: Of the output, background included.
    """
    network = _network(training, spacing_mm, patch)
    size, sizes, total = patch, [], 0
    for stride, features in zip(network["strides"], network["features_per_stage"], strict=True):
        size = tuple(n // by for n, by in zip(size, stride, strict=True))
        sizes.append(math.prod(size))
        total += 2 * features * sizes[-1]
    for voxels, features in zip(sizes[:-1], network["features_per_stage"][:-1], strict=True):
        total += voxels * (features * (training.decoder_convolutions + 1) + classes)
    return total
