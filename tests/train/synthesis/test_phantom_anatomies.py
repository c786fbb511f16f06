import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data.anatomy import BOWEL, Anatomy
from train.synthesis import contrast
from train.synthesis.phantom_anatomies import IGNORE, laid_into
from train.synthesis.registration import Bend, LabelledCT

SHAPE = (20, 24, 28)


@pytest.fixture
def ct():
    """Fat everywhere, a liver of 100 HU, a stomach of 40 HU with gas in it."""
    hu = np.full(SHAPE, -100, dtype=np.float32)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[4:16, 4:16, 2:14], labels[4:16, 4:16, 18:26] = 1, 11
    hu[labels == 1], hu[labels == 11] = 100, 40
    hu[10:12, 8:10, 20:23] = -900
    return LabelledCT(hu, labels)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_phases_are_plausible_and_kidneys_alike():
    sampled = [contrast.organ_means(rng(seed)) for seed in range(200)]
    aorta = np.array([means[5] for means in sampled])
    assert aorta.min() < 70 and aorta.max() > 230  # native and arterial both occur
    assert max(abs(m[2] - m[13]) for m in sampled) < 25


def test_noise_has_unit_variance_and_wide_grains():
    noise = contrast.grainy_noise(rng(), (30, 30, 30), 6)
    assert noise.std() == pytest.approx(1, abs=1e-3)
    assert np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1] > 0.9


def test_tumours_stay_inside_their_organs(ct):
    labels = ct.labels.copy()
    contrast.add_tumours(ct.hu.copy(), labels, 3.0, rng(1))
    grown = labels == contrast.TUMOUR
    assert grown.any()
    assert set(np.unique(ct.labels[grown])) <= {1, 11}
    np.testing.assert_array_equal(labels[~grown], ct.labels[~grown])


def identity(shape, drop=0):
    field = np.indices(shape).astype(np.float32)
    field[0] += drop
    return Bend(field, 1.0, stride=1)


def test_slices_that_the_source_does_not_reach_are_left_out(ct):
    target = Anatomy(np.zeros((60, 24, 28), dtype=np.uint8), ())
    case = laid_into(ct, target, identity((60, 24, 28), drop=-30), None, rng())
    # Source slices -30..29: of the first 29 (place < -1) and those after the 51st (place > 20) the
    # 24 next to the source's own are kept.
    assert case.hu.shape == (60 - 5, 24, 28)


def test_annotated_organs_replace_bent_ones_and_unknown_ones_stay(ct):
    annotated = np.zeros(SHAPE, dtype=np.uint8)
    annotated[4:16, 4:16, 4:16], annotated[1:3, 1:5, 1:5] = 1, BOWEL
    target = Anatomy(annotated, (1, BOWEL))
    case = laid_into(ct, target, identity(SHAPE), None, rng())
    np.testing.assert_array_equal(case.labels == 1, annotated == 1)
    np.testing.assert_array_equal(case.labels == 11, ct.labels == 11)
    assert case.labels.max() <= IGNORE


def test_tumours_are_as_large_in_mm_whatever_the_voxels():
    liver = np.ones((72, 72, 72), np.uint8)
    filled = LabelledCT(np.full(liver.shape, 100, np.float32), liver)
    target = Anatomy(np.zeros_like(liver), ())
    ml = {}
    for mm in (3.0, 1.5):
        bend = identity(liver.shape)
        grown = (laid_into(filled, target, bend, mm, rng(seed)).labels for seed in (3, 4, 5, 7))
        ml[mm] = sum(np.count_nonzero(labels == 14) for labels in grown) * mm**3 / 1000
    # other lumps, and a smaller liver; a radius in voxels of 3 mm would give an eighth
    assert ml[1.5] == pytest.approx(ml[3.0], rel=0.4)


@given(st.integers(1, 40), st.integers(2, 5))
def test_thick_slices_are_means_of_the_slices_they_hold(slices, factor):
    hu = np.broadcast_to(np.arange(slices, dtype=np.float32)[:, None, None], (slices, 2, 2))
    thick = contrast.thick_slices(np.ascontiguousarray(hu), factor)
    for place in range(slices):
        start = place - place % factor
        inside = np.arange(start, min(start + factor, slices))
        assert thick[place, 0, 0] == pytest.approx(inside.mean())
