import numpy as np
import pytest

from train.pseudo_labels.cuts import best_cut, least_score


@pytest.mark.parametrize(
    ("scores", "right", "total", "expected"),
    [
        # 2R / (called + 20): at 0.9: 18 / 30; down to 0.4: 34 / 40; down to 0.1: 40 / 120
        ([0.1, 0.9, 0.4], [3, 9, 8], [80, 10, 10], 0.4),
        ([0.1, 0.9, 0.4], [3, 9, 8], [5, 10, 10], 0.1),  # 40 / 45
        # equal scores stand and fall together: 20 / (20 + 10)
        ([0.3, 0.3], [10, 0], [10, 10], 0.3),
        ([0.9, 0.1], [0, 0], [10, 10], np.inf),
    ],
)
def test_a_cut_has_the_largest_dsc(scores, right, total, expected):
    found = best_cut(np.array(scores), np.array(right, float), np.array(total, float))
    assert found == expected


@pytest.mark.parametrize(
    ("scores", "right", "total", "precision", "expected"),
    [
        # at 0.9: 9 of 10; down to 0.7: 17 of 20; down to 0.5: 20 of 30
        ([0.5, 0.9, 0.7], [3, 9, 8], [10, 10, 10], 0.9, 0.9),
        ([0.5, 0.9, 0.7], [3, 9, 8], [10, 10, 10], 0.85, 0.7),
        ([0.5, 0.9, 0.7], [3, 9, 8], [10, 10, 10], 0.6, 0.0),
        ([0.5, 0.9, 0.7], [3, 9, 8], [10, 10, 10], 0.95, np.inf),
        ([0.5, 0.9, 0.7], [3, 9, 8], [10, 10, 10], 0.0, 0.0),
        # equal scores stand and fall together: 12 of 20
        ([0.9, 0.9], [10, 2], [10, 10], 0.8, np.inf),
        ([], [], [], 0.9, 0.0),
    ],
)
def test_the_least_score_with_which_enough_are_right(scores, right, total, precision, expected):
    arrays = (np.array(values, np.float64) for values in (scores, right, total))
    assert least_score(*arrays, precision) == expected
