"""A made nnU-Net result folder: real plans, a tiny network, weights that nobody trained."""

import copy
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

PLAIN = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 3,
        "features_per_stage": [8, 16, 16],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}
RESIDUAL = {
    **PLAIN,
    "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
    "arch_kwargs": {
        **{key: value for key, value in PLAIN["arch_kwargs"].items() if key != "n_conv_per_stage"},
        "n_blocks_per_stage": [1, 1, 1],
    },
}
NETWORKS = {"PlainConvUNet": PLAIN, "ResidualEncoderUNet": RESIDUAL}
LINEAR = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": False}
PLANS = {
    "dataset_name": "Dataset007_Made",
    "plans_name": "nnUNetPlans",
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": 80.0, "std": 100.0, "percentile_00_5": -150.0, "percentile_99_5": 250.0}
    },
    "configurations": {
        "3d_fullres": {
            "preprocessor_name": "DefaultPreprocessor",
            "patch_size": [8, 16, 24],
            "spacing": [5.0, 2.0, 1.5],
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": LINEAR,
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": LINEAR,
            "architecture": PLAIN,
        },
        "child": {"inherits_from": "3d_fullres", "spacing": [4.0, 2.0, 2.0]},
    },
}
DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "liver": 1, "tumour": 2, "ignore": 3},
    "file_ending": ".nii.gz",
}


@dataclass
class ModelFolder:
    """A result folder whose plans can be bent before it is written."""

    path: Path
    plans: dict
    dataset: dict
    checkpoint: dict

    @property
    def fullres(self) -> dict:
        return self.plans["configurations"]["3d_fullres"]

    @property
    def intensities(self) -> dict:
        return self.plans["foreground_intensity_properties_per_channel"]["0"]

    def write(self) -> Path:
        fold = self.path / "fold_all"
        fold.mkdir(parents=True, exist_ok=True)
        (self.path / "plans.json").write_text(json.dumps(self.plans))
        (self.path / "dataset.json").write_text(json.dumps(self.dataset))
        torch.save(self.checkpoint, fold / "checkpoint_final.pth")
        return self.path


def random_network(architecture: dict, outputs: int):
    """Build the network with its deep supervision heads, as a trainer does, from seed 0."""
    pytest.importorskip("nnunetv2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

        torch.manual_seed(0)
        return get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
            1,
            outputs,
            deep_supervision=True,
        )


@pytest.fixture
def model_folder(tmp_path):
    """Return a function that makes a ModelFolder around one of the two networks, or another."""

    def make(network="PlainConvUNet", **changes) -> ModelFolder:
        architecture = copy.deepcopy(NETWORKS[network])
        architecture["arch_kwargs"] |= changes
        plans = copy.deepcopy(PLANS)
        plans["configurations"]["3d_fullres"]["architecture"] = architecture
        checkpoint = {
            "network_weights": random_network(architecture, outputs=3).state_dict(),
            "init_args": {"configuration": "3d_fullres", "device": torch.device("cpu")},
            "trainer_name": "SomebodysTrainer",
            "current_epoch": 12,
            "inference_allowed_mirroring_axes": (1, 2),
            "logging": {"ema_fg_dice": [np.float32(0.5), np.float64(0.25)]},
        }
        return ModelFolder(tmp_path / "model", plans, copy.deepcopy(DATASET), checkpoint)

    return make
