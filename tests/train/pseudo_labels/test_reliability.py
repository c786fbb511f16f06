import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imaging.errors import GeometryError, KitError
from train.data.anatomy import IGNORE
from train.pseudo_labels.reliability import WORDS, Evidence, fusion_of, joint_words, words

ALL = tuple(range(1, 15))
EDGE = WORDS // 2


def volume(*labels):
    return np.array([[labels]], np.uint8)


def test_a_word_is_a_label_and_whether_it_is_at_an_edge():
    expected = volume(1, 1 + EDGE, 2 + EDGE, 2 + EDGE, 0 + EDGE, 0)
    np.testing.assert_array_equal(words(volume(1, 1, 2, 2, 0, 0)), expected)


def test_a_source_with_uncertainty_needs_no_edges():
    unsure = np.array([[[False, True, False]]])
    np.testing.assert_array_equal(words(volume(1, 1, 2), unsure), volume(1, 1 + EDGE, 2))
    # the first tells, the second has an edge in both voxels
    joint = joint_words([volume(3, 3), volume(5, 6)], [np.array([[[True, False]]]), None])
    first = [(3 + EDGE) * WORDS + 5 + EDGE, 3 * WORDS + 6 + EDGE]
    np.testing.assert_array_equal(joint, [[first]])
    with pytest.raises(ValueError, match="zip"):
        joint_words([volume(3), volume(5)], [None])


def test_edges_are_seen_along_every_axis():
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[1, 1, 1] = 3
    edges = words(labels) >= EDGE
    assert edges.sum() == 7  # the voxel and its six neighbours


@given(arrays(np.uint8, (2, 3, 4), elements=st.integers(0, IGNORE)))
def test_the_label_can_be_had_back(labels):
    np.testing.assert_array_equal(words(labels) % EDGE, labels)


def test_what_two_sources_say_is_one_number():
    # no edges: 3 * 32 + 5
    assert (
        joint_words([np.full((2, 2, 2), 3, np.uint8), np.full((2, 2, 2), 5, np.uint8)]) == 101
    ).all()


@pytest.mark.parametrize(
    ("maps", "error", "complaint"),
    [
        ([], KitError, "0 sources; fusion by reliability takes 1 to 4"),
        ([volume(1)] * 5, KitError, "5 sources; fusion by reliability takes 1 to 4"),
        ([volume(1), volume(1, 1)], GeometryError, "give maps of one CT"),
    ],
)
def test_maps_that_do_not_fuse(maps, error, complaint):
    with pytest.raises(error, match=complaint):
        joint_words(maps)


def test_recall_and_precision_of_a_source():
    evidence = Evidence(1)
    truth = volume(1, 1, 1, 1, 0, 0, 2, 2)
    predicted = volume(1, 1, 1, 0, 1, 0, 2, 1)
    evidence.add(truth, [predicted], ALL)
    recall, precision = evidence.recall_of(0), evidence.precision_of(0)
    # liver: 3 of 4 found; called so 5 times, 3 right. Kidney: 1 of 2 found; called so once, right
    assert (recall[1], precision[1]) == (3 / 4, 3 / 5)
    assert (recall[2], precision[2]) == (1 / 2, 1.0)
    assert np.isnan(recall[3])


def test_what_nobody_looked_for_is_not_counted():
    evidence = Evidence(1)
    # Only the liver was looked for: the source's kidney may be one, but it is no liver.
    evidence.add(volume(1, 0, 0), [volume(1, 2, 1)], (1,))
    assert evidence.seen[1].sum() == 3
    assert evidence.true[1].sum() == 1
    assert evidence.seen[0].sum() == evidence.seen[2].sum() == 0
    assert evidence.precision_of(0)[1] == 1 / 2


def test_what_the_truth_ignores_is_not_counted():
    evidence = Evidence(1)
    evidence.add(volume(1, IGNORE), [volume(1, 1)], ALL)
    assert evidence.seen[1].sum() == 1


def test_a_case_can_be_taken_out_again():
    evidence = Evidence(2)
    cases = [(volume(1, 1, 0, 0), [volume(1, 0, 0, 0), volume(1, 1, 1, 0)], ALL)]
    cases.append((volume(2, 2, 0, 0), [volume(2, 1, 0, 0), volume(2, 2, 1, 0)], ALL))
    for case in cases:
        evidence.add(*case)
    evidence.add(*cases[1], sign=-1)
    alone = Evidence(2)
    alone.add(*cases[0])
    np.testing.assert_array_equal(evidence.true, alone.true)
    np.testing.assert_array_equal(evidence.seen, alone.seen)


def block(label, size=12):
    """Return a cube of one label, so large that most of it is no edge."""
    return np.full((size, size, size), label, np.uint8)


def test_a_source_that_knows_no_tumour_cannot_vouch_for_its_absence():
    tumour, liver = 14, 1
    truth = np.concatenate([block(liver), block(tumour)])
    seeing, blind = truth, np.concatenate([block(liver), block(liver)])
    evidence = Evidence(3)
    evidence.add(truth, [seeing, blind, blind], ALL)
    found, probability = fusion_of(evidence).apply(seeing, blind, blind)
    np.testing.assert_array_equal(found, truth)
    assert probability[18, 6, 6] > 0.9  # two of three say liver there


def test_the_probability_of_what_was_often_seen_is_how_often_it_was_true():
    # inside its liver a source is right in three voxels of four, and nothing else is counted there
    truth, predicted = block(1, 40), block(1, 40)
    truth[:10] = 3
    evidence = Evidence(1)
    evidence.add(truth, [predicted], ALL)
    found, probability = fusion_of(evidence).apply(predicted)
    assert (found == 1).all()
    assert probability[20, 20, 20] == pytest.approx(3 / 4, abs=1e-3)


def test_a_source_is_believed_inside_and_not_at_its_edge():
    truth = block(0, 20)
    truth[5:15, 5:15, 5:15] = 1
    grown = block(0, 20)
    grown[4:16, 4:16, 4:16] = 1
    evidence = Evidence(1)
    evidence.add(truth, [grown], ALL)
    np.testing.assert_array_equal(fusion_of(evidence).apply(grown)[0], truth)


def test_probabilities_of_independent_sources_are_probabilities():
    evidence = Evidence(2)
    evidence.add(volume(1, 1, 2, 0), [volume(1, 2, 2, 0), volume(1, 1, 1, 0)], ALL)
    chances = evidence.independent()
    np.testing.assert_allclose(chances[:14].sum(axis=0), 1)  # of what is no tumour
    assert ((chances >= 0) & (chances <= 1)).all()


def test_organs_annotated_without_tumours_do_not_outweigh_tumours_annotated_alone():
    # In cases without tumours whatever the sources call one is liver; where tumours were annotated
    # it is one in three voxels of four.
    liver, tumour = 1, 14
    calls = block(tumour)
    evidence = Evidence(1)
    for _ in range(9):
        evidence.add(block(liver), [calls], tuple(range(1, 14)))
    truth = block(0)
    truth[:9] = tumour  # 9 of 12 slices; of the rest nothing is known but that it is no tumour
    evidence.add(truth, [calls], (tumour,))
    found, probability = fusion_of(evidence).apply(calls)
    assert (found == tumour).all()
    assert probability[6, 6, 6] == pytest.approx(3 / 4, abs=0.01)


def test_a_fusion_of_two_does_not_take_three():
    with pytest.raises(KitError, match="3 label maps, and the fusion is not of so many"):
        fusion_of(Evidence(2)).apply(volume(1), volume(1), volume(1))


def test_a_tumour_is_called_one_where_that_helps_dsc_though_it_is_seldom_right():
    # Two slices of five that the source calls tumour are one: DSC 2 * 2 / (5 + 2) with them.
    truth, predicted = block(1, 10), block(1, 10)
    predicted[:5], truth[1:3] = 14, 14
    evidence = Evidence(1)
    evidence.add(truth, [predicted], ALL)
    found, probability = fusion_of(evidence).apply(predicted)
    assert (found[:4] == 14).all()  # all inside, where it is right in two slices of four
    assert probability[1, 5, 5] == pytest.approx(0.5, abs=0.02)


def test_what_no_source_calls_a_tumour_is_none_however_dsc_would_gain():
    truth, blind = block(1, 10), block(1, 10)
    truth[:3] = 14
    evidence = Evidence(1)
    evidence.add(truth, [blind], ALL)
    assert (fusion_of(evidence).apply(blind)[0] == 1).all()
