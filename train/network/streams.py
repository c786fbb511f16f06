"""Training batches that depend on a seed and on their number, and on nothing else.

nnU-Net's own augmenter takes whichever worker is ready first and seeds none of them; its forked
workers even share one torch stream. Here batch number n is sampled after seeding with n. So it is
the same whichever process samples it, and the same again after a training was killed and resumed.
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter

from train.network.parent_process import end_with_parent

Batch = dict[str, Any]


def seed_everything(*entropy: int) -> None:
    """Seed the global streams of Python, NumPy (batchgenerators draw from it) and torch."""
    state = np.random.SeedSequence(entropy).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(int(state[1]))
    torch.manual_seed(int(state[2]))


class Batches(Iterator[Batch]):
    """The batches of an nnU-Net loader from one number on, in order or every so many of them."""

    def __init__(
        self, loader: Iterator[Batch], entropy: tuple[int, ...], first: int, step: int = 1
    ) -> None:
        self._loader = loader
        self._entropy = entropy
        self._number = first
        self._step = step

    def set_thread_id(self, worker: int) -> None:
        """Become worker number `worker` of `step`; batchgenerators call it after the fork."""
        end_with_parent()
        torch.set_num_threads(1)  # a forked OpenMP pool hangs
        self._number += worker

    def __next__(self) -> Batch:
        seed_everything(*self._entropy, self._number)
        self._number += self._step
        return next(self._loader)


def stream(
    loader: Iterator[Batch], entropy: tuple[int, ...], first: int, workers: int, pin_memory: bool
) -> Iterator[Batch]:
    """Return the batches from number `first` on, sampled here or ahead by `workers` processes.

    The augmenter queries its workers in turn, so the order is theirs by number.
    """
    if workers == 0:
        return Batches(loader, entropy, first)
    batches = Batches(loader, entropy, first, step=workers)
    ahead: Iterator[Batch] = MultiThreadedAugmenter(
        batches, None, workers, seeds=[0] * workers, pin_memory=pin_memory, wait_time=0.002
    )
    return ahead
