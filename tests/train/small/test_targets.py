"""Who is believed where: experts, two sources, nobody."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imaging.organs import ORGANS
from tests.train.small.small_training import certain
from train.small.compact import UNKNOWN, SoftLabels
from train.small.targets import closed_liver, with_lesions, with_truth

LIVER, SPLEEN, STOMACH, DUODENUM = (
    ORGANS[name] for name in ("liver", "spleen", "stomach", "duodenum")
)
TUMOUR = ORGANS["tumour"]
MM = 2.5
SIDE = 30


def row(*values):
    return np.array(values, np.uint8).reshape(1, 1, -1)


TEACHER = SoftLabels(
    row(LIVER, LIVER, SPLEEN, DUODENUM, DUODENUM, STOMACH),
    row(0, SPLEEN, LIVER, STOMACH, 0, 0),
    row(200, 200, 200, 200, 200, 200),
)
EXPERTS = row(LIVER, 0, 0, STOMACH, 0, STOMACH)


def test_an_annotated_organ_is_where_it_was_annotated_and_nowhere_else():
    merged = with_truth(TEACHER, EXPERTS)
    assert merged.first.ravel().tolist() == [LIVER, 0, SPLEEN, STOMACH, DUODENUM, STOMACH]
    assert merged.second.ravel().tolist() == [LIVER, SPLEEN, 0, STOMACH, 0, STOMACH]
    assert merged.share.ravel().tolist() == [255, 200, 200, 255, 200, 255]


def test_a_duodenum_annotated_as_stomach_is_what_the_teacher_says_within_it():
    merged = with_truth(TEACHER, EXPERTS, duodenum_in_stomach=True)
    assert merged.first.ravel().tolist() == [LIVER, 0, SPLEEN, DUODENUM, 0, STOMACH]
    assert merged.share.ravel().tolist() == [255, 200, 200, 255, 200, 255]


LABELS = arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 14))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(LABELS, LABELS, LABELS)
def test_of_any_case_annotated_organs_are_the_experts_and_others_the_teachers(first, second, truth):
    merged = with_truth(SoftLabels(first, second, np.full(first.shape, 180, np.uint8)), truth)
    annotated = set(np.unique(truth)) - {0}
    for label in range(1, 15):
        if label in annotated:
            np.testing.assert_array_equal(merged.first == label, truth == label)
            assert not (merged.second == label)[truth != label].any()
        else:
            np.testing.assert_array_equal(merged.first == label, (first == label) & (truth == 0))


@pytest.fixture
def abdomen():
    """A liver of 100 HU in a cube of fat, 20 voxels wide, with a spleen that touches it."""
    labels = np.zeros((SIDE,) * 3, np.uint8)
    labels[5:25, 5:25, 5:25] = LIVER
    labels[5:25, 5:25, 25:28] = SPLEEN
    hu = np.where(labels > 0, 100, -100).astype(np.float32)
    return hu, labels


def distance(start, stop):
    """Return each voxel's distance to the cube start:stop in every axis, in voxels."""
    steps = np.arange(SIDE)
    apart = np.maximum(0, np.maximum(start - steps, steps - stop + 1))
    z, y, x = np.meshgrid(apart, apart, apart, indexing="ij")
    return np.sqrt(z**2 + y**2 + x**2)


def test_a_found_lesion_is_taught_and_its_rim_is_unknown(abdomen):
    hu, labels = abdomen
    away = distance(13, 16)
    merged = with_lesions(certain(labels), hu, away == 0, MM)
    assert (merged.first[away == 0] == TUMOUR).all()
    assert (merged.second[away == 0] == TUMOUR).all()
    assert (merged.share[away == 0] == 255).all()
    rim = (away > 0) & (away <= 2)  # 5 mm
    assert (merged.first[rim] == UNKNOWN).all()
    rest = ~rim & (away > 0)
    np.testing.assert_array_equal(merged.first[rest], labels[rest])


def test_a_lesion_beside_another_organ_leaves_it_alone(abdomen):
    hu, labels = abdomen
    lesions = np.zeros(labels.shape, bool)
    lesions[12:15, 12:15, 23:27] = True  # two voxels of it lie in the spleen
    merged = with_lesions(certain(labels), hu, lesions, MM)
    assert (merged.first[labels == SPLEEN] == SPLEEN).all()
    assert (merged.first[lesions & (labels == LIVER)] == TUMOUR).all()


def test_where_the_second_source_is_silent_only_odd_parts_and_holes_are_unknown(abdomen):
    hu, labels = abdomen
    odd, hole = distance(9, 15), distance(19, 21)
    hu[odd == 0] = 60
    labels[hole == 0] = 0
    merged = with_lesions(certain(labels), hu, np.zeros(labels.shape, bool), MM)
    unknown = merged.first == UNKNOWN
    assert unknown[10:14, 10:14, 10:14].all()
    assert unknown[hole == 0].all()
    assert not (unknown & (odd > 1) & (hole > 0)).any()
    np.testing.assert_array_equal(merged.first[~unknown], labels[~unknown])


def test_without_a_liver_nothing_changes(abdomen):
    hu, labels = abdomen
    labels[labels == LIVER] = 0
    merged = with_lesions(certain(labels), hu, np.zeros(labels.shape, bool), MM)
    np.testing.assert_array_equal(merged.first, labels)


def test_holes_and_narrow_gaps_of_a_liver_are_closed_and_wide_ones_are_not():
    liver = np.zeros((SIDE, SIDE, 40), bool)
    liver[:, :, 2:10] = liver[:, :, 15:20] = liver[:, :, 34:] = True  # gaps of 5 and 14 voxels
    liver[14:16, 14:16, 5:7] = False
    closed = closed_liver(liver, MM)
    assert closed[14:16, 14:16, 5:7].all()
    assert closed[10:20, 10:20, 10:15].all()
    assert not closed[:, :, 21:33].any()
    assert closed[liver].all()


@pytest.mark.parametrize("mm", [1.0, 2.5, 20.0])
def test_a_box_at_the_edge_of_the_ct_does_not_grow(mm):
    liver = np.zeros((16, 17, 18), bool)
    liver[:9, 8:, 3:12] = True
    np.testing.assert_array_equal(closed_liver(liver, mm), liver)
    assert not closed_liver(np.zeros_like(liver), mm).any()
