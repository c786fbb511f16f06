"""Reliability, expected calibration error and temperature scaling (Guo et al. 2017, 1706.04599)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

BINS = 15
TEMPERATURES = (0.05, 20.0)
"""Between which the best one is looked for."""


@dataclass(frozen=True)
class Samples:
    """Voxels of one labelled case."""

    logits: NDArray[np.float32]
    """float32 [N, K]."""
    truth: NDArray[np.uint8]
    """uint8 [N], 0 to K - 1."""
    annotated: tuple[int, ...]
    """Classes that were annotated in this case. Where the truth is 0, there may be any other."""

    def log_probabilities(self, temperature: float) -> NDArray[np.float64]:
        """Return float64 [N, K]: what is not annotated is added to the background and is then -inf.

        The truth cannot tell an organ that nobody annotated from background, so neither may be
        counted as wrong for the other: the marginal form.
        """
        found: NDArray[np.float64] = log_softmax(self.logits.astype(np.float64) / temperature, 1)
        others = [k for k in range(found.shape[1]) if k not in self.annotated]  # 0 among them
        merged = np.full_like(found, -np.inf)
        merged[:, self.annotated] = found[:, self.annotated]
        merged[:, 0] = logsumexp(found[:, others], axis=1)
        return merged


@dataclass(frozen=True)
class ConfidencePieces:
    """Connected components of what a network calls an annotated organ in one labelled case.

    Of the labels that prediction would write: after the manifest's rules for components.
    """

    of: NDArray[np.int64]
    """int64 [N]: which component each of N samples is in; -1: none."""
    voxels: NDArray[np.int64]
    """int64 [P]: all of each component's, not only samples."""
    right: NDArray[np.int64]
    """int64 [P]: those of them that the truth calls so too."""


@dataclass(frozen=True)
class Bin:
    """Voxels whose confidence is in one part of 0 to 1."""

    count: int
    confidence: float
    """Mean."""
    accuracy: float
    """Share of them whose label is right."""


@dataclass(frozen=True)
class Reliability:
    """How confidence and accuracy go together."""

    bins: tuple[Bin, ...]
    """Those of `BINS` equal parts of 0 to 1 that hold a voxel."""
    ece: float
    """Expected calibration error: mean distance of confidence and accuracy, by voxels."""
    nll: float
    """Mean negative logarithm of the true label's probability."""


def reliability(samples: Sequence[Samples], temperatures: Sequence[float]) -> Reliability:
    """Compare the confidence of the likeliest label with how often it is the true one.

    Args:
        samples: Labelled voxels, by case.
        temperatures: What each case's logits are divided by.

    Raises:
        ValueError: There is no voxel, or another number of temperatures than of cases.
    """
    confidence, right, loss = [], [], []
    for case, temperature in zip(samples, temperatures, strict=True):
        found = case.log_probabilities(temperature)
        label = found.argmax(axis=1)
        confidence.append(np.exp(found.max(axis=1)))
        right.append(label == case.truth)
        loss.append(-found[np.arange(len(found)), case.truth])
    shares, hits = np.concatenate(confidence), np.concatenate(right)
    if not shares.size:
        raise ValueError("no voxel to be right or wrong about")
    place = np.minimum((shares * BINS).astype(np.intp), BINS - 1)
    bins = []
    for number in np.unique(place):
        inside = place == number
        bins.append(
            Bin(int(inside.sum()), float(shares[inside].mean()), float(hits[inside].mean()))
        )
    ece = sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / shares.size
    return Reliability(tuple(bins), float(ece), float(np.concatenate(loss).mean()))


def fit_temperature(samples: Sequence[Samples]) -> float:
    """Return the temperature under which the true labels are likeliest, each case counting alike.

    Above 1 the network was too sure of itself. It changes no label, except where what is not
    annotated is added to the background.
    """

    def loss(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        losses = []
        for case in samples:
            found = case.log_probabilities(temperature)
            losses.append(-found[np.arange(len(found)), case.truth].mean())
        return float(np.mean(losses))

    low, high = np.log(TEMPERATURES)
    best = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x))
