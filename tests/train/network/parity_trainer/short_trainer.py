"""A trainer that learns the parity phantoms in a minute, found through nnUNet_extTrainer."""

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import (
    nnUNetTrainerNoDA,
)


class ParityTrainer(nnUNetTrainerNoDA):
    """Three short epochs without augmentation, but with mirroring allowed at prediction."""

    def __init__(self, plans, configuration, fold, dataset_json, device):
        # nnU-Net looks its arguments up by these names, so they cannot be *args.
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 3
        self.num_iterations_per_epoch = 35
        self.num_val_iterations_per_epoch = 1

    def on_train_start(self):
        """Seed, and take one thread: two networks train side by side."""
        torch.set_num_threads(1)
        torch.manual_seed(0)
        np.random.seed(0)  # nnU-Net draws its patches from NumPy's global generator
        super().on_train_start()

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self):  # noqa: N802
        """Allow mirroring at prediction, which nnUNetTrainerNoDA forbids."""
        settings = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = (0, 1, 2)
        return settings

    def configure_optimizers(self):
        """Return Adam; nnU-Net's SGD with momentum 0.99 would still be warming up at the end."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=0.01)
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.num_epochs)

    def perform_actual_validation(self, save_probabilities=False):
        """Skip nnU-Net's own validation: the test predicts cases the network never saw."""
