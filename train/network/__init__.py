"""One training with nnU-Net v2: recipe, plans, preprocessing, trainer, losses, checkpoints."""
