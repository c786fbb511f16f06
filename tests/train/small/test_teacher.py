"""Soft labels from an external network: one 1×1×1 convolution, so every answer can be worked out.

Logit k is c x - c² / 2 for c = 0, 1, 2, where x is HU / 100.
"""
# ruff: noqa: F401, F811 (fixtures of tests/inference)

import numpy as np
import pytest
import torch

from imaging.volumes import read_volume
from inference.engines import EngineOptions, open_engine
from tests.conftest import network
from tests.imaging.bad_files import write_ct
from train.small.teacher import VIEWS, TeacherView, _probabilities, ask, sum_of, two_best

SHAPE = (10, 12, 14)


def softmax(x):
    """Return the network's probabilities [3, ...] of normalized intensities."""
    centers = np.arange(3.0).reshape(3, *[1] * np.ndim(x))
    powers = np.exp(centers * x - centers**2 / 2)
    return powers / powers.sum(axis=0)


@pytest.fixture
def teacher(network):
    manifest = network()
    with open_engine("openvino", manifest, EngineOptions(1, "f32")) as engine:
        yield manifest, engine


def volume(folder, hu):
    return read_volume(write_ct(folder / "ct_0000.nii.gz", hu.astype(np.int16)))


@pytest.mark.parametrize("shape", [SHAPE, (7, 9, 11)])
def test_the_shares_of_an_even_part_are_the_mean_of_the_views(teacher, tmp_path, shape):
    hu = np.full(SHAPE, 170)
    hu[0, 0, 0] = -100  # a CT of one value is refused
    soft = ask(volume(tmp_path, hu), *teacher, shape)
    seen = sum(softmax(1.7 * view.gain) for view in VIEWS)
    best, second, _ = np.argsort(seen)[::-1]
    assert soft.first.shape == shape
    even = soft[2:, 2:, 2:]
    assert (even.first == best).all()
    assert (even.second == second).all()
    share = 255 * seen[best] / (seen[best] + seen[second])
    assert np.abs(even.share - share).max() <= 1.5  # the views are kept in bfloat16


@pytest.mark.parametrize(
    "view", [TeacherView(), TeacherView(shift=0.25), TeacherView(shift=0.6), TeacherView(gain=1.12)]
)
def test_shifted_windows_give_every_voxel_its_own_answer(teacher, tmp_path, view):
    hu = np.random.default_rng(0).integers(-100, 300, SHAPE)
    found = _probabilities(volume(tmp_path, hu), *teacher, view, SHAPE).numpy()
    np.testing.assert_allclose(found, softmax(hu / 100 * view.gain), atol=0.005)


def test_another_working_grid_covers_the_same_box(teacher, tmp_path):
    hu = np.zeros(SHAPE)
    hu[:, :, 7:] = 200
    found = _probabilities(
        volume(tmp_path, hu), *teacher, TeacherView(scale=1.12, shift=0.15), SHAPE
    )
    np.testing.assert_array_equal(found[2].numpy() > found[0].numpy(), hu == 200)


def test_the_two_best_classes_and_the_share_of_the_first():
    # Two voxels, sums of two views: .5 against .3, 1.2 against .6
    probabilities = torch.tensor([[0.2, 1.2], [0.5, 0.2], [0.3, 0.6]]).reshape(3, 1, 1, 2)
    soft = two_best(probabilities)
    assert soft.first.ravel().tolist() == [1, 0]
    assert soft.second.ravel().tolist() == [2, 2]
    assert soft.share.ravel().tolist() == [159, 170]
    assert soft.first.dtype == soft.second.dtype == soft.share.dtype == np.uint8


def test_views_are_added():
    total = sum_of(iter([torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([4.0])]))
    assert total.tolist() == [7.0]
