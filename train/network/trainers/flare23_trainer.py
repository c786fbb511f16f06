"""The one trainer class of the kit; nnU-Net finds it through `nnUNet_extTrainer`.

What differs between recipes is data: the configuration's `flare23` table in plans.json, which
`train.network.planning.write_plans` fills from the recipe's `[training]`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.helpers.scalar_type import RandomScalar
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from train.network.augmentation import light_transforms, without_timing
from train.network.checkpoints import canonical, write_checkpoint
from train.network.losses import DeterministicCrossEntropy, MarginalLoss
from train.network.streams import Batch, seed_everything, stream
from train.progress import EPOCH, counting

FOREGROUND_SHARE = 0.15
"""Share of a patch's voxels that belong to an organ, roughly."""


class FLARE23Trainer(nnUNetTrainer):  # type: ignore[misc]
    """nnU-Net's training, made to give the same checkpoint bytes every time.

    Every batch is sampled from a seed made of the recipe's seed and the batch's number, so a run
    that was killed and resumed is the run that was never stopped. What recipes vary is in the
    plans' `flare23` table.
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
        self.recipe: dict[str, Any] = self.configuration_manager.configuration["flare23"]
        self.num_epochs = self.recipe["epochs"]
        self.num_iterations_per_epoch = self.recipe["iterations"]
        self.num_val_iterations_per_epoch = self.recipe["validation_iterations"]
        self.initial_lr = self.recipe["learning_rate"]
        self.oversample_foreground_percent = self.recipe["oversample_foreground"]
        self.probabilistic_oversampling = self.recipe["augmentation"] == "light"
        self.save_every = self.recipe["save_every"]
        if self.recipe["patch"]:  # the plans have the window, in which the network predicts
            self.configuration_manager.configuration["patch_size"] = list(self.recipe["patch"])
        torch.set_num_threads(self.recipe["threads"])

    def initialize(self) -> None:
        """Build the network from the recipe's seed.

        With `rare_heads` the output layers start from the rarity of labels: most voxels are
        background, and a short training need not spend its first steps to find that out.
        """
        seed_everything(self.recipe["seed"], 0)
        super().initialize()
        if self.recipe["rare_heads"]:
            for head in self._plain_network().decoder.seg_layers:
                organs = head.bias.numel() - 1
                with torch.no_grad():
                    head.bias.fill_(float(np.log(FOREGROUND_SHARE / organs)))
                    head.bias[0] = float(np.log(1 - FOREGROUND_SHARE))

    def _plain_network(self) -> Any:
        """Return the network itself, of which several cards train copies."""
        return self.network.module if self.is_ddp else self.network

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """Return nnU-Net's SGD or AdamW, either with nnU-Net's schedule."""
        if self.recipe["optimizer"] == "sgd":
            pair: tuple[torch.optim.Optimizer, PolyLRScheduler] = super().configure_optimizers()
            return pair
        descent = torch.optim.AdamW(self.network.parameters(), self.initial_lr, weight_decay=1e-2)
        return descent, PolyLRScheduler(descent, self.initial_lr, self.num_epochs)

    def _build_loss(self) -> DeepSupervisionWrapper:
        """Return nnU-Net's Dice and cross-entropy, the latter in its deterministic form.

        In the marginal form too, where the recipe wants it and some voxel is undecided.
        """
        scales: DeepSupervisionWrapper = super()._build_loss()
        plain, ignore = scales.loss, self.label_manager.ignore_label
        if self.recipe["undecided"] == "marginal" and ignore is not None:
            scales.loss = MarginalLoss(plain.dc, ignore)
        else:
            plain.ce = DeterministicCrossEntropy(ignore)
        return scales

    def _set_annotated(self, batch: Batch) -> None:
        """Give a marginal loss the annotated labels of each case of a batch."""
        if isinstance(self.loss.loss, MarginalLoss):
            self.loss.loss.set_annotated(
                [self.dataset_json["annotated"][case] for case in batch["keys"]]
            )

    def get_dataloaders(self) -> tuple[Iterator[Batch], Iterator[Batch]]:
        """Return both streams of batches; nnU-Net must have been started without workers.

        With several cards each draws its own share of a batch.
        """
        seed, workers, pin = self.recipe["seed"], self.recipe["workers"], self.device.type == "cuda"
        share = (self.local_rank,) if self.is_ddp else ()
        training, validation = (each.data_loader for each in super().get_dataloaders())
        first = self.current_epoch * self.num_iterations_per_epoch
        held = self.current_epoch * self.num_val_iterations_per_epoch
        return (
            stream(training, (seed, 1, *share), first, workers, pin),
            stream(validation, (seed, 2, *share), held, min(workers, 1), pin),
        )

    def on_train_start(self) -> None:
        """Turn off every choice that depends on timing, after nnU-Net's entry turned them on."""
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        super().on_train_start()
        if not self.local_rank:
            self.count_epoch = counting(EPOCH, self.num_epochs, self.current_epoch)

    def on_epoch_end(self) -> None:
        """Go on with the numbers that a resumed training would read, not with NumPy's of them."""
        self.logger.load_checkpoint(canonical(self.logger.get_checkpoint()))
        super().on_epoch_end()
        if not self.local_rank:
            self.count_epoch()

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Resume; nnU-Net writes `checkpoint_latest` before it notes that an epoch was the best."""
        super().load_checkpoint(filename_or_checkpoint)
        self._best_ema = max(self.logger.get_value("ema_fg_dice", step=None))

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint whole, without clock times, equal for equal trainings."""
        if self.local_rank or self.disable_checkpointing:
            return
        content = {
            "network_weights": self._plain_network().state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "grad_scaler_state": self.grad_scaler.state_dict() if self.grad_scaler else None,
            "logging": self.logger.get_checkpoint(),
            "_best_ema": self._best_ema,
            "current_epoch": self.current_epoch + 1,
            "init_args": self.my_init_kwargs,
            "trainer_name": type(self).__name__,
            "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes,
        }
        write_checkpoint(content, Path(filename))

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(  # noqa: N802 (nnU-Net's name)
        self,
    ) -> tuple[RandomScalar, bool, tuple[int, ...], tuple[int, ...] | None]:
        """Return rotation range in radians, whether in slices, the patch to cut, mirrored axes."""
        if self.recipe["augmentation"] == "nnunet":
            angles, in_slices, cut, axes = (
                super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
            )
        else:
            limit = float(np.deg2rad(self.recipe["rotation_degrees"]))
            angles, in_slices, axes = (-limit, limit), False, (0, 1, 2)
            patch = self.configuration_manager.patch_size
            cut = get_patch_size(patch, angles, angles, angles, self.recipe["scaling"])
        if not self.recipe["mirroring"]:
            axes = None
        self.inference_allowed_mirroring_axes = axes
        return angles, in_slices, tuple(int(n) for n in cut), axes

    def get_training_transforms(
        self,
        patch_size: tuple[int, ...],
        rotation_for_DA: RandomScalar,  # noqa: N803 (nnU-Net's name)
        deep_supervision_scales: list[list[float]] | None,
        mirror_axes: tuple[int, ...] | None,
        *more: Any,
        **named: Any,
    ) -> BasicTransform:
        """Return nnU-Net's augmentation, or one that two CPU cores can keep up with."""
        shared = (patch_size, rotation_for_DA, deep_supervision_scales, mirror_axes)
        if self.recipe["augmentation"] == "nnunet":
            return without_timing(super().get_training_transforms(*shared, *more, **named))
        return light_transforms(*shared, tuple(self.recipe["scaling"]))

    def train_step(self, batch: Batch) -> dict[str, Any]:
        """Take one step; in bfloat16 weights, loss and sums stay float32."""
        self._set_annotated(batch)
        if self.recipe["precision"] == "nnunet":
            result: dict[str, Any] = super().train_step(batch)
            return result
        data = batch["data"].to(self.device, non_blocking=True)
        target = [scale.to(self.device, non_blocking=True) for scale in batch["target"]]
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            outputs = self.network(data)
        loss = self.loss([output.float() for output in outputs], target)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        self.optimizer.step()
        return {"loss": loss.detach().cpu().numpy()}

    def validation_step(self, batch: Batch) -> dict[str, Any]:
        """Return nnU-Net's loss and pseudo Dice of a batch."""
        self._set_annotated(batch)
        result: dict[str, Any] = super().validation_step(batch)
        return result

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Do nothing: fold `all` holds no case back; held-out cases are scored elsewhere."""
        self.print_to_log_file("no validation cases in fold all; score held-out cases instead")
