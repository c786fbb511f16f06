import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from train.losses import DeterministicCrossEntropy


def drawn(shape, seed=0):
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return made.requires_grad_()


@pytest.mark.parametrize("ignored", [0.0, 0.3])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_gradient_is_torchs_bit_for_bit_on_a_cpu(ignored, threads):
    shape, source = (2, 15, 20, 24, 28), torch.Generator().manual_seed(1)
    labels = torch.randint(0, 15, (2, 1, *shape[2:]), generator=source)
    labels[torch.rand(labels.shape, generator=source) < ignored] = 15
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours, theirs = drawn(shape), drawn(shape)
        loss = DeterministicCrossEntropy(15)(ours, labels)
        expected = torch.nn.functional.cross_entropy(theirs, labels[:, 0], ignore_index=15)
        loss.backward()
        expected.backward()
    finally:
        torch.set_num_threads(before)
    assert torch.equal(ours.grad, theirs.grad)
    # The value is added up in another order: the last bits of a float32 may differ.
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_by_hand_with_a_voxel_to_ignore():
    # Two classes, equal logits: -log(1/2) in each of the two voxels that count.
    logits = torch.zeros((1, 2, 1, 1, 3), requires_grad=True)
    labels = torch.tensor([0, 1, 15]).reshape(1, 1, 1, 1, 3)
    loss = DeterministicCrossEntropy(15)(logits, labels)
    assert loss.item() == pytest.approx(np.log(2))
    loss.backward()
    # d/dlogit = (softmax - target) / 2 voxels = +-1/4, and nothing where it is ignored.
    expected = [[-0.25, 0.25, 0.0], [0.25, -0.25, 0.0]]
    np.testing.assert_allclose(logits.grad[0, :, 0, 0], expected, rtol=1e-6)


def test_nnunets_whole_loss_ignores_what_nobody_may_be_taught():
    pytest.importorskip("nnunetv2")
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss

    loss = DC_and_CE_loss({"do_bg": False, "ddp": False}, {}, ignore_label=15)
    loss.ce = DeterministicCrossEntropy(15)
    labels = torch.full((1, 1, 4, 4, 4), 15)
    labels[0, 0, 0] = 1
    gradients = []
    for elsewhere in (0.0, 50.0):
        logits = drawn((1, 3, 4, 4, 4)).detach()
        logits[:, 2, 1:] += elsewhere
        logits.requires_grad_()
        loss(logits, labels).backward()
        gradients.append(logits.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert not gradients[0][:, :, 1:].any()
    assert gradients[0][:, :, 0].all()
