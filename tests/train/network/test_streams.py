import multiprocessing
import random

import numpy as np
import pytest

pytest.importorskip("nnunetv2")

import torch

from train.network.streams import stream


class Numbers:
    """A loader as nnU-Net's: endless, drawing from the process's own random streams."""

    def __next__(self):
        return {"np": np.random.random(), "torch": torch.rand(1).item(), "py": random.random()}


def sampled(count, first=0, workers=0, entropy=(1, 2)):
    """Draw `count` batches from number `first` on."""
    batches = stream(Numbers(), entropy, first, workers, pin_memory=False)
    try:
        return [next(batches) for _ in range(count)]
    finally:
        if workers:
            batches._finish()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_draw_what_one_process_draws(workers):
    assert sampled(7, workers=workers) == sampled(7)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_later_start_goes_on_where_it_was(workers):
    assert sampled(3, first=4, workers=workers) == sampled(7)[4:]


def test_no_two_batches_share_a_random_number():
    found = sampled(6, workers=3) + sampled(3, entropy=(1, 3)) + sampled(3, entropy=(2, 2))
    for source in ("np", "torch", "py"):
        assert len({batch[source] for batch in found}) == len(found)


def test_no_worker_is_left():
    before = multiprocessing.active_children()
    sampled(2, workers=2)
    assert multiprocessing.active_children() == before
