import numpy as np
import pytest

from imaging.errors import KitError
from train.pseudo_labels.fusion import ORGAN_LABELS, staple
from train.pseudo_labels.reliability import CLASSES, Evidence
from train.pseudo_labels.staple import KnownStaple

LIVER, TUMOUR = 1, 14
ALL = sorted(ORGAN_LABELS | {TUMOUR})


def patient():
    """Return a liver of 8 x 8 x 8 voxels in 12 x 12 x 12, a tumour of 4 x 4 x 4 in its middle."""
    truth = np.zeros((12, 12, 12), np.uint8)
    truth[2:10, 2:10, 2:10] = LIVER
    truth[4:8, 4:8, 4:8] = TUMOUR
    return truth


def blind(truth):
    return np.where(truth == TUMOUR, np.uint8(LIVER), truth)


def known(*says):
    """Return STAPLE of sources that say `says` of the patient, who is held out."""
    evidence = Evidence(len(says))
    evidence.add(patient(), says, ALL)
    return KnownStaple(evidence)


def test_one_source_that_sees_wins_over_two_that_were_counted_as_blind():
    truth = patient()
    maps = (truth, blind(truth), blind(truth))
    # Two of three never saw a tumour: without held-out cases they are believed.
    assert TUMOUR not in staple(*maps)
    found, probability = known(*maps).apply(*maps)
    np.testing.assert_array_equal(found, truth)
    assert probability.dtype == np.float32 and probability.min() > 0.9


def test_the_estimate_by_hand():
    # One source, which calls everything liver. Of the known case's 1728 voxels 1216 are background,
    # 448 liver, 64 tumour; sums are over 15 classes with one voxel each beside what is counted.
    evidence = Evidence(1)
    truth = patient()
    always = np.full_like(truth, LIVER)
    evidence.add(truth, [always], ALL)
    found, probability = KnownStaple(evidence).apply(always)
    # "liver" is all that it ever says, so its word tells nothing: the shares remain.
    shares = evidence.shares()
    assert shares[0] == pytest.approx(
        (1 - 65 / (1728 + CLASSES)) * 1217 / (1217 + 449 + 12), rel=0.02
    )
    assert (found == 0).all()
    assert probability[0, 0, 0] == pytest.approx(shares[0], rel=0.02)


def test_a_source_that_is_wrong_in_this_case_alone_is_not_believed_for_long():
    truth = patient()
    right = known(truth, truth, truth)
    shifted = np.roll(truth, 3, axis=2)
    found, _ = right.apply(truth, truth, shifted)
    np.testing.assert_array_equal(found, truth)


def test_another_number_of_maps_is_refused():
    truth = patient()
    with pytest.raises(KitError, match="2 label maps, and the fusion is not of so many sources"):
        known(truth, truth, truth).apply(truth, truth)
