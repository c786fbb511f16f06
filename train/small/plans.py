"""nnU-Net's plans.json and dataset.json for a network that nnU-Net did not plan."""

from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.network_topology import (
    get_pool_and_conv_props,
)

from imaging.errors import KitError
from imaging.organs import ORGANS
from train.network.naming import CONFIGURATION, PLANS, dataset_name
from train.small.compact import ORIENTATION
from train.small.recipe import SmallRecipe

_LEAST_VOXELS = 4
"""nnU-Net's: no axis of the deepest stage is shorter."""
READER = "SimpleITKIO"
"""Takes axes as they are stored: nnU-Net has no reader that brings them to `ORIENTATION`."""


def dataset_of(recipe: SmallRecipe) -> dict[str, Any]:
    """Return the content of dataset.json."""
    return {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **ORGANS},
        "numTraining": len(recipe.cases),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": READER,
    }


def nnunet_plans(recipe: SmallRecipe) -> dict[str, Any]:
    """Return the content of plans.json.

    Raises:
        KitError: The recipe's patch does not fit its network.
    """
    fit = recipe.fit
    low, high = fit.clip_hu
    properties = {
        "max": high, "mean": fit.mean_hu, "median": fit.mean_hu, "min": low,
        "percentile_00_5": low, "percentile_99_5": high, "std": fit.std_hu,
    }  # fmt: skip
    return {
        "dataset_name": dataset_name(recipe.name),
        "plans_name": PLANS,
        "original_median_spacing_after_transp": list(recipe.spacing_mm),
        "original_median_shape_after_transp": list(_window(recipe)),
        "image_reader_writer": READER,
        "orientation": ORIENTATION,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {CONFIGURATION: _configuration(recipe)},
        "experiment_planner_used": "train small",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": properties},
    }


def _configuration(recipe: SmallRecipe) -> dict[str, Any]:
    """Return the one configuration: grid, patch, resampling and network."""
    fit = recipe.fit
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": False}
    return {
        "data_identifier": f"{PLANS}_{CONFIGURATION}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": fit.batch,
        "patch_size": list(_window(recipe)),
        "median_image_size_in_voxels": list(_window(recipe)),
        "spacing": list(recipe.spacing_mm),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling,
        "architecture": _architecture(recipe),
        "batch_dice": False,
    }


def _window(recipe: SmallRecipe) -> tuple[int, ...]:
    """Return what the network predicts in."""
    return recipe.fit.window or recipe.fit.patch


def _architecture(recipe: SmallRecipe) -> dict[str, Any]:
    """Return the network as nnU-Net's plans describe it."""
    fit, window = recipe.fit, _window(recipe)
    strides, kernels = get_pool_and_conv_props(recipe.spacing_mm, window, _LEAST_VOXELS, 999)[1:3]
    stages = len(fit.features)
    if stages > len(strides):
        raise KitError(
            f"a window of {list(window)} voxels allows {len(strides)} stages, the recipe's "
            f"features are {stages}; change the window or the features"
        )
    if any(step != 2 for stride in strides[1:3] for step in stride):
        raise KitError(
            f"strides {strides[:stages]}: the loss looks at the half and the quarter of every "
            "axis; take voxels or a window that are closer to cubes"
        )
    total = np.prod(strides[:stages], axis=0)
    for size in (window, fit.patch):
        if np.any(np.mod(size, total)):
            raise KitError(f"patch {list(size)} is not a multiple of {total.tolist()} voxels")
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(fit.features),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [list(kernel) for kernel in kernels[:stages]],
            "strides": [list(stride) for stride in strides[:stages]],
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [fit.decoder_convolutions] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"negative_slope": 0.01, "inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
