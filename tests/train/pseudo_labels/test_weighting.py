import json
from functools import partial

import numpy as np
import pytest

from imaging.errors import KitError
from train.data.anatomy import IGNORE
from train.pseudo_labels.weighting import HeldOut, learn

ALL = tuple(range(1, 15))
LIVER, TUMOUR = 1, 14


def patient(tumour_at):
    """Return a liver with a tumour of 3 x 3 x 3 voxels at a place along the first axis."""
    truth = np.zeros((24, 10, 10), np.uint8)
    truth[2:22, 2:8, 2:8] = LIVER
    truth[tumour_at : tumour_at + 3, 4:7, 4:7] = TUMOUR
    return truth


def without_tumour(truth):
    return np.where(truth == TUMOUR, np.uint8(LIVER), truth)


def inventing(truth):
    """Return a source that is right and also calls the liver's last part a tumour."""
    predicted = truth.copy()
    predicted[18:21, 4:7, 4:7] = TUMOUR
    return predicted


def held_out(tumour_at, *sources):
    truth = patient(tumour_at)
    return partial(HeldOut, truth, [source(truth) for source in sources], ALL, 0.001)


CASES = [held_out(at, np.copy, without_tumour) for at in (4, 8, 12)]


def test_a_blind_source_does_not_outvote_one_that_sees():
    weighting = learn(CASES, 2, 0.0)
    truth = patient(9)
    np.testing.assert_array_equal(weighting.apply([truth, without_tumour(truth)], 0.001), truth)


def test_what_is_requested_is_kept():
    weighting = learn(CASES, 2, 0.9)
    truth = patient(9)
    np.testing.assert_array_equal(weighting.apply([truth, without_tumour(truth)], 0.001), truth)


def test_what_is_wrong_as_often_as_right_is_not_taught():
    # The one that sees also invents a tumour in every case: half of its tumours are wrong.
    cases = [held_out(at, inventing, without_tumour) for at in (4, 8, 12)]
    truth = patient(9)
    maps = [inventing(truth), without_tumour(truth)]
    everything, sure = (learn(cases, 2, precision).apply(maps, 0.001) for precision in (0, 0.9))
    assert (everything == TUMOUR).sum() in (0, 54)  # both or none: they look alike
    assert (sure == TUMOUR).sum() == 0
    assert (sure[9:12, 4:7, 4:7] == IGNORE).sum() > 0
    assert (sure[3:8] == truth[3:8]).all()


def test_one_source_is_enough():
    cases = [held_out(at, np.copy) for at in (4, 8)]
    truth = patient(9)
    np.testing.assert_array_equal(learn(cases, 1, 0.9).apply([truth], 0.001), truth)


def test_reliabilities_are_listed_by_source_and_class():
    table = learn(CASES, 2, 0.9).table(["seeing", "blind"])
    assert table["recall"]["seeing"]["tumour"] == 1.0
    assert table["recall"]["blind"]["tumour"] == 0.0
    assert table["precision"]["blind"]["liver"] == 1.0  # that it calls tumours so is not counted
    assert table["precision"]["blind"]["tumour"] is None  # it never says so
    assert table["volume_ml"]["tumour"] == pytest.approx([0.027 / 1.5, 0.027 * 1.5])
    assert table["volume_ml"]["spleen"] == [0.0, None]  # in no case
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_one_case_is_not_enough():
    with pytest.raises(KitError, match="1 held-out labelled cases; reliability needs two or more"):
        learn(CASES[:1], 2, 0.9)
