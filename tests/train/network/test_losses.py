import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from train.network.losses import DeterministicCrossEntropy, MarginalLoss

IGNORE = 15


def sampled(shape, seed=0):
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
        ours, theirs = sampled(shape), sampled(shape)
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
        logits = sampled((1, 3, 4, 4, 4)).detach()
        logits[:, 2, 1:] += elsewhere
        logits.requires_grad_()
        loss(logits, labels).backward()
        gradients.append(logits.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert not gradients[0][:, :, 1:].any()
    assert gradients[0][:, :, 0].all()


def nnunets(**changes):
    """Return nnU-Net's own loss with the deterministic cross-entropy, as the trainer has it."""
    pytest.importorskip("nnunetv2")
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    dice = {"do_bg": False, "ddp": False, "smooth": 1e-5, **changes}
    loss = DC_and_CE_loss(dice, {}, ignore_label=IGNORE, dice_class=MemoryEfficientSoftDiceLoss)
    loss.ce = DeterministicCrossEntropy(IGNORE)
    return loss


def marginal(annotated, **changes):
    """Return the loss with nnU-Net's Dice, with what was annotated in each sample."""
    loss = MarginalLoss(nnunets(**changes).dc, IGNORE)
    loss.set_annotated(annotated)
    return loss


def cross_entropy(annotated):
    """Return the cross-entropy alone: a Dice of 0."""
    loss = MarginalLoss(lambda *_given, **_named: 0.0, IGNORE)
    loss.set_annotated(annotated)
    return loss


def voxels(*labels):
    return torch.tensor(labels, dtype=torch.int16).reshape(1, 1, 1, 1, -1)


def logits_of(*probabilities):
    """Return logits [1, C, 1, 1, X] of X voxels with these probabilities."""
    return torch.tensor(probabilities).log().T[None, :, None, None].requires_grad_()


HALF = (1 / 2, 1 / 4, 1 / 4)


class TestMarginal:
    def test_by_hand(self):
        # Two voxels, both with 1/2 background, 1/4 of 1, 1/4 of 2; 1 was annotated, 2 was not.
        # Cross-entropy: the first is 1, -log(1/4); the second is background or 2, -log(3/4).
        #   Mean: log(16/3) / 2.
        # Dice of 1, in both voxels: 2 * 1/4 / (1 + 1/4 + 1/4) = 1/3.
        # Dice of 2, in the first alone: 0 / (0 + 1/4) = 0. Mean: 1/6.
        loss = marginal([{1}], smooth=0.0)(logits_of(HALF, HALF), voxels(1, IGNORE))
        assert loss.item() == pytest.approx(math.log(16 / 3) / 2 - 1 / 6)

    def test_a_voxel_counts_for_the_dice_of_what_was_annotated_alone(self):
        # As above, but the first voxel is 2, which nobody drew: a pseudo label.
        # Dice of 1, in both voxels: 0 / (0 + 1/4 + 1/4) = 0.
        # Dice of 2, in the first alone: 2 * 1/4 / (1 + 1/4) = 2/5. Mean: 1/5.
        loss = marginal([{1}], smooth=0.0)(logits_of(HALF, HALF), voxels(2, IGNORE))
        assert loss.item() == pytest.approx(math.log(16 / 3) / 2 - 1 / 5)

    def test_each_sample_has_its_own_annotated_classes(self):
        # One voxel each: background or 2, -log(3/4); then background or 1, with 1/2 + 1/4 too;
        # then nothing is known, and the voxel is not counted.
        logits = logits_of(HALF).detach().repeat(3, 1, 1, 1, 1)
        labels = voxels(IGNORE).repeat(3, 1, 1, 1, 1)
        assert cross_entropy([{1}, {2}, ()])(logits, labels).item() == pytest.approx(
            math.log(4 / 3)
        )

    def test_the_gradient_pushes_out_what_was_annotated(self):
        logits = logits_of(HALF)
        cross_entropy([{1}])(logits, voxels(IGNORE)).backward()
        # p of an annotated class; p - p / P of the others, whose P is 3/4.
        expected = [1 / 2 - 2 / 3, 1 / 4, 1 / 4 - 1 / 3]
        np.testing.assert_allclose(logits.grad.flatten(), expected, rtol=1e-5)

    def test_background_and_what_nobody_drew_are_alike(self):
        # Equal before a step, they are equal after it: 2/5, 1/5, 2/5.
        logits = logits_of((2 / 5, 1 / 5, 2 / 5))
        cross_entropy([{1}])(logits, voxels(IGNORE)).backward()
        background, inside, unannotated = logits.grad.flatten()
        assert background == unannotated < 0 < inside

    @given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
    def test_the_share_of_background_is_not_judged(self, outside, share):
        # Whatever of P is background and the rest of it unannotated: -log(P).
        logits = logits_of((outside * share, 1 - outside, outside * (1 - share)))
        found = cross_entropy([{1}])(logits, voxels(IGNORE)).item()
        assert found == pytest.approx(-math.log(outside), rel=1e-4)

    @settings(deadline=None)
    @given(st.integers(0, 2**31), st.sets(st.integers(1, 4)), st.floats(0.1, 20))
    def test_it_is_the_log_of_a_sum_of_probabilities(self, seed, classes, scale):
        logits = sampled((1, 5, 2, 3, 4), seed).detach() * scale
        labels = torch.full((1, 1, 2, 3, 4), IGNORE)
        others = [label for label in range(5) if label not in classes]
        expected = -logits.double().softmax(1)[:, others].sum(1).log().mean().item()
        found = cross_entropy([classes])(logits, labels).item()
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-12)

    @pytest.mark.parametrize(
        ("logit", "expected", "slope"),
        [
            # log(1 + exp(logit) / 2): the odds of an annotated class against two others of logit 0
            (1000.0, 1000 - math.log(2), 1.0),
            (-30.0, math.exp(-30) / 2, math.exp(-30) / 2),
            (-1000.0, 0.0, 0.0),
        ],
    )
    def test_it_is_stable_where_probabilities_are_0_or_1(self, logit, expected, slope):
        logits = torch.zeros((1, 3, 1, 1, 1))
        logits[0, 1] = logit
        logits.requires_grad_()
        loss = cross_entropy([{1}])(logits, voxels(IGNORE))
        loss.backward()
        assert loss.item() == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(
            logits.grad.flatten(), [-slope / 2, slope, -slope / 2], rtol=1e-5
        )

    def test_half_precision_is_not_added_up_in_half_precision(self):
        logits = sampled((1, 5, 4, 4, 4)).detach()
        labels = torch.full((1, 1, 4, 4, 4), IGNORE)
        loss = marginal([{1, 3}])
        assert torch.equal(loss(logits.half(), labels), loss(logits.half().float(), labels))


def patch(undecided, seed=1):
    """Return labels [2, 1, 12, 14, 16] of fifteen classes, some undecided."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 15, (2, 1, 12, 14, 16), generator=source, dtype=torch.int16)
    labels[torch.rand(labels.shape, generator=source) < undecided] = IGNORE
    return labels


def with_gradient(loss, labels):
    """Return the loss and its gradient at sampled logits."""
    logits = sampled((2, 15, *labels.shape[2:]))
    value = loss(logits, labels)
    value.backward()
    return value.detach(), logits.grad


@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize(
    ("undecided", "classes"),
    [(0.0, ((1, 2, 13), range(1, 15))), (0.3, ((), ())), (1.0, ((), ()))],
    ids=["all decided", "nothing annotated", "nothing known"],
)
def test_where_it_says_nothing_more_it_is_nnunets_loss_bit_for_bit(undecided, classes, batch_dice):
    labels = patch(undecided)
    plain = with_gradient(nnunets(batch_dice=batch_dice), labels)
    ours = with_gradient(marginal(classes, batch_dice=batch_dice), labels)
    assert torch.equal(ours[0], plain[0])
    assert torch.equal(ours[1], plain[1])


def test_where_something_was_annotated_it_is_another_loss():
    labels = patch(0.3)
    plain, _ = with_gradient(nnunets(), labels)
    for classes in (((1, 2, 13), ()), ((), (1,))):
        assert not torch.equal(with_gradient(marginal(classes), labels)[0], plain)


def test_it_runs_where_torch_refuses_what_is_not_deterministic():
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        loss, labels = marginal([(1, 2, 13), (5,)]), patch(0.3)
        (first, slope), (second, again) = (with_gradient(loss, labels) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(before)
    assert torch.equal(first, second)
    assert torch.equal(slope, again)
