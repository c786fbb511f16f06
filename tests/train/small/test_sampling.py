"""Sample n depends on the recipe and on n; what nobody knows has no weight."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.small.small_training import (
    STILL,
    abdomens,
    certain,
    without_augmentation,
    write_recipe,
)
from train.small.compact import UNKNOWN, PreparedCase, SoftLabels
from train.small.recipe import Contrast, load_small_recipe
from train.small.sampling import CLASSES, Sampler

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return load_small_recipe(write_recipe(tmp_path_factory.mktemp("recipe") / "recipe.toml"))


@pytest.fixture(scope="module")
def cases():
    return abdomens()


def parts(sample):
    return sample.image, sample.target, sample.weight


def test_a_sample_depends_on_its_number_alone(recipe, cases):
    sampler = Sampler(cases, recipe, CPU)
    first = sampler.draw(5)
    others = [sampler.draw(number) for number in (6, 0, 7)]
    torch.manual_seed(1)
    np.random.seed(1)
    again = sampler.draw(5)
    fresh = Sampler(cases, recipe, CPU).draw(5)
    for one, two, three in zip(parts(first), parts(again), parts(fresh), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)
    assert all(not torch.equal(first.image, other.image) for other in others)


def test_another_seed_draws_other_samples(recipe, cases):
    other = Sampler(cases, replace(recipe, seed=recipe.seed + 1), CPU)
    assert not torch.equal(other.draw(5).image, Sampler(cases, recipe, CPU).draw(5).image)


def test_samples_are_shares_of_fifteen_classes_and_finite(recipe, cases):
    sampler = Sampler(cases, recipe, CPU)
    shape = recipe.fit.patch
    for number in range(12):
        image, target, weight = parts(sampler.draw(number))
        assert image.shape == weight.shape == (1, 1, *shape)
        assert target.shape == (1, CLASSES, *shape)
        assert image.dtype == target.dtype == weight.dtype == torch.float32
        assert torch.isfinite(image).all()
        assert target.min() >= 0
        torch.testing.assert_close(target.sum(dim=1), torch.ones((1, *shape)))
        assert set(weight.unique().tolist()) <= {0.0, 1.0}
        assert (image[weight == 0] == 0).all()  # nothing is unknown here but what is outside


def test_without_augmentation_a_sample_is_the_ct_and_its_labels(recipe, monkeypatch):
    monkeypatch.setattr("train.small.sampling._centre", lambda *_: np.array([4.5, 5.5, 6.5]))
    rng = np.random.default_rng(0)
    hu = rng.integers(-400, 600, (10, 12, 14)).astype(np.float32)
    labels = rng.integers(0, 15, hu.shape).astype(np.uint8)
    plain = without_augmentation(recipe, patch=(4, 6, 8))
    sampler = Sampler([PreparedCase("one", hu, certain(labels))], plain, CPU)
    image, target, weight = parts(sampler.draw(0))
    crop = (slice(3, 7), slice(3, 9), slice(3, 11))
    expected = (hu[crop].clip(-200, 300) - 50) / 80  # the recipe's range, mean and deviation
    np.testing.assert_allclose(image[0, 0], expected, atol=1e-3)
    np.testing.assert_array_equal(target[0].argmax(dim=0), labels[crop])
    assert (target.amax(dim=1) == 1).all()
    assert (weight == 1).all()


def test_unknown_voxels_have_no_weight(recipe):
    rng = np.random.default_rng(0)
    unknown = rng.uniform(size=(20, 28, 30)) < 0.3
    # Known voxels are spleen; of unknown ones the second class is liver, half.
    labels = SoftLabels(
        np.where(unknown, np.uint8(UNKNOWN), np.uint8(3)),
        np.where(unknown, np.uint8(1), np.uint8(3)),
        np.where(unknown, np.uint8(128), np.uint8(255)),
    )
    case = PreparedCase("one", np.zeros(unknown.shape, np.float32), labels)
    sampler = Sampler([case], without_augmentation(recipe), CPU)
    for number in range(3):
        _, target, weight = parts(sampler.draw(number))
        assert (weight[0, 0][target[0, 1] > 0.4] == 0).all()
        assert 0 < weight.mean() < 1
        assert (target[0, 3][weight[0, 0] > 0] == 1).all()


def test_the_unknown_rim_of_a_lesion_moves_with_its_liver(recipe, monkeypatch):
    monkeypatch.setattr("train.small.sampling._centre", lambda *_: np.full(3, 9.5))
    labels = np.full((20, 20, 20), 1, np.uint8)
    labels[7:13, 7:13, 7:13] = UNKNOWN
    labels[9:11, 9:11, 9:11] = 14
    case = PreparedCase("one", np.full(labels.shape, 60, np.float32), certain(labels))
    plain = without_augmentation(recipe, patch=(16, 16, 16))
    sampler = Sampler([case], replace(plain, contrast=Contrast(1.0, 12.0)), CPU)
    image, _, weight = parts(sampler.draw(2))
    rim, around = weight == 0, weight.clone()
    around[..., 4:12, 4:12, 4:12] = 0
    inner = around[..., 1:-1, 1:-1, 1:-1] > 0
    liver_hu = 80 * float(image[..., 1:-1, 1:-1, 1:-1][inner].mean()) + 50
    assert abs(liver_hu - 60) > 10  # another phase
    assert 80 * float(image[rim].mean()) + 50 == pytest.approx(liver_hu, abs=5)


def test_centred_samples_show_every_class_of_a_case(recipe, cases):
    centred = without_augmentation(recipe, space=replace(STILL, centred=1.0))
    sampler = Sampler(cases[:1], centred, CPU)
    shown = torch.stack([sampler.draw(n).target[0].amax(dim=(1, 2, 3)) > 0.5 for n in range(60)])
    labels, counts = np.unique(cases[0].labels.first, return_counts=True)
    assert shown.any(dim=0).numpy()[labels[counts >= 20]].all()


def test_a_repeated_case_is_sampled_as_often_as_the_recipe_says(recipe):
    shape = (8, 8, 8)
    two = [
        PreparedCase(name, np.full(shape, hu, np.float32), certain(np.zeros(shape, np.uint8)))
        for name, hu in (("one", 0), ("two", 90))
    ]
    sampler = Sampler(two, without_augmentation(recipe, patch=(4, 4, 4)), CPU)
    second = sum(float(sampler.draw(n).image.max()) > 0 for n in range(150))
    assert second / 150 == pytest.approx(2 / 3, abs=0.1)  # the recipe says two = 2
