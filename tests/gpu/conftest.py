"""What the tests on a card share. Where there is no card, each is skipped and says why."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def torch_on_card():
    """PyTorch, where it sees a card."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return torch


@pytest.fixture
def noise():
    """Patches of noise, float32 [1, 1, Z, Y, X]; call it with how many, and the patch."""

    def make(count, patch):
        rng = np.random.default_rng(0)
        return [rng.normal(size=(1, 1, *patch)).astype(np.float32) for _ in range(count)]

    return make
