from pathlib import Path

import pytest

from inference.errors import KitError
from train.recipe import load_recipe

COMMITTED = Path(__file__).parents[2] / "train" / "recipes" / "real_small.toml"


def test_the_committed_recipe_trains_on_no_test_case():
    recipe = load_recipe(COMMITTED)
    assert not {"CHAOS_3", "TS_example"} & set(recipe.cases)
    assert set(recipe.bend) | set(recipe.duodenum_in_stomach) <= set(recipe.cases)
    assert all(
        size % 2 ** (len(recipe.training.features) - 1) == 0 for size in recipe.training.patch
    )


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("seed =", "sead =", "unknown or missing keys: sead, seed"),
        ("epochs =", "epoch =", "training: unknown or missing keys: epoch, epochs"),
        ("batch = 2", 'batch = "2"', "training: batch: expected int, found '2'"),
        ("synthesis_mm = 3.0", "synthesis_mm = true", "synthesis_mm: expected float, found True"),
        ("[training]", "[training", "not a readable recipe"),
        (
            "= [3.0, 3.0, 3.0]",
            "= [3.0, 3.0]",
            r"is \[3.0, 3.0\] and synthesis_mm 3.0; give",
        ),
        (
            'undecided = "ignore"',
            'undecided = "guess"',
            "training: undecided is 'guess'; choose from ignore, marginal",
        ),
        (
            'undecided = "ignore"',
            'undecided = "marginal"',
            'real_small: undecided is "marginal", for cases whose annotators are known',
        ),
        ("synthesis_mm = 3.0", "synthesis_mm = 0", "and synthesis_mm 0.0; give three positive"),
        ("decoder_convolutions = 1", "decoder_convolutions = 0", "is 0; give 1 or more"),
        ("window = []", "window = [64, 64]", r"a window of \[64, 64\] and a patch of"),
    ],
)
def test_a_mistake_is_named(tmp_path, old, new, complaint):
    path = tmp_path / "recipe.toml"
    path.write_text(COMMITTED.read_text().replace(old, new, 1))
    with pytest.raises(KitError, match=complaint):
        load_recipe(path)


def test_a_whole_number_may_stand_for_a_float(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(COMMITTED.read_text().replace("synthesis_mm = 3.0", "synthesis_mm = 3"))
    assert load_recipe(path).synthesis_mm == 3.0
