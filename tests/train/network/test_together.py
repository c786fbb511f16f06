"""One network trained by two processes; two cards were not at hand."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("nnunetv2")

from imaging.errors import KitError
from imaging.records import write_json
from tests.train.training import SPEC, TRAINING, checkpoint_of, varied
from train.network import nnunet

HERE = Path(__file__).parent


@pytest.mark.long
@pytest.mark.slow
def test_two_draw_shares_of_a_batch_and_keep_one_network(work):
    spec = varied(gpus=2, epochs=1, iterations=3)
    write_json(asdict(spec), work / "spec.json")
    words = [[sys.executable, HERE / "together.py", str(rank), work] for rank in (0, 1)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in words]
    told = [one.communicate(timeout=300)[0] for one in running]
    first, second = (json.loads(lines.splitlines()[-1]) for lines in told)

    # a batch of two patches: each has one of them, and never the other's
    shares = [[patches for patches, _ in one["drawn"]] for one in (first, second)]
    assert shares == [[1, 1, 1], [1, 1, 1]]
    sums = [total for one in (first, second) for _, total in one["drawn"]]
    assert len(set(sums)) == 6
    assert first["weights"] == second["weights"]

    (work / "checkpoint.pth").write_bytes(checkpoint_of(spec, work))
    found = torch.load(work / "checkpoint.pth", weights_only=False)
    assert not any(name.startswith("module.") for name in found["network_weights"])


@pytest.mark.parametrize("gpus", [1, 2])
def test_nnunet_is_told_how_many_cards_train_together(tmp_path, monkeypatch, gpus):
    told = []
    monkeypatch.setattr(nnunet, "_run", lambda *words: told.append(words[2]))
    nnunet.prepare(varied(gpus=gpus), tmp_path)
    nnunet.fit(tmp_path, "cuda")
    place = told[-1].index("-num_gpus")
    assert told[-1][place + 1] == str(gpus)


def test_each_card_takes_a_patch_or_more():
    assert replace(TRAINING, gpus=2).gpus == 2
    assert SPEC.training.gpus == 1, "a recipe that says nothing trains on one"
    with pytest.raises(KitError, match="training: 3 GPUs and a batch of 2; each GPU takes one"):
        replace(TRAINING, gpus=3)
