import copy
import time
from collections import OrderedDict

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from imaging.errors import KitError
from train.network.checkpoints import canonical, write_checkpoint


def content():
    return {
        "network_weights": OrderedDict(w=torch.arange(3.0)),
        "logging": {"losses": [np.float32(0.5)], "epoch_start_timestamps": [time.time()]},
        "init_args": {"plans": {"a": ["b", np.int64(3)]}},
    }


def test_bytes_do_not_tell_when_or_where(tmp_path):
    first = content()
    second = copy.deepcopy(first)
    second["logging"]["epoch_start_timestamps"] = [1.0]
    second["init_args"] = {"plans": {"".join(["a"]): ["".join(["b"]), 3]}}
    for name, each in (("a.pth", first), ("other.pth", second)):
        write_checkpoint(each, tmp_path / name)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "other.pth").read_bytes()


def test_reads_back_without_trust(tmp_path):
    write_checkpoint(content(), tmp_path / "a.pth")
    found = torch.load(tmp_path / "a.pth", weights_only=True)
    assert found["logging"] == {"losses": [0.5], "epoch_start_timestamps": [0.0]}
    assert torch.equal(found["network_weights"]["w"], torch.arange(3.0))


def test_what_was_there_stays_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    path.write_bytes(b"whole")

    def full(_content, stream):
        stream.write(b"hal")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(KitError, match=r"cannot write .*No space left"):
        write_checkpoint(content(), path)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"whole"]


def test_numpy_becomes_python():
    found = canonical({"a": (np.float64(0.25), np.array([1, 2]), None, True)})
    assert found == {"a": (0.25, [1, 2], None, True)}
    assert type(found["a"][0]) is float
