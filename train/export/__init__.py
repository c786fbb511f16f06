"""Turn a trained nnU-Net into the files that inference runs on."""
