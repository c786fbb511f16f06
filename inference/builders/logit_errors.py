"""Difference between the logits of two engines."""

import numpy as np
from numpy.typing import NDArray


def logit_errors(
    reference: NDArray[np.float32], logits: NDArray[np.float32]
) -> tuple[float, float, float]:
    """Return relative RMS error, largest error and label agreement of float32 [N, K, Z, Y, X].

    The first is the error's root mean square over that of the reference, the last the share of
    voxels with the same highest logit.
    """
    difference = logits.astype(np.float64) - reference
    scale = max(_rms(reference.astype(np.float64)), 1e-30)
    agreement = float(np.mean(logits.argmax(axis=1) == reference.argmax(axis=1)))
    return _rms(difference) / scale, float(np.abs(difference).max()), agreement


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
