import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imaging.errors import GeometryError
from train.data.anatomy import IGNORE
from train.pseudo_labels.uncertainty import LABELS, Confidences, Uncertainty, unsure_of

ALL = tuple(range(1, 15))


def line(*values):
    return np.array([[values]], np.uint8)


def learnt(truth, labels, percents, annotated=ALL):
    found = Confidences()
    found.add(line(*truth), line(*labels), line(*percents), annotated)
    return found


def test_the_threshold_parts_right_from_wrong():
    # liver: wrong at 50 and 55, right at 80 and 90: from 56 on right, the lowest that parts them
    uncertainty = learnt([0, 0, 1, 1], [1, 1, 1, 1], [50, 55, 80, 90]).uncertainty()
    assert uncertainty.least[1] == 56
    unsure = uncertainty.of(line(1, 1, 1), line(55, 56, 100))
    assert unsure.tolist() == [[[True, False, False]]]


def test_the_threshold_with_the_most_information_is_taken():
    # wrong at 20 and 60; right at 40, 80, 80, 80. Voxels under the threshold, then at or above:
    #   21: 1 wrong          | 1 wrong, 4 right: 5 ln 5 - 4 ln 4 = 2.50 nats are left
    #   41: 1 wrong, 1 right | 1 wrong, 3 right: 2 ln 2 + 4 ln 4 - 3 ln 3 = 3.64
    #   61: 2 wrong, 1 right | 3 right: 3 ln 3 - 2 ln 2 = 1.91, the least
    found = learnt([0, 1, 0, 1, 1, 1], [1] * 6, [20, 40, 60, 80, 80, 80])
    assert found.uncertainty().least[1] == 61


def test_every_label_has_its_own_threshold():
    uncertainty = learnt([0, 1, 0, 3], [1, 1, 3, 3], [50, 60, 80, 90]).uncertainty()
    assert (uncertainty.least[1], uncertainty.least[3]) == (51, 81)
    assert uncertainty.of(line(1, 3), line(70, 70)).tolist() == [[[False, True]]]
    assert uncertainty.table()["liver"] == 51


def test_where_confidence_tells_nothing_nothing_is_unsure():
    # the liver is right as often at 50 as at 90, the spleen is always right, the rest is not given
    uncertainty = learnt(
        [0, 1, 0, 1, 3, 3], [1, 1, 1, 1, 3, 3], [50, 50, 90, 90, 50, 90]
    ).uncertainty()
    assert uncertainty.least == (0,) * LABELS


def test_what_nobody_drew_is_neither_right_nor_wrong():
    # Only the liver was annotated. A spleen is not counted; background is wrong where there is a
    # liver, and right where there may be a spleen.
    found = learnt([0, 1, 0, IGNORE], [3, 0, 0, 0], [10, 60, 99, 10], annotated=(1,))
    wrong, right = found.wrong_right
    assert np.argwhere(wrong).tolist() == [[0, 60]]
    assert np.argwhere(right).tolist() == [[0, 99]]
    assert found.uncertainty().least[0] == 61


@given(
    arrays(np.uint8, (2, 3, 4), elements=st.sampled_from([0, 1, 2, IGNORE])),
    arrays(np.uint8, (2, 3, 4), elements=st.sampled_from([0, 1, 2])),
    arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 100)),
)
def test_the_order_of_cases_does_not_matter(truth, labels, percents):
    pairs = [(truth, labels, percents), (labels, truth % 3, percents[::-1])]
    found = []
    for order in (pairs, pairs[::-1]):
        counted = Confidences()
        for case in order:
            counted.add(*case, ALL)
        found.append(counted.uncertainty())
    assert found[0] == found[1]
    assert all(0 <= least <= 100 for least in found[0].least)


def test_sources_without_confidence_have_no_uncertainty():
    uncertainty = Uncertainty((50,) * LABELS)
    maps, percents = [line(1, 1), line(2, 2), line(3, 3)], [line(40, 60), line(60, 40)]
    first, second, third = unsure_of((uncertainty, None, uncertainty), maps, percents)
    assert first.tolist() == [[[True, False]]]
    assert second is None
    assert third.tolist() == [[[False, True]]]


def test_maps_of_several_shapes_are_refused():
    with pytest.raises(GeometryError, match="give maps of one CT"):
        Confidences().add(line(1), line(1), line(1, 1), ALL)
    with pytest.raises(GeometryError, match="give maps of one CT"):
        Uncertainty((0,) * LABELS).of(line(1), line(1, 1))
