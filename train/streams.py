"""Training batches that depend on a seed and an epoch, and on nothing else.

nnU-Net's own augmenter takes whichever worker is ready first and seeds none of them; and its forked
workers share one torch stream. Here every epoch starts its batches anew, so an epoch that was
interrupted is simply drawn again.
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter

Batch = dict[str, Any]


def seed_everything(*entropy: int) -> None:
    """Seed the global streams of Python, NumPy (batchgenerators draw from it) and torch."""
    state = np.random.SeedSequence(entropy).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))
    torch.manual_seed(int(state[2]))


class _OwnStream:
    """A loader as a worker process has it: with random streams of its own, on one thread."""

    def __init__(self, loader: Iterator[Batch], entropy: tuple[int, ...]) -> None:
        self._loader = loader
        self._entropy = entropy

    def set_thread_id(self, worker: int) -> None:
        """Make this process worker number `worker`; batchgenerators call it after the fork."""
        torch.set_num_threads(1)  # a forked OpenMP pool hangs
        seed_everything(*self._entropy, worker + 1)

    def __next__(self) -> Batch:
        return next(self._loader)


class EpochStream:
    """The batches of one nnU-Net loader, epoch by epoch."""

    def __init__(self, loader: Iterator[Batch], workers: int, pin_memory: bool) -> None:
        self._loader = loader
        self._workers = workers
        self._pin_memory = pin_memory
        self._augmenter: MultiThreadedAugmenter | None = None

    def start(self, *entropy: int) -> None:
        """Begin an epoch; without workers the caller has seeded the process's own streams."""
        self.stop()
        if self._workers:
            self._augmenter = MultiThreadedAugmenter(
                _OwnStream(self._loader, entropy),
                None,
                self._workers,
                seeds=list(range(self._workers)),  # set_thread_id seeds again, and all streams
                pin_memory=self._pin_memory,
                wait_time=0.002,
            )

    def __next__(self) -> Batch:
        return next(self._loader if self._augmenter is None else self._augmenter)

    def stop(self) -> None:
        """End the workers; what they drew ahead is thrown away."""
        if self._augmenter is not None:
            self._augmenter._finish()
            self._augmenter = None
