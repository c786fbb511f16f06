"""What a localiser learns from: organs in one piece, and scans without any."""

from pathlib import Path

import numpy as np
import pytest

from train.small.compact import UNKNOWN, PreparedCase, SoftLabels
from train.small.extent import cases_of_localiser, without_stray_pieces
from train.small.fit import _network
from train.small.recipe import load_small_recipe

RECIPE = Path(__file__).parents[3] / "train/recipes/localiser.toml"


def case(slices, *organs):
    """A case of 10 mm voxels with organs: value and box."""
    first = np.zeros((slices, 4, 4), np.uint8)
    for value, *box in organs:
        first[tuple(box)] = value
    share = np.full_like(first, 200)
    labels = SoftLabels(first, np.where(first, np.uint8(9), first), share)
    return PreparedCase("a", np.arange(first.size, dtype=np.float32).reshape(first.shape), labels)


def test_only_the_largest_piece_of_an_organ_stays():
    part = slice(0, 2)
    labels = case(8, (3, part, part, part), (3, 7, 3, 3), (14, 4, 0, 0), (14, 6, 0, 0)).labels
    tidy = without_stray_pieces(labels)
    assert (np.count_nonzero(tidy.first == 3), tidy.first[7, 3, 3]) == (8, 0)
    assert (tidy.second[7, 3, 3], tidy.share[7, 3, 3]) == (0, 255)
    assert (tidy.second[0, 0, 0], tidy.share[0, 0, 0]) == (9, 200)
    assert np.count_nonzero(tidy.first == 14) == 2  # tumours have several pieces


def test_the_ends_without_an_organ_are_cases():
    whole = case(24, (1, slice(8, 14), 1, 1), (UNKNOWN, 20, 0, 0))
    found = cases_of_localiser([whole], stored_mm=10.0)
    assert [one.name for one in found] == ["a", "a_below", "a_above"]
    # A gap of 15 mm is two slices: 0 to 6, and 16 to 24.
    np.testing.assert_array_equal(found[1].hu, whole.hu[:6])
    np.testing.assert_array_equal(found[2].hu, whole.hu[16:])
    assert found[2].labels.first[4, 0, 0] == UNKNOWN
    np.testing.assert_array_equal(found[0].labels.first, whole.labels.first)


@pytest.mark.parametrize(("slices", "count"), [(13, 1), (14, 2), (15, 2)])
def test_an_end_has_at_least_six_centimetres(slices, count):
    found = cases_of_localiser([case(slices, (1, slice(0, 6), 1, 1))], stored_mm=10.0)
    assert len(found) == count


def test_a_case_without_organs_has_no_ends():
    assert len(cases_of_localiser([case(30)], stored_mm=10.0)) == 1


def test_the_recipe_draws_what_there_is_and_no_part_of_a_test_case():
    recipe = load_small_recipe(RECIPE)
    assert recipe.localiser
    assert {"TS_small", "TS_example", "CHAOS_3", "crlm1100_lr"}.isdisjoint(recipe.cases)
    drawn = {name.removesuffix("_below").removesuffix("_above") for name in recipe.repeats}
    assert drawn <= {*recipe.cases}
    weights = sum(p.numel() for p in _network(recipe).parameters())
    assert 2 * weights < 280_000  # bytes in half precision
