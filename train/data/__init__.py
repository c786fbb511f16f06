"""The challenge's release: which cases there are, who drew what, and nnU-Net's raw dataset."""
