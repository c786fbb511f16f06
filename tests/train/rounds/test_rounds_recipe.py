from pathlib import Path

import pytest

from imaging.errors import KitError
from train.rounds.recipe import load_rounds

RECIPES = Path(__file__).parents[3] / "train" / "recipes"
PHANTOM = RECIPES / "phantom.toml"


@pytest.mark.parametrize("name", ["flare23_paper", "flare23", "phantom"])
def test_the_committed_recipes_are_recipes(name):
    recipe = load_rounds(RECIPES / f"{name}.toml")
    assert recipe.name == name
    assert recipe.rounds[0].name == "teacher"


def test_a_round_is_found_by_its_name():
    recipe = load_rounds(PHANTOM)
    assert recipe.step("student").sources == ("teacher",)
    with pytest.raises(KitError, match="no round 'pupil' in recipe 'phantom'; it has teacher, stu"):
        recipe.step("pupil")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("[[rounds]]", "[[rouns]]", r"no \[\[rounds\]\]"),
        ("[training]", "[training", "is not TOML"),
        ("seed =", "sead =", "toml: missing key: seed, found 'sead'"),
        ("shards = ", "shards = 0 # ", "shards: expected int >= 1, found 0"),
        ("spacing_mm = [5", "spacing_mm = [-5", r"spacing_mm\[0\]: expected float > 0.0, found -5"),
        ('precision = "f32"', 'precision = "f23"', "precision is 'f23'; f32, bf16, int8 or auto"),
        (
            "least_agreement = 0.0",
            "least_agrement = 0.0",
            r"rounds\[0\]: missing key: least_agreement, f",
        ),
        (
            "least_agreement = 0.0",
            "least_agreement = 1.5",
            r"rounds\[0\]\.least_agreement: expected float <= 1",
        ),
        ('merge = "real_only"', 'merge = "real"', "merge is 'real'; one of real_only"),
        ('merge = "real_only"', 'merge = "real_wins"', "real_only goes without sources"),
        ("least_gain = -1.0", "least_gain = -2.0", "stop.least_gain: expected float >= -1"),
        ("least_gain = -1.0", "least_gain = 0.0", "stop compares rounds on held-out cases"),
        ("held_out = 0", "held_out = 1", "held_out is 1; 0, or every so-many-th"),
        (
            "least_precision = 0.0",
            "least_precision = 0.9",
            "least_precision is for weighted; give 0",
        ),
        ('combine = ""', 'combine = "weighted"', "weighted takes 1 to 4 sources"),
        ('combine = ""', 'combine = "blend"', "combine is 'blend'; one of"),
        ('combine = ""', 'combine = "vote"', "combine is for two sources or more, not 0"),
        (
            'cases = "organ_complete"',
            'cases = "organs"',
            "no case list 'organs'; there are",
        ),
        ('sources = ["teacher"]', 'sources = ["second_student"]', "which is not before it"),
        ('name = "student"', 'name = "teacher"', "two sources called 'teacher'"),
        ('name = "student"', 'name = "a/b"', "choose a name that can be a folder's"),
        ('name = "student"', 'name = "data"', "choose a name that can be a folder's"),
    ],
)
def test_a_mistake_is_named(tmp_path, old, new, complaint):
    text = PHANTOM.read_text()
    assert old in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new, 1 if "[[" not in old else -1))
    with pytest.raises(KitError, match=complaint):
        load_rounds(path)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(KitError, match=r"cannot read recipe .*none\.toml: No such file"):
        load_rounds(tmp_path / "none.toml")


def test_weighted_wants_cases_to_learn_from(tmp_path):
    head, teacher, rest = PHANTOM.read_text().split("[[rounds]]", 2)
    path = tmp_path / "recipe.toml"
    weighted = rest.replace('combine = ""', 'combine = "weighted"', 1)
    path.write_text("[[rounds]]".join([head, teacher, weighted]))
    with pytest.raises(KitError, match="round 'student' is weighted; give held_out"):
        load_rounds(path)
    path.write_text(
        "[[rounds]]".join([head.replace("held_out = 0", "held_out = 3"), teacher, weighted])
    )
    assert load_rounds(path).step("student").combine == "weighted"
