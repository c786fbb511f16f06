"""Trainings without a family of sample changes, compared with the teacher on cases left out."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks.augmentation import FAMILIES, WHOLE, teacher_dice, without
from benchmarks.cli import main
from tests.train.small.small_training import certain, write_prepared, write_recipe
from train.small.compact import PreparedCase
from train.small.recipe import load_small_recipe


class Thresholds(torch.nn.Module):
    """A network that says liver above 50 HU and nothing elsewhere."""

    def forward(self, image):
        hu = image[:, 0] * 80 + 50
        logits = torch.full((1, 15, *hu.shape[1:]), -9.0)
        logits[:, 0], logits[:, 1] = 0.0, hu - 50
        return [logits]


@pytest.fixture
def recipe(tmp_path):
    return load_small_recipe(write_recipe(tmp_path / "recipe.toml"))


def test_agreement_is_dice_by_organ_over_known_voxels(recipe):
    # Liver of 4 x 8 x 8 voxels, one slice of it dark, one of the background bright, one unknown
    # and bright: 2 * 192 / (256 + 256).
    hu = np.full((12, 8, 8), -100, np.float32)
    labels = np.zeros(hu.shape, np.uint8)
    labels[2:6], hu[3:7] = 1, 150
    labels[9], hu[9] = 255, 150
    case = PreparedCase("one", hu, certain(labels))
    recipe = replace(recipe, spacing_mm=(recipe.stored_mm,) * 3)
    assert teacher_dice(Thresholds(), recipe, [case]) == {"liver": pytest.approx(2 * 192 / 512)}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_that_is_off_changes_nothing_else(recipe, family):
    changed = without(recipe, family)
    differing = {
        name
        for name in (*FAMILIES, "fit", "cases")
        if getattr(changed, name) != getattr(recipe, name)
    }
    assert differing == {family}
    assert without(recipe, WHOLE) == recipe


def test_every_variant_is_trained_and_judged(tmp_path):
    write_prepared(tmp_path / "prepared")
    output = tmp_path / "out.json"
    options = ("--left-out", "two", "--steps", "1", "--patch", "16", "24", "24", "-o", str(output))
    done = CliRunner().invoke(main, ["augmentation", str(tmp_path), *options])
    assert done.exit_code == 0, done.output
    found = json.loads(output.read_text())
    assert found["left_out"] == ["two"]
    assert list(found["variants"]) == [WHOLE, *FAMILIES]
    assert set(found["variants"][WHOLE]["dice"]) == set(found["variants"]["space"]["dice"])
    assert all(family in done.output for family in FAMILIES)
    wrong = CliRunner().invoke(
        main, ["augmentation", str(tmp_path), "--left-out", "x", *options[2:]]
    )
    assert (wrong.exit_code, "no case of the recipe: x" in wrong.output) == (1, True)


def test_named_variants_are_trained_alone_and_complete_a_file_of_the_same_settings(tmp_path):
    write_prepared(tmp_path / "prepared")
    output = tmp_path / "out.json"
    words = ["augmentation", str(tmp_path), "--left-out", "two", "--patch", "16", "24", "24"]
    words += ["-o", str(output)]

    def run(*more):
        return CliRunner().invoke(main, [*words, *more])

    first = run("--steps", "1", "--only", "space")
    assert first.exit_code == 0, first.output
    before = json.loads(output.read_text())
    assert list(before["variants"]) == ["space"]
    assert "no table: the file has no 'all families' to compare with" in first.output
    second = run("--steps", "1", "--only", WHOLE, "--only", WHOLE)
    assert second.exit_code == 0, second.output
    after = json.loads(output.read_text())
    assert list(after["variants"]) == [WHOLE, "space"]  # in the table's order
    assert after["variants"]["space"] == before["variants"]["space"]
    assert "- space" in second.output and "- scanner" not in second.output
    content = output.read_bytes()
    other = run("--steps", "2", "--only", "scanner")
    assert other.exit_code == 1
    assert other.output.splitlines()[-1] == (
        f"Error: {output} has steps 1, requested is 2; give another -o, or leave --only out to "
        "train all variants anew"
    )
    wrong = run("--steps", "1", "--only", "colour")
    assert wrong.exit_code == 2
    assert "no family colour; choose from all families, space" in wrong.output
    assert output.read_bytes() == content
