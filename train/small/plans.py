"""nnU-Net's plans.json and dataset.json for a network that nnU-Net did not plan."""

from typing import Any

from nnunetv2.experiment_planning.experiment_planners.network_topology import (
    get_pool_and_conv_props,
)

from inference.errors import KitError
from inference.organs import ORGANS
from train.nnunet import CONFIGURATION, DATASET, PLANS, TRAINER
from train.small.recipe import SmallRecipe

_LEAST_VOXELS = 4
"""nnU-Net's: no axis of the deepest stage is shorter."""
READER = "NibabelIOWithReorient"


def dataset_name(recipe: SmallRecipe) -> str:
    """Return nnU-Net's name of the recipe's dataset."""
    return f"Dataset{DATASET:03d}_{recipe.name}"


def model_folder_name() -> str:
    """Return the name of nnU-Net's result folder."""
    return f"{TRAINER}__{PLANS}__{CONFIGURATION}"


def dataset_of(recipe: SmallRecipe) -> dict[str, Any]:
    """Return the content of dataset.json."""
    return {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **ORGANS},
        "numTraining": len(recipe.cases),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": READER,
    }


def plans_of(recipe: SmallRecipe) -> dict[str, Any]:
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
        "dataset_name": dataset_name(recipe),
        "plans_name": PLANS,
        "original_median_spacing_after_transp": [recipe.spacing_mm] * 3,
        "original_median_shape_after_transp": list(fit.patch),
        "image_reader_writer": READER,
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
        "patch_size": list(fit.patch),
        "median_image_size_in_voxels": list(fit.patch),
        "spacing": [recipe.spacing_mm] * 3,
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


def _architecture(recipe: SmallRecipe) -> dict[str, Any]:
    """Return the network as nnU-Net's plans describe it."""
    fit = recipe.fit
    spacing = [recipe.spacing_mm] * 3
    strides = get_pool_and_conv_props(spacing, fit.patch, _LEAST_VOXELS, 999)[1]
    stages = len(fit.features)
    if stages > len(strides):
        raise KitError(
            f"a patch of {list(fit.patch)} voxels allows {len(strides)} stages, the recipe's "
            f"features are {stages}; change the patch or the features"
        )
    factor = 2 ** (stages - 1)
    if any(size % factor for size in fit.patch):
        raise KitError(f"patch {list(fit.patch)} is not a multiple of {factor} voxels")
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": list(fit.features),
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
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
