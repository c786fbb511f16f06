import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.anatomy import IGNORE
from train.pseudo_labels.reliability import CLASSES
from train.pseudo_labels.selection import Pieces, Threshold, components, selected, thresholds_of

LIVER, TUMOUR = 1, 14
ANY = tuple([(0.0, np.inf)] * CLASSES)


def body(*boxes):
    """Return labels [12, 12, 12] with a cube for each (label, first, last)."""
    labels = np.zeros((12, 12, 12), np.uint8)
    for label, first, last in boxes:
        labels[first:last, first:last, first:last] = label
    return labels


def sure(labels, value=1.0):
    return np.full(labels.shape, value, np.float32)


def limits(keep=0.0, drop=0.0, volume_ml=ANY, score="probability"):
    return tuple(Threshold(score, keep, drop, allowed) for allowed in volume_ml)


def select(labels, probability, thresholds, voxel_ml=1.0):
    return selected(labels, list(components(labels, probability)), thresholds, voxel_ml)


def test_components_of_every_class_by_size():
    labels = body((LIVER, 0, 3), (LIVER, 8, 10))
    labels[5, 5, 5] = IGNORE
    labels[0, 0, 0] = TUMOUR
    found = list(components(labels, sure(labels, 0.5)))
    # 27 less the tumour's, 8, 1; what is ignored is none
    assert [(piece.label, piece.voxels) for piece in found] == [(1, 26), (1, 8), (14, 1)]


def test_a_components_probability_is_the_mean_of_its_voxels():
    labels = body((LIVER, 0, 2))
    probability = np.zeros(labels.shape, np.float32)
    probability[0, 0, 0] = 0.8
    (piece,) = components(labels, probability)
    assert piece.probability == pytest.approx(0.1)  # 0.8 of 8


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.9, TUMOUR), (0.5, IGNORE), (0.2, LIVER), (0.6, TUMOUR), (0.3, IGNORE)],
)
def test_a_component_is_kept_ignored_or_given_to_what_surrounds_it(value, expected):
    labels = body((LIVER, 0, 10), (TUMOUR, 4, 6))
    probability = np.where(labels == TUMOUR, np.float32(value), np.float32(1))
    found = select(labels, probability, limits(keep=0.6 - 1e-6, drop=0.3))
    assert (found[labels == TUMOUR] == expected).all()
    np.testing.assert_array_equal(found[labels != TUMOUR], labels[labels != TUMOUR])


def test_there_are_no_two_livers():
    large, crumb = body((LIVER, 0, 5), (LIVER, 8, 11)), body((LIVER, 0, 5), (LIVER, 8, 10))
    # 27 of 125 voxels is a second liver, 8 is a crumb of the first
    assert set(np.unique(select(large, sure(large), limits()))) == {0, LIVER, IGNORE}
    np.testing.assert_array_equal(select(crumb, sure(crumb), limits()), crumb)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    places=st.permutations([0, 6, 12, 18]),
)
def test_one_piece_of_an_organ_is_its_first_however_large_the_others(sizes, places):
    labels = np.zeros((24, 5, 5), np.uint8)
    for size, place in zip(sizes, places, strict=False):
        labels[place : place + size, :size, :size] = LIVER
    found = select(labels, sure(labels), limits())
    kept, voxels = np.count_nonzero(found == LIVER), sorted(size**3 for size in sizes)
    # the largest stays, one of several; of the others the crumbs: under a tenth of it
    crumbs = [n for n in voxels[:-1] if n < 0.1 * voxels[-1]]
    assert kept == voxels[-1] + sum(crumbs)
    assert np.count_nonzero(found == IGNORE) == sum(voxels) - kept


def test_several_tumours_are_no_twins():
    labels = body((LIVER, 0, 12), (TUMOUR, 1, 4), (TUMOUR, 6, 9))
    np.testing.assert_array_equal(select(labels, sure(labels), limits()), labels)


def test_a_tumour_that_touches_no_organ_is_ignored():
    labels = body((LIVER, 0, 3), (TUMOUR, 6, 8))
    found = select(labels, sure(labels), limits())
    assert (found[labels == TUMOUR] == IGNORE).all()
    assert (found[labels == LIVER] == LIVER).all()


@pytest.mark.parametrize(("voxel_ml", "kept"), [(1.0, True), (0.1, False), (10.0, False)])
def test_an_organ_of_a_volume_that_no_patient_has_is_ignored(voxel_ml, kept):
    labels = body((LIVER, 0, 5))  # 125 voxels
    allowed = ((0.0, np.inf), (100.0, 150.0), *ANY[2:])
    found = select(labels, sure(labels), limits(volume_ml=allowed), voxel_ml)
    assert (found[labels == LIVER] == (LIVER if kept else IGNORE)).all()


def held_out(*pieces):
    """Return components of held-out cases: (label, probability, whether right)."""
    found = Pieces()
    for label, probability, right in pieces:
        labels = body((label, 0, 3))
        truth = labels if right else np.zeros_like(labels)
        found.add(truth, list(components(labels, sure(labels, probability))), (label,), 1.0)
    return found


def test_thresholds_by_the_stated_rule():
    rows = [(14, 0.95, True), (14, 0.9, True), (14, 0.8, False), (14, 0.7, True), (14, 0.2, False)]
    chosen = thresholds_of(held_out(*rows), 0.75)
    # 2 of 2, 2 of 3, 3 of 4 are right down to .7; 1 of 1 wrong up to .2, 1 of 2 up to .7
    assert chosen[14].keep == pytest.approx(0.7)
    assert 0.2 < chosen[14].drop < 0.2001
    assert (chosen[1].keep, chosen[1].drop) == (0.0, 0.0)


def test_a_class_is_judged_by_volume_where_that_keeps_more_of_what_is_right():
    found = Pieces()
    for label, size, probability, right in (
        (14, 4, 0.5, True), (14, 3, 0.5, True), (14, 1, 0.6, False), (14, 1, 0.5, False),
        (1, 4, 0.6, True), (1, 3, 0.5, False), (1, 2, 0.9, True),
    ):  # fmt: skip
        labels = body((label, 0, size))
        truth = labels if right else np.zeros_like(labels)
        found.add(truth, list(components(labels, sure(labels, probability))), (label,), 0.001)
    chosen = thresholds_of(found, 0.9)
    # Of the tumours none may be kept by probability, where the first is wrong; 64 and 27 voxels by
    # volume. Of the livers both right ones by probability, and only the largest by volume.
    assert (chosen[14].score, chosen[1].score) == ("probable_ml", "probability")
    assert chosen[14].keep == pytest.approx(27 * 0.001 * 0.5)
    assert chosen[1].keep == pytest.approx(0.6)


@pytest.mark.parametrize(("voxel_ml", "expected"), [(0.1, LIVER), (0.5, IGNORE), (1.0, TUMOUR)])
def test_a_score_in_ml_is_of_the_voxels_of_the_case(voxel_ml, expected):
    labels = body((LIVER, 0, 10), (TUMOUR, 4, 6))  # 8 voxels, half sure: 4 times voxel_ml
    probability = np.where(labels == TUMOUR, np.float32(0.5), np.float32(1))
    thresholds = limits(keep=3.0, drop=1.0, score="probable_ml")
    found = select(labels, probability, thresholds, voxel_ml)
    assert (found[labels == TUMOUR] == expected).all()


def test_what_is_never_right_is_never_kept():
    chosen = thresholds_of(held_out((14, 0.9, False), (14, 0.6, False)), 0.9)
    assert chosen[14].keep == np.inf
    assert chosen[14].drop == pytest.approx(0.9)


def test_a_component_is_right_if_half_of_it_is():
    labels, truth = body((TUMOUR, 0, 2)), body((TUMOUR, 0, 2))
    for wrong, expected in ((4, True), (5, False)):
        truth[:] = labels
        truth[np.unravel_index(np.flatnonzero(labels)[:wrong], labels.shape)] = 0
        found = Pieces()
        found.add(truth, list(components(labels, sure(labels))), (TUMOUR,), 1.0)
        assert found.right[TUMOUR] == [expected]


def test_only_classes_that_were_looked_for_count():
    labels = body((LIVER, 0, 4), (TUMOUR, 1, 3))
    found = Pieces()
    found.add(labels, list(components(labels, sure(labels))), (TUMOUR,), 0.5)
    assert (found.scores[LIVER], found.scores[TUMOUR]) == ([], [(1.0, 4.0)])
    assert (found.volumes_ml[LIVER], found.volumes_ml[TUMOUR]) == ([], [4.0])  # 8 voxels


def test_volumes_are_allowed_half_as_far_again():
    found = Pieces()
    for size in (2, 3):  # 8 and 27 ml
        labels = body((LIVER, 0, size))
        found.add(labels, [], (LIVER,), 1.0)
    assert thresholds_of(found, 0.9)[LIVER].volume_ml == pytest.approx((8 / 1.5, 27 * 1.5))
