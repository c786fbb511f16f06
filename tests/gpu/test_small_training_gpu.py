"""Training the default weights on a GPU: the same bytes twice, and when it was stopped twice."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

import torch

from tests.train.small.small_training import write_prepared
from train.small.fit import FINAL, fit

pytestmark = pytest.mark.gpu


def test_two_trainings_and_a_stopped_one_end_with_the_same_bytes(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    prepared = write_prepared(tmp_path / "prepared", steps=20)
    final = {}
    for name, stops in (("first", ()), ("second", ()), ("stopped", (6, 13))):
        for until in (*stops, None):
            folder = fit(prepared, tmp_path / name, "cuda", until=until)
        final[name] = (folder / "fold_all" / FINAL).read_bytes()
    assert final["first"] == final["second"]
    assert final["first"] == final["stopped"]
