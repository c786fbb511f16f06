"""What the training side's benchmarks count, and that every way restores the same labels."""

import os

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("torch")

from benchmarks import labels
from benchmarks.alternating import in_own_process
from benchmarks.bound import flop


def test_operations_are_counted_by_hand(tmp_path):
    import torch

    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 8, (1, 3, 3), padding=(0, 1, 1)),
        torch.nn.InstanceNorm3d(8, affine=True),
        torch.nn.Conv3d(8, 6, 3, stride=2, padding=1, groups=2),
        torch.nn.ConvTranspose3d(6, 4, 2, stride=2),
    ).eval()
    path, example = tmp_path / "small.onnx", torch.zeros(1, 1, 4, 6, 8)
    torch.onnx.export(network, (example,), path, dynamo=True, external_data=False, verbose=False)
    first = 2 * (8 * 4 * 6 * 8) * (1 * 9)  # outputs, times inputs of each
    second = 2 * (6 * 2 * 3 * 4) * (4 * 27)
    third = 2 * (6 * 2 * 3 * 4) * (4 * 8)  # each input goes to 4 x 8 outputs
    assert flop(path) == first + second + third


@pytest.mark.parametrize("way", ["slabs, running maximum", "kit"])
def test_every_way_restores_the_same_labels(monkeypatch, way):
    monkeypatch.setattr(labels, "WORKING", (9, 14, 12))
    monkeypatch.setattr(labels, "NATIVE", (21, 30, 17))
    monkeypatch.setattr(labels, "_CHUNK_SLICES", 4)
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(5, 3, 7, 4)).astype(np.float32)
    logits = coarse.repeat(3, axis=1).repeat(2, axis=2).repeat(3, axis=3)
    expected = labels.all_at_once(logits)
    assert len(np.unique(expected)) == 5
    differ = labels.WAYS[way](logits) != expected
    assert differ.mean() < 1e-3  # ties within a rounding


def test_a_process_of_its_own_gives_back_what_is_found_and_what_is_raised():
    assert in_own_process(os.getpid) != os.getpid()
    assert in_own_process(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        in_own_process(divmod, 7, 0)
