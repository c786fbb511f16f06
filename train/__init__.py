"""Train on nnU-Net v2, and export what was trained."""
