"""Trainings with the marginal loss, through nnU-Net: the loss knows the annotated labels."""

import io
import json

import numpy as np
import pytest

pytest.importorskip("nnunetv2")

import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss

from tests.train.training import checkpoint_of, train_here, trainer_of, varied
from train.network.losses import DeterministicCrossEntropy, MarginalLoss

ANNOTATED = {"p0": (1, 2, 3, 9), "p1": ()}
SPEC = varied(undecided="marginal")

pytestmark = pytest.mark.slow


def weights_in(checkpoint):
    weights = torch.load(io.BytesIO(checkpoint), weights_only=False)["network_weights"]
    assert all(torch.isfinite(each).all() for each in weights.values())
    return b"".join(each.numpy().tobytes() for each in weights.values())


def test_two_trainings_have_the_same_bytes(first, work):
    assert train_here(SPEC, work) == checkpoint_of(SPEC, first)


def test_workers_hand_on_whose_patches_these_are(first, work):
    ahead = train_here(varied(undecided="marginal", workers=2), work)
    assert weights_in(ahead) == weights_in(checkpoint_of(SPEC, first))


def test_the_loss_decides_what_is_learnt(first, work):
    ignoring = train_here(varied(), work)
    assert weights_in(ignoring) != weights_in(checkpoint_of(SPEC, first))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("precision", ["bf16", "nnunet"])
def test_each_batch_gives_the_loss_what_was_annotated(work, monkeypatch, workers, precision):
    given = []

    def set_annotated(loss, annotated):
        given.append(annotated)
        inner(loss, annotated)

    inner = MarginalLoss.set_annotated
    monkeypatch.setattr(MarginalLoss, "set_annotated", set_annotated)
    with trainer_of(varied(undecided="marginal", workers=workers, precision=precision), work) as t:
        t.on_train_start()
        try:
            batches = [next(t.dataloader_train) for _ in range(3)]
            steps = [t.train_step(batch) for batch in batches]
            batches.append(next(t.dataloader_val))
            steps.append(t.validation_step(batches[-1]))
        finally:
            if workers:
                for loader in (t.dataloader_train, t.dataloader_val):
                    loader._finish()
    keys = [list(batch["keys"]) for batch in batches]
    assert given == [[list(ANNOTATED[key]) for key in batch] for batch in keys]
    assert {"p0", "p1"} == {key for batch in keys for key in batch}
    assert np.isfinite([step["loss"] for step in steps]).all()


def test_where_all_voxels_are_decided_it_is_the_plain_loss(work):
    path = work / "preprocessed" / SPEC.dataset / "dataset.json"
    description = json.loads(path.read_text())
    assert description["annotated"] == {case: list(labels) for case, labels in ANNOTATED.items()}
    del description["labels"]["ignore"]  # as `link_dataset` leaves it out
    path.write_text(json.dumps(description))
    with trainer_of(SPEC, work) as trainer:
        trainer.initialize()
        assert isinstance(trainer.loss.loss, DC_and_CE_loss)
        assert isinstance(trainer.loss.loss.ce, DeterministicCrossEntropy)
