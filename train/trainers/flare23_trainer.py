"""The one trainer class of the kit; nnU-Net finds it through `nnUNet_extTrainer`.

What differs between recipes is data: the configuration's `flare23` table in plans.json, which
`train.nnunet.write_plans` fills from the recipe's `[training]`.
"""

import random
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.helpers.scalar_type import RandomScalar
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import (
    DownsampleSegForDSTransform,
)
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

FOREGROUND_SHARE = 0.15
"""Share of a patch's voxels that belong to an organ, roughly."""


class FLARE23Trainer(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's training, seeded per epoch, in bfloat16 on CPUs, without mirroring.

    No mirroring, because FLARE's labels tell left from right. Every epoch starts from a seed made
    of the recipe's seed and the epoch's number, so a run that was resumed at an epoch's start is
    the run that was never stopped (with `nnUNet_n_proc_DA=0`).
    """

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net's signature)
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        spec = self.configuration_manager.configuration["flare23"]
        self.seed: int = spec["seed"]
        self.scaling: tuple[float, float] = tuple(spec["scaling"])
        self.rotation_degrees: float = spec["rotation_degrees"]
        self.num_epochs = spec["epochs"]
        self.num_iterations_per_epoch = spec["iterations"]
        self.num_val_iterations_per_epoch = 2
        self.initial_lr = spec["learning_rate"]
        self.oversample_foreground_percent = spec["oversample_foreground"]
        self.probabilistic_oversampling = True
        self.save_every = 1
        self._reseed(0)

    def initialize(self) -> None:
        """Build the network; its heads start from the rarity of labels.

        Most voxels are background. A short training need not spend its first steps to find out.
        """
        super().initialize()
        for head in self.network.decoder.seg_layers:
            organs = head.bias.numel() - 1
            with torch.no_grad():
                head.bias.fill_(float(np.log(FOREGROUND_SHARE / organs)))
                head.bias[0] = float(np.log(1 - FOREGROUND_SHARE))

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """Return AdamW with nnU-Net's schedule; docs/weights.md says what was compared."""
        descent = torch.optim.AdamW(self.network.parameters(), self.initial_lr, weight_decay=1e-2)
        return descent, PolyLRScheduler(descent, self.initial_lr, self.num_epochs)

    def _reseed(self, epoch: int) -> None:
        state = np.random.SeedSequence([self.seed, epoch]).generate_state(3)
        random.seed(int(state[0]))
        np.random.seed(int(state[1]))  # batchgenerators draw from the global stream
        torch.manual_seed(int(state[2]))

    def on_train_epoch_start(self) -> None:
        """Start the epoch from its own seed."""
        self._reseed(self.current_epoch + 1)
        super().on_train_epoch_start()

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(  # noqa: N802 (nnU-Net's name)
        self,
    ) -> tuple[RandomScalar, bool, tuple[int, ...], None]:
        """Return the rotation range in radians, no dummy 2-D, the patch to cut, no mirroring."""
        limit = float(np.deg2rad(self.rotation_degrees))
        patch = self.configuration_manager.patch_size
        angles = (-limit, limit)
        cut = get_patch_size(patch, angles, angles, angles, self.scaling)
        self.inference_allowed_mirroring_axes = None
        return angles, False, tuple(int(n) for n in cut), None

    def get_training_transforms(
        self,
        patch_size: tuple[int, ...],
        rotation_for_DA: RandomScalar,  # noqa: N803 (nnU-Net's name)
        deep_supervision_scales: list[list[float]] | None,
        *_: object,
        **__: object,
    ) -> BasicTransform:
        """Return the augmentation: nearest-neighbour labels in one pass, then intensities."""
        spatial = SpatialTransform(
            patch_size,
            patch_center_dist_from_border=0,
            random_crop=False,
            p_elastic_deform=0,
            p_rotation=0.4,
            rotation=rotation_for_DA,
            p_scaling=0.4,
            scaling=self.scaling,
            p_synchronize_scaling_across_axes=0.5,
            bg_style_seg_sampling=False,
            mode_seg="nearest",
            border_mode_seg="constant",
            padding_value_seg=-1,
        )
        gamma = {"p_invert_image": 0, "synchronize_channels": True, "p_per_channel": 1}
        drawn = [
            (GaussianNoiseTransform((0, 0.1), 1, True), 0.15),
            (MultiplicativeBrightnessTransform(BGContrast((0.8, 1.2)), True, 1), 0.2),
            (ContrastTransform(BGContrast((0.75, 1.25)), True, True, 1), 0.2),
            (SimulateLowResolutionTransform((0.5, 1), True, True, None, None, 1), 0.15),
            (GammaTransform(gamma=BGContrast((0.7, 1.5)), p_retain_stats=1, **gamma), 0.25),
        ]
        steps: list[BasicTransform] = [spatial]
        steps += [RandomTransform(change, apply_probability=share) for change, share in drawn]
        steps.append(RemoveLabelTansform(-1, 0))
        if deep_supervision_scales is not None:
            steps.append(DownsampleSegForDSTransform(ds_scales=deep_supervision_scales))
        return ComposeTransforms(steps)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Take one step; on a CPU in bfloat16 with float32 weights and loss (GPUs: nnU-Net's)."""
        if self.device.type != "cpu":
            result: dict[str, Any] = super().train_step(batch)
            return result
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = self.network(batch["data"])
        loss = self.loss([output.float() for output in outputs], batch["target"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        self.optimizer.step()
        return {"loss": loss.detach().numpy()}

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Do nothing: fold `all` holds no case back; held-out cases are scored elsewhere."""
        self.print_to_log_file("no validation cases in fold all; score held-out cases instead")
