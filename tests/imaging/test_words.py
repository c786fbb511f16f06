"""Numbers with their nouns."""

import pytest

from imaging.words import number_of


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("case",), "0 cases"),
        (1, ("case",), "1 case"),
        (2, ("case",), "2 cases"),
        (1234, ("voxel",), "1,234 voxels"),
        (1, ("case needs", "cases need"), "1 case needs"),
        (3, ("case needs", "cases need"), "3 cases need"),
    ],
)
def test_one_and_many(count, words, text):
    assert number_of(count, *words) == text
