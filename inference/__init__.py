"""Label fourteen FLARE structures on an abdominal CT; nothing here needs torch or nnU-Net."""

__version__ = "0.1.0"
