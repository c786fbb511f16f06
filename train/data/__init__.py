"""The challenge's release: its cases, their annotated labels, and nnU-Net's raw dataset."""
