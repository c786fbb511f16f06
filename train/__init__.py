"""Train networks with nnU-Net v2 and export them."""
