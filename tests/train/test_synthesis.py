import numpy as np
import pytest
import SimpleITK as sitk

from train import contrast
from train.anatomy import BOWEL, Anatomy
from train.raw import write_dataset
from train.registration import Bend
from train.synthesis import IGNORE, LabelledCT, Shares, bent, mask_lesions, repaint, synthesize

SHAPE = (20, 24, 28)
NOTHING = Shares(drawn=0.0, tumour=0.0, recolor=0.0)


@pytest.fixture
def ct():
    """Fat everywhere, a liver of 100 HU, a stomach of 40 HU with gas in it."""
    hu = np.full(SHAPE, -100, dtype=np.float32)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[4:16, 4:16, 2:14], labels[4:16, 4:16, 18:26] = 1, 11
    hu[labels == 1], hu[labels == 11] = 100, 40
    hu[10:12, 8:10, 20:23] = -900
    return LabelledCT("made", hu, labels)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_recolor_moves_an_organ_to_its_mean_and_leaves_gas():
    hu = np.where(np.arange(1000).reshape(10, 10, 10) % 2, 90.0, 110.0).astype(np.float32)
    hu[0, 0, 0] = -900
    labels = np.ones((10, 10, 10), dtype=np.uint8)
    changed = contrast.recolor(hu, labels, {1: 50.0}, rng())
    inner = changed[3:7, 3:7, 3:7]
    assert np.median(changed) == pytest.approx(50, abs=11)
    assert inner.max() - inner.min() == pytest.approx(20, abs=0.1)  # texture kept
    assert changed[0, 0, 0] == -900


def test_phases_are_plausible_and_kidneys_alike():
    drawn = [contrast.phase_means(rng(seed)) for seed in range(200)]
    aorta = np.array([means[5] for means in drawn])
    assert aorta.min() < 70 and aorta.max() > 230  # native and arterial both occur
    assert max(abs(m[2] - m[13]) for m in drawn) < 25


def test_noise_has_unit_variance_and_wide_grains():
    noise = contrast.smooth_noise(rng(), (30, 30, 30), 6)
    assert noise.std() == pytest.approx(1, abs=1e-3)
    assert np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1] > 0.9


def test_tumours_stay_inside_their_organs(ct):
    labels = ct.labels.copy()
    contrast.add_tumours(ct.hu.copy(), labels, 3.0, rng(1))
    grown = labels == contrast.TUMOUR
    assert grown.any()
    assert set(np.unique(ct.labels[grown])) <= {1, 11}
    np.testing.assert_array_equal(labels[~grown], ct.labels[~grown])


def test_dark_spots_of_the_liver_are_ignored_and_nothing_else(ct):
    ct.hu[8:12, 8:12, 6:10] = 40
    masked = mask_lesions(ct)
    ignored = masked.labels == IGNORE
    assert ignored[9:11, 9:11, 7:9].all()
    assert ignored[ct.labels != 1].sum() == 0
    assert ignored.sum() <= 6**3


def test_without_treatment_labels_stay_and_hu_stay_near(ct):
    changed = repaint(ct, NOTHING, rng(4))
    np.testing.assert_array_equal(changed.labels, ct.labels)
    assert np.median(changed.hu[8:12, 8:12, 6:10]) == pytest.approx(100, abs=20)


def identity(shape, drop=0):
    field = np.indices(shape).astype(np.float32)
    field[0] += drop
    return Bend(field, field, 1.0)


def test_slices_that_the_source_does_not_reach_are_left_out(ct):
    target = Anatomy("t", np.zeros(SHAPE, dtype=np.uint8), ())
    case = bent(ct, target, identity(SHAPE, drop=-6), NOTHING, rng())
    # Source slices -6..13: the first five (place < -1) are not there.
    assert case.hu.shape == (15, 24, 28)


def test_drawn_organs_replace_bent_ones_and_unknown_ones_stay(ct):
    drawn = np.zeros(SHAPE, dtype=np.uint8)
    drawn[4:16, 4:16, 4:16], drawn[1:3, 1:5, 1:5] = 1, BOWEL
    target = Anatomy("t", drawn, (1, BOWEL))
    case = bent(ct, target, identity(SHAPE), Shares(1.0, 0.0, 0.0), rng())
    np.testing.assert_array_equal(case.labels == 1, drawn == 1)
    np.testing.assert_array_equal(case.labels == 11, ct.labels == 11)
    assert case.labels.max() <= IGNORE


def test_cases_depend_on_the_seed_and_not_on_the_order(ct, tmp_path):
    other = LabelledCT("other", ct.hu + 5, ct.labels)
    shares = Shares(0.5, 0.5, 0.5)
    first = list(synthesize([ct, other], [], (2, 0), shares, 7))
    again = list(synthesize([ct, other], [], (2, 0), shares, 7))
    assert [c.name for c in first] == [
        "made", "made_r00", "made_r01", "other", "other_r00", "other_r01",
    ]  # fmt: skip
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.hu, two.hu)
    assert not np.array_equal(first[1].hu, first[2].hu)


def test_the_raw_dataset_is_nnunets(ct, tmp_path):
    import json

    count = write_dataset([ct], tmp_path / "Dataset023_x", 3.0)
    description = json.loads((tmp_path / "Dataset023_x" / "dataset.json").read_text())
    assert (count, description["numTraining"]) == (1, 1)
    assert description["labels"]["ignore"] == 15
    assert description["labels"]["left kidney"] == 13
    image = sitk.ReadImage(str(tmp_path / "Dataset023_x" / "imagesTr" / "made_0000.nii.gz"))
    assert image.GetSpacing() == (3.0, 3.0, 3.0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), ct.hu.astype(np.int16))
