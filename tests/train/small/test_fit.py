"""Training: the same bytes however often it was stopped, and the mean of the weights at the end."""

import itertools
import shutil
from dataclasses import replace

import pytest
import torch

from imaging.errors import KitError
from tests.train.small.small_training import DEFAULT, write_prepared, write_recipe
from train.small.fit import FINAL, LATEST, RECIPE, _learning_rate, fit
from train.small.recipe import load_small_recipe

STEPS = 3


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("work") / "prepared", steps=STEPS)


@pytest.fixture(scope="module")
def straight(prepared, tmp_path_factory):
    """A training that never stopped: its progress and its folder."""
    messages = []
    folder = fit(prepared, tmp_path_factory.mktemp("straight"), report=messages.append)
    return messages, folder / "fold_all"


@pytest.fixture(scope="module")
def stopped(prepared, tmp_path_factory):
    """A training that was stopped after steps 1 and 2: every last checkpoint, and its folder."""
    results, states = tmp_path_factory.mktemp("stopped"), []
    for until in (1, 2, None):
        fold = fit(prepared, results, until=until) / "fold_all"
        states.append(torch.load(fold / LATEST, weights_only=True))
        assert (fold / FINAL).is_file() == (until is None)
    return states, fold


def test_a_stopped_training_ends_with_the_same_bytes(straight, stopped):
    for name in (FINAL, LATEST):
        assert (straight[1] / name).read_bytes() == (stopped[1] / name).read_bytes()


def test_a_second_training_ends_with_the_same_bytes(prepared, straight, tmp_path):
    torch.manual_seed(99)
    again = fit(prepared, tmp_path) / "fold_all"
    assert (again / FINAL).read_bytes() == (straight[1] / FINAL).read_bytes()


def test_the_last_step_is_reported(straight):
    (progress,) = straight[0]
    assert (progress.step, progress.steps) == (STEPS, STEPS)
    assert 0.5 < progress.loss < 5  # the mean of three steps


def test_the_result_is_the_moving_mean_of_the_weights(stopped):
    states, fold = stopped
    for step, (before, after) in enumerate(itertools.pairwise(states), 2):
        kept = step / (step + 10)
        for name, mean in after["network_weights"].items():
            old, new = before["network_weights"][name], after["trained_weights"][name]
            torch.testing.assert_close(mean, kept * old + (1 - kept) * new)
    final = torch.load(fold / FINAL, weights_only=True)["network_weights"]
    last = states[-1]
    assert all(torch.equal(final[name], last["network_weights"][name]) for name in final)
    assert any(not torch.equal(final[name], last["trained_weights"][name]) for name in final)


def test_every_kernel_is_trained(stopped):
    first, *_, last = stopped[0]
    for name, weight in last["trained_weights"].items():
        if weight.ndim == 5:
            assert not torch.equal(weight, first["trained_weights"][name]), name


def test_the_learning_rate_grows_then_falls(stopped):
    recipe = load_small_recipe(DEFAULT)
    rate, steps = 0.002, recipe.fit.steps
    assert (steps, recipe.fit.horizon, recipe.fit.cool_down) == (13750, 14000, 2500)
    assert _learning_rate(recipe, 1) == pytest.approx(rate / 100)
    assert _learning_rate(recipe, 50) == pytest.approx(rate / 2 * (1 - 49 / 14000) ** 0.9)
    assert _learning_rate(recipe, 100) == pytest.approx(rate * (1 - 99 / 14000) ** 0.9)
    assert _learning_rate(recipe, steps) == pytest.approx(rate / 2500 * (251 / 14000) ** 0.9)
    cooled = replace(recipe, fit=replace(recipe.fit, steps=4000, cool_down=400))
    assert _learning_rate(cooled, 3600) == pytest.approx(rate * (1 - 3599 / 14000) ** 0.9)
    assert _learning_rate(cooled, 3801) == pytest.approx(rate / 2 * (1 - 3800 / 14000) ** 0.9)
    assert _learning_rate(cooled, 4000) == pytest.approx(rate / 400 * (1 - 3999 / 14000) ** 0.9)
    used = [state["optimizer_state"]["param_groups"][0]["lr"] for state in stopped[0]]
    expected = [rate * n / 100 * (1 - (n - 1) / STEPS) ** 0.9 for n in (1, 2, 3)]
    assert used == pytest.approx(expected)


@pytest.fixture
def begun(stopped, tmp_path):
    """A copy of a training's folder that has no result yet."""
    results = tmp_path / "results"
    shutil.copytree(stopped[1].parents[2], results)
    (checkpoint,) = results.glob(f"*/*/fold_all/{LATEST}")
    (checkpoint.parent / FINAL).unlink()
    return results, checkpoint


def test_a_damaged_checkpoint_is_one_line(prepared, begun):
    results, checkpoint = begun
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(KitError, match=r"damaged .*; delete it") as caught:
        fit(prepared, results)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_network_is_one_line(prepared, begun, tmp_path):
    results, checkpoint = begun
    other = tmp_path / "prepared"
    shutil.copytree(prepared, other)
    write_recipe(other / RECIPE, steps=STEPS, features="[4, 8, 12]")
    with pytest.raises(KitError, match="of a recipe with another network") as caught:
        fit(other, results)
    assert str(checkpoint) in str(caught.value)


def test_a_folder_without_a_recipe_is_one_line(tmp_path):
    with pytest.raises(KitError, match=r"cannot read recipe .*recipe\.toml: No such file"):
        fit(tmp_path, tmp_path / "results")


def test_a_gpu_that_is_not_there_is_one_line(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(KitError, match="no CUDA device here"):
        fit(prepared, tmp_path / "results", "cuda")
    assert not (tmp_path / "results").exists()
