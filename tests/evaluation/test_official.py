import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation.profiles.profile import FLARE23
from evaluation.scoring.official import (
    LOW_DSC_2023,
    ONE_SLICE,
    as_int8,
    means,
    score_labels,
)
from evaluation.scoring.scores import CaseScores
from imaging.organs import ORGANS
from tests.evaluation import plain_flare23
from tests.evaluation.maps import box

PAIRS = 300
SPACINGS_MM = [
    0.6,
    0.7,
    0.8,
    1.0,
    1.2,
    1.5,
    2.0,
    2.5,
    5.0,
]
"""Five times 0.6 is 3 mm, but not quite; so with 1.2."""


@st.composite
def label_maps(draw, shape):
    """Boxes, single voxels, single slices and nothing, also at the border and inside each other."""
    labels = np.zeros(shape, np.uint8)
    wanted = draw(st.lists(st.integers(1, 14), max_size=6))
    for label in wanted:
        kind = draw(st.sampled_from(["box", "box", "box", "voxel", "slice"]))
        place = []
        for axis, n in enumerate(shape):
            start = draw(st.integers(0, n - 1))
            long = kind == "box" or (kind == "slice" and axis > 0)
            stop = draw(st.integers(start + 1, n)) if long else start + 1
            place.append(slice(start, stop))
        labels[tuple(place)] = label
    return labels


@st.composite
def pairs(draw):
    """A truth, a prediction that is it changed a little or something else, and voxel sizes."""
    shape = tuple(draw(st.integers(1, 9)) for _ in range(3))
    truth = draw(label_maps(shape))
    kind = draw(st.sampled_from(["shifted", "flipped", "eaten", "other", "same"]))
    pred = truth.copy()
    if kind == "shifted":
        shift = tuple(draw(st.integers(-2, 2)) for _ in range(3))
        pred = np.roll(truth, shift, (0, 1, 2))
    elif kind == "flipped":
        pred = np.flip(truth, draw(st.sampled_from([0, 1, 2]))).copy()
    elif kind == "eaten":
        pred[np.random.default_rng(draw(st.integers(0, 9))).random(shape) < 0.15] = 0
    elif kind == "other":
        pred = draw(label_maps(shape))
    if draw(st.booleans()):  # a tumour inside whatever is there
        z, y, x = (n // 2 for n in shape)
        truth[z : z + 2, y : y + 2, x : x + 2] = 14
        pred[z : z + 2, y : y + 1, x : x + 2] = 14
    spacing_mm = tuple(float(np.float32(draw(st.sampled_from(SPACINGS_MM)))) for _ in range(3))
    return truth, pred, spacing_mm


def plainly(truth, pred, spacing_mm, low_dsc=FLARE23.low_dsc):
    """Score by the transcription: its arrays are int8 [X, Y, Z], its spacing float32."""
    zooms = tuple(np.float32(mm) for mm in reversed(spacing_mm))
    return plain_flare23.score_arrays(
        truth.T.astype(np.int8), pred.T.astype(np.int8), zooms, low_dsc
    )


def assert_equal_to_the_digit(truth, pred, spacing_mm, low_dsc=FLARE23.low_dsc):
    ours = score_labels(truth, pred, spacing_mm, low_dsc)
    crashed = {organ for organ, score in ours.items() if score.note == ONE_SLICE}
    tubes = {organ: ORGANS[organ] for organ in crashed}
    for label in tubes.values():  # the script would end here; score the rest without it
        truth, pred = (np.where(m == label, 0, m) for m in (truth, pred))
    theirs = plainly(truth, pred, spacing_mm, low_dsc)
    for (organ, score), expected in zip(ours.items(), theirs, strict=True):
        if organ not in crashed:
            assert (score.dsc, score.nsd) == expected, organ


@settings(max_examples=PAIRS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pair=pairs(), low_dsc=st.sampled_from([FLARE23.low_dsc, LOW_DSC_2023]))
def test_equals_the_transcription_on_generated_pairs(pair, low_dsc):
    assert_equal_to_the_digit(*pair, low_dsc)


def real_maps(data_dir):
    truths = sorted((data_dir / "truth").glob("*.nii.gz"))
    labels = [
        *(data_dir / "labels").glob("*0013*.nii.gz"),
        *(data_dir / "labels" / "word").glob("*"),
    ]
    return [*truths, *sorted(labels)]


@pytest.mark.data
@pytest.mark.slow
def test_equals_the_transcription_on_every_real_map(data_dir):
    paths = real_maps(data_dir)
    assert len(paths) >= 30
    for number, path in enumerate(paths):
        image = sitk.ReadImage(str(path))
        truth = sitk.GetArrayFromImage(image).astype(np.uint8)
        step = max(1, round(max(truth.shape) / 160))  # every voxel of small maps; big ones thinned
        truth = np.ascontiguousarray(truth[:, ::step, ::step])
        pred = np.roll(truth, (number % 3 - 1, number % 2, 1), (0, 1, 2))
        x, y, z = (float(np.float32(mm)) for mm in image.GetSpacing())
        assert_equal_to_the_digit(truth, pred, (z, y * step, x * step))


LIVER, AORTA, ADRENAL, TUMOUR = "liver", "aorta", "right adrenal gland", "tumour"
GRID = (12, 12, 12)
MM = (1.0, 1.0, 1.0)


def scored(truth, pred, organ, spacing_mm=MM, low_dsc=FLARE23.low_dsc):
    score = score_labels(truth, pred, spacing_mm, low_dsc)[organ]
    return score.dsc, score.nsd


class TestByHand:
    """Ten cases small enough for pencil and paper."""

    def test_neither_map_has_it(self):
        nothing = np.zeros(GRID, np.uint8)
        assert scored(nothing, nothing, LIVER) == (1, 1)

    def test_only_the_truth_has_it(self):
        truth = box(GRID, (2, 6), (2, 6), (2, 6))
        assert scored(truth, np.zeros(GRID, np.uint8), LIVER) == (0, 0)

    def test_only_the_prediction_has_it(self):
        pred = box(GRID, (2, 6), (2, 6), (2, 6))
        assert scored(np.zeros(GRID, np.uint8), pred, LIVER) == (0, 0)

    def test_half_overlapping_boxes(self):
        # |A| = |B| = 4*4*4 = 64, |A and B| = 2*4*4 = 32 -> 2*32 / 128 = 1/2. Liver: 5 mm, and no
        # surface of one box is more than 2 mm from the other's.
        truth, pred = box(GRID, (2, 6), (2, 6), (2, 6)), box(GRID, (4, 8), (2, 6), (2, 6))
        assert scored(truth, pred, LIVER) == (0.5, 1)

    def test_surfaces_farther_than_the_tolerance(self):
        # Single voxels 3 mm apart on one axis: each is a surface of 8 corners. DSC 0 is under the
        # threshold, so a pair that overlaps is needed: a line of 10 voxels and its first 5.
        # DSC = 2*5 / 15 = 0.6667. Adrenal: 2 mm. Corners lie at z = 0..10 (44 in all, four a
        # plane) and 0..5 (24). Truth corners at z = 8, 9, 10 are 3, 4, 5 mm from the other's end.
        # Area by marching cubes, unit spacing: sqrt(2)/2 at a corner on the line's edge (two of
        # its eight voxels inside), sqrt(3)/8 at its tip (one inside).
        edge, tip = math.sqrt(2) / 2, math.sqrt(3) / 8
        truth = box(GRID, (1, 11), (5, 6), (5, 6), 7)
        pred = box(GRID, (1, 6), (5, 6), (5, 6), 7)
        near = 4 * tip + 4 * 7 * edge  # truth: one end and planes 1 to 7
        whole_truth, whole_pred = 8 * tip + 4 * 9 * edge, 8 * tip + 4 * 4 * edge
        expected = (near + whole_pred) / (whole_truth + whole_pred)
        assert scored(truth, pred, ADRENAL) == (0.6667, round(expected, 4))

    def test_last_slice_of_the_aorta_does_not_count(self):
        # Truth on slices 2 to 9; the prediction lacks slice 9 and is whole by the script's rules.
        truth, pred = box(GRID, (2, 10), (4, 8), (4, 8), 5), box(GRID, (2, 9), (4, 8), (4, 8), 5)
        assert scored(truth, pred, AORTA) == (1, 1)

    def test_first_slice_of_the_aorta_counts(self):
        # Slices 2 to 8 count: 7 of truth, 6 of the prediction -> 2*6 / 13 = 0.9231
        truth, pred = box(GRID, (2, 10), (4, 8), (4, 8), 5), box(GRID, (3, 10), (4, 8), (4, 8), 5)
        assert scored(truth, pred, AORTA)[0] == 0.9231

    def test_aorta_predicted_outside_the_labelled_slices_is_forgiven(self):
        truth, pred = box(GRID, (4, 8), (4, 8), (4, 8), 5), box(GRID, (0, 12), (4, 8), (4, 8), 5)
        assert scored(truth, pred, AORTA) == (1, 1)

    def test_aorta_on_one_slice_ends_the_script(self):
        truth, pred = box(GRID, (4, 5), (4, 8), (4, 8), 5), box(GRID, (4, 5), (4, 8), (4, 8), 5)
        score = score_labels(truth, pred, MM)[AORTA]
        assert (score.dsc, score.nsd, score.note) == (None, None, ONE_SLICE)
        with pytest.raises(ValueError, match="5"):
            plainly(truth, pred, MM)

    def test_low_overlap_makes_the_nsd_zero_since_2024(self):
        # |A| = |B| = 10 voxels of a line that share one: 2*1 / 20 = 0.1, not under 0.1, under 0.2.
        line = (40, 4, 4)
        truth, pred = (
            box(line, (5, 15), (1, 2), (1, 2), 14),
            box(line, (14, 24), (1, 2), (1, 2), 14),
        )
        assert scored(truth, pred, TUMOUR, low_dsc=FLARE23.low_dsc) == (0.1, 0)
        dsc, nsd = scored(truth, pred, TUMOUR, low_dsc=LOW_DSC_2023)
        # Each line has 11 planes of corners, 0 to 10. Planes 7 to 9 of the truth lie at most 2 mm
        # (the tumour's tolerance) from the other's first, at 9; plane 10 is a tip. So the other.
        edge, tip = math.sqrt(2) / 2, math.sqrt(3) / 8
        assert dsc == 0.1
        assert nsd == round((3 * edge + tip) / (9 * edge + 2 * tip), 4)


def test_distance_equal_to_the_tolerance_counts_only_if_it_is_not_longer():
    # Five voxels of 0.6 mm are 3 mm in floats of 32 bits, but 3.00000012 mm in the script's 64.
    line = (20, 3, 3)
    truth, pred = box(line, (2, 12), (1, 2), (1, 2), 2), box(line, (2, 7), (1, 2), (1, 2), 2)
    spacing_mm = (float(np.float32(0.6)), 1.0, 1.0)
    exact = scored(truth, pred, "right kidney", spacing_mm)
    shorter = scored(truth, pred, "right kidney", (0.5999, 1.0, 1.0))
    assert exact[1] < shorter[1] == 1


def test_tumour_inside_an_organ_takes_its_voxels():
    # Liver 4*4*4 with a tumour of 2*2*2 cut out in the truth alone: 2*56 / (56 + 64) = 0.9333
    truth, pred = box(GRID, (2, 6), (2, 6), (2, 6)), box(GRID, (2, 6), (2, 6), (2, 6))
    truth[3:5, 3:5, 3:5] = 14
    scores = score_labels(truth, pred, MM)
    assert scores[LIVER].dsc == 0.9333
    assert (scores[TUMOUR].dsc, scores[TUMOUR].note) == (0, "not predicted")


def test_labels_beyond_fourteen_are_background():
    truth = box(GRID, (2, 6), (2, 6), (2, 6))
    pred = truth.copy()
    pred[9:] = 200
    assert scored(truth, pred, LIVER) == (1, 1)


@pytest.mark.parametrize(
    ("stored", "label"),
    [
        (np.float32(13.9), 13),
        (np.float64(0.999), 0),
        (np.uint16(270), 14),
        (np.int16(3), 3),
        (np.int32(-1), 255),
        (np.uint8(14), 14),
    ],
)
def test_stored_numbers_are_cut_to_int8(stored, label):
    assert as_int8(np.array([stored]))[0] == label
    if 0 <= stored < 128:
        assert np.array([stored]).astype(np.float64).astype(np.int8)[0] == label


def test_means_round_at_every_step():
    def case(name, dsc):
        labels = score_labels(np.zeros((1, 1, 1), np.uint8), np.zeros((1, 1, 1), np.uint8), MM)
        first = labels[LIVER].__class__(dsc, 0.5)
        return CaseScores(name, {**labels, LIVER: first})

    found = means([case("a", 0.1111), case("b", 0.1112), CaseScores("c", error="unreadable")])
    # liver: (0.1111 + 0.1112) / 2 = 0.11115 -> 0.1112 (half to even); the other organs 1.
    assert found["dsc"]["liver"].value in (0.1111, 0.1112)
    assert found["dsc"]["liver"].value == float(np.round(np.mean([0.1111, 0.1112]), 4))
    assert found["dsc"]["liver"].count == 2
    # (0.1112 + 12) / 13 = 0.93163 -> 0.9316
    assert found["dsc"]["organs"].value == 0.9316
    # NSD of organs: (0.5 + 12) / 13 = 0.96154 -> 0.9615; the tumour is not an organ
    assert found["nsd"]["organs"].value == 0.9615
    assert found["dsc"]["tumour"].value == 1


def test_no_scored_case_has_no_mean():
    found = means([CaseScores("a", error="unreadable")])
    assert found["dsc"]["liver"].value is None
    assert found["dsc"]["organs"].value is None
