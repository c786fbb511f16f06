import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.scoring.fixed import case_lesions, means, score_labels, strata
from evaluation.scoring.lesions import detection, lesions_of, size_names, size_of
from evaluation.scoring.scores import CaseScores, LabelScore, Lesion
from imaging.geometry import Grid
from imaging.organs import ORGANS
from tests.evaluation.maps import box

GRID = Grid((12, 12, 12), (1.0, 1.0, 1.0))
SHAPE = GRID.shape


class TestQuirksAreMended:
    def test_a_label_in_neither_map_is_not_scored(self):
        nothing = np.zeros(SHAPE, np.uint8)
        score = score_labels(nothing, nothing, GRID)["liver"]
        assert (score.dsc, score.nsd, score.note) == (None, None, "in neither map")

    def test_one_empty_map_is_zero_and_has_no_distance(self):
        truth = box(SHAPE, (2, 6), (2, 6), (2, 6))
        score = score_labels(truth, np.zeros(SHAPE, np.uint8), GRID)["liver"]
        assert (score.dsc, score.nsd, score.hd95_mm) == (0, 0, None)
        assert (score.truth_ml, score.pred_ml) == (0.064, 0)
        assert score.volume_error_ml == -0.064

    def test_the_last_slice_of_the_aorta_counts(self):
        # Truth on slices 2 to 9, the prediction on 2 to 8: 2*7 / 15
        truth, pred = box(SHAPE, (2, 10), (4, 8), (4, 8), 5), box(SHAPE, (2, 9), (4, 8), (4, 8), 5)
        assert score_labels(truth, pred, GRID)["aorta"].dsc == 14 / 15

    def test_the_aorta_on_one_slice_is_scored(self):
        truth = box(SHAPE, (4, 5), (4, 8), (4, 8), 5)
        score = score_labels(truth, truth, GRID)["aorta"]
        assert (score.dsc, score.nsd, score.hd95_mm) == (1, 1, 0)

    def test_outside_the_labelled_slices_is_still_forgiven(self):
        truth, pred = box(SHAPE, (4, 8), (4, 8), (4, 8), 5), box(SHAPE, (0, 12), (4, 8), (4, 8), 5)
        score = score_labels(truth, pred, GRID)["aorta"]
        assert (score.dsc, score.volume_error_ml) == (1, 0)

    def test_an_aorta_on_other_slices_alone_is_not_predicted(self):
        truth, pred = box(SHAPE, (4, 8), (4, 8), (4, 8), 5), box(SHAPE, (8, 12), (4, 8), (4, 8), 5)
        score = score_labels(truth, pred, GRID)["aorta"]
        assert (score.dsc, score.nsd, score.note) == (0, 0, "not predicted")

    def test_a_low_dsc_keeps_its_nsd(self):
        # Lines of 10 voxels that share one: DSC 0.1; see test_official for the NSD within 2 mm.
        shape = (40, 4, 4)
        grid = Grid(shape, (1.0, 1.0, 1.0))
        truth, pred = (
            box(shape, (5, 15), (1, 2), (1, 2), 14),
            box(shape, (14, 24), (1, 2), (1, 2), 14),
        )
        edge, tip = math.sqrt(2) / 2, math.sqrt(3) / 8
        score = score_labels(truth, pred, grid)["tumour"]
        assert score.dsc == pytest.approx(0.1)
        assert score.nsd == pytest.approx((3 * edge + tip) / (9 * edge + 2 * tip))


class TestLesions:
    def test_found_and_made_up(self):
        # Truth: A of 10 voxels, B of 20. Prediction: covers 1 of A (10 %: found) and none of B, and
        # has C of 4 voxels elsewhere; its first component has 3 voxels, 1 on A.
        truth, pred = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
        truth[0:10, 0, 0] = truth[0:10, 5:7, 5] = True
        pred[9:12, 0, 0] = pred[0:4, 10, 10] = True
        true, made = lesions_of(truth, pred, 0.001), lesions_of(pred, truth, 0.001)
        assert [(x.ml, x.found, x.overlap) for x in true] == [(0.02, False, 0), (0.01, True, 0.1)]
        assert [(x.ml, x.found) for x in made] == [(0.004, False), (0.003, True)]

    def test_voxels_that_touch_at_a_corner_are_one_lesion(self):
        truth = np.zeros((3, 3, 3), bool)
        truth[0, 0, 0] = truth[1, 1, 1] = True
        assert len(lesions_of(truth, truth, 1.0)) == 1

    def test_sizes_are_those_of_balls(self):
        # 10 mm across: pi/6 = 0.5236 ml; 20 mm across: eight times that.
        assert [size_of(ml) for ml in (0.5, 0.53, 4.1, 4.2)] == [0, 1, 1, 2]
        assert size_names() == ("under 10 mm", "10 to 20 mm", "20 mm and more")

    def test_counts_over_cases(self):
        cases = [
            CaseScores("a", true_lesions=(Lesion(5, True, 1), Lesion(0.1, False, 0))),
            CaseScores(
                "b", true_lesions=(Lesion(0.1, True, 1),), pred_lesions=(Lesion(1, False, 0),)
            ),
        ]
        found = {row.size: row for row in detection(cases)}
        assert found["all"].sensitivity == 2 / 3
        assert found["all"].precision == 0
        assert found["under 10 mm"].sensitivity == 0.5
        assert found["under 10 mm"].precision is None
        assert found["10 to 20 mm"].predicted == 1

    def test_a_case_without_tumour_has_none(self):
        nothing = np.zeros(SHAPE, np.uint8)
        assert case_lesions(nothing, nothing, GRID) == ((), ())

    def test_only_predicted(self):
        pred = box(SHAPE, (2, 6), (2, 6), (2, 6), 14)
        true, made = case_lesions(np.zeros(SHAPE, np.uint8), pred, GRID)
        assert (true, made) == ((), (Lesion(0.064, False, 0.0),))


def cases_with(*liver, **others):
    rows = []
    for number, dsc in enumerate(liver):
        labels = {organ: LabelScore() for organ in ORGANS}
        labels["liver"] = LabelScore(dsc)
        for organ, values in others.items():
            labels[organ] = LabelScore(values[number])
        rows.append(CaseScores(str(number), labels))
    return rows


class TestMeans:
    def test_left_out_where_not_scored(self):
        found = means(cases_with(0.5, None, 1.0))["dsc"]
        assert (found["liver"].value, found["liver"].count) == (0.75, 2)
        assert found["spleen"].value is None

    def test_over_organs_is_the_mean_of_means(self):
        # liver (0.4 + 0.8) / 2 = 0.6, spleen 1.0 in one case -> (0.6 + 1.0) / 2 = 0.8; no tumour
        found = means(cases_with(0.4, 0.8, spleen=[1.0, None], tumour=[0.0, 0.0]))["dsc"]
        assert found["organs"].value == pytest.approx(0.8)
        assert found["organs"].count == 2
        assert found["tumour"].value == 0

    def test_fewer_than_six_cases_have_no_interval(self):
        found = means(cases_with(0.5, 0.5, 0.5, 0.5, 0.5, None))["dsc"]
        for mean in (found["liver"], found["organs"]):
            assert (mean.value, mean.count, mean.low, mean.high) == (0.5, 5, None, None)

    def test_no_case(self):
        assert means([CaseScores("a", error="unreadable")])["dsc"]["organs"].value is None

    def test_interval_of_six_cases(self):
        # One of six differs: of k draws of it the mean is 0.2 + 0.6 k / 6, k binomial (6, 1/6);
        # k is 0 in 0.335, so that is the lower end, and 4 or more in 0.0087, 3 or more in 0.062.
        found = means(cases_with(0.2, 0.2, 0.2, 0.2, 0.2, 0.8))["dsc"]["liver"]
        assert (found.low, found.high) == pytest.approx((0.2, 0.5))

    def test_interval_covers_as_the_normal_one_does(self):
        values = np.random.default_rng(0).normal(0.8, 0.05, 400)
        found = means(cases_with(*values))["dsc"]["liver"]
        half = 1.96 * values.std() / math.sqrt(400)
        assert found.low == pytest.approx(values.mean() - half, abs=half / 8)
        assert found.high == pytest.approx(values.mean() + half, abs=half / 8)

    @settings(deadline=None, max_examples=20)
    @given(st.lists(st.floats(0, 1) | st.none(), min_size=2, max_size=12))
    def test_the_mean_lies_in_its_interval_and_comes_again(self, values):
        first, again = means(cases_with(*values))["dsc"], means(cases_with(*values))["dsc"]
        assert first == again
        liver = first["liver"]
        assert (liver.low is None) == (liver.count < 6)
        if liver.low is not None:
            assert liver.low - 1e-12 <= liver.value <= liver.high + 1e-12
        assert liver.count == sum(value is not None for value in values)

    def test_strata_go_by_the_largest_lesion(self):
        rows = cases_with(0.9, 0.9, tumour=[0.3, 0.7])
        sizes = [(Lesion(6.0, True, 1),), (Lesion(0.1, True, 1),)]
        rows = [replace(row, true_lesions=s) for row, s in zip(rows, sizes, strict=True)]
        found = strata(rows)
        assert found["under 10 mm"]["dsc"].value == 0.7
        assert found["20 mm and more"]["dsc"].value == 0.3
        assert found["10 to 20 mm"]["dsc"].count == 0
