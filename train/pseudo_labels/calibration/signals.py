"""Signals of confidence from a network's probabilities."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, softmax


class Signals(NamedTuple):
    """One number a voxel each, float32 of any shape."""

    probability: NDArray[np.float32]
    """Of the likeliest class."""
    margin: NDArray[np.float32]
    """By which it is likelier than the second."""
    entropy: NDArray[np.float32]
    """In nats: 0 where one class is certain, ln K where all K are alike."""

    def share(self, name: str, classes: int) -> NDArray[np.float32]:
        """Return the signal `name` as a number from 0 to 1 that is larger where it is surer.

        Entropy becomes 1 - entropy / ln(classes); the others are so already.
        """
        found: NDArray[np.float32] = getattr(self, name)
        if name != "entropy":
            return found
        return np.asarray(np.maximum(0, 1 - found / np.float32(np.log(classes))), np.float32)


def signals_of(probabilities: NDArray[Any]) -> Signals:
    """Return the signals of probabilities [K, ...], K at least 2, whose sums along K are 1."""
    second, first = np.partition(probabilities, len(probabilities) - 2, axis=0)[-2:]
    found = (first, first - second, entr(probabilities).sum(axis=0))
    return Signals(*(one.astype(np.float32, copy=False) for one in found))


class WorkingSignals:
    """Signals on the working grid, made as logits come in, slab by slab."""

    def __init__(self, shape: tuple[int, int, int], temperature: float) -> None:
        """Begin.

        Args:
            shape: Of the working grid, (Z, Y, X).
            temperature: What logits are divided by.
        """
        self.signals = Signals(*(np.zeros(shape, np.float32) for _ in Signals._fields))
        self.labels = np.zeros(shape, np.uint8)
        """The likeliest class, the lowest of several."""
        self._temperature = np.float32(temperature)
        self._done = 0

    def add(self, logits: NDArray[np.float32]) -> None:
        """Take the next slices of logits, float32 [K, z, Y, X]."""
        for number in range(logits.shape[1]):  # one by one: there are several copies of each
            here = logits[:, number]
            found = signals_of(softmax(here / self._temperature, axis=0))
            for whole, part in zip(self.signals, found, strict=True):
                whole[self._done] = part
            self.labels[self._done] = here.argmax(axis=0)
            self._done += 1
