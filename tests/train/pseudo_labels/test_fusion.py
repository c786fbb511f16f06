from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imaging.errors import GeometryError, KitError, VolumeError
from imaging.organs import ORGANS
from train.pseudo_labels.fusion import (
    agree_or_background,
    agree_or_ignore,
    annotated_only,
    class_mix,
    fuse_case,
    real_wins,
    staple,
    vote,
)

ORGAN_LABELS = range(1, 14)


def row(*labels):
    return np.array(labels, np.uint8).reshape(1, 1, -1)


def listed(labels):
    assert labels.dtype == np.uint8
    return labels.ravel().tolist()


class TestThePapersRules:
    def test_real_wins_where_it_is_foreground(self):
        assert listed(real_wins(row(1, 0, 0, 3), row(2, 2, 0, 0))) == [1, 2, 0, 3]

    def test_class_mix_lays_tubes_and_stomach_of_the_second_on_top(self):
        # aorta 5 and stomach 11 from the second; liver 1 and spleen 3 from the first; an aorta that
        # only the first has stays, as in the script; a liver of the second alone does not come.
        first, second = row(1, 1, 5, 0, 5, 0), row(5, 2, 0, 11, 3, 1)
        assert listed(class_mix(first, second)) == [5, 1, 5, 11, 5, 0]

    def test_disagreement_is_background(self):
        assert listed(agree_or_background(row(1, 1, 0, 3), row(1, 2, 3, 3))) == [1, 0, 0, 3]


class TestOurs:
    def test_disagreement_is_ignored(self):
        assert listed(agree_or_ignore(row(1, 1, 0, 0), row(1, 2, 3, 0))) == [1, 15, 15, 0]

    def test_an_annotated_class_is_believed_where_it_is_absent(self):
        # Liver and spleen annotated. Pseudo liver outside the real one is background; the pseudo
        # pancreas comes in; the pseudo kidney does not take real liver.
        real, pseudo = row(1, 0, 0, 1, 3), row(1, 1, 4, 2, 0)
        assert listed(annotated_only(real, pseudo, annotated=(1, 3))) == [1, 0, 4, 1, 3]

    def test_a_class_that_was_never_annotated_is_unknown_without_a_pseudo_label(self):
        assert listed(annotated_only(row(1, 0), annotated=(1, 3))) == [1, 15]

    def test_where_all_organs_were_annotated_the_rest_is_background(self):
        assert listed(annotated_only(row(1, 0), annotated=ORGAN_LABELS)) == [1, 0]

    def test_tumour_only_cases_take_organs_from_the_pseudo_label(self):
        assert listed(annotated_only(row(14, 0, 0), row(1, 1, 14), annotated=(14,))) == [14, 1, 0]


class TestVoting:
    def test_majority(self):
        assert listed(vote(row(1, 1, 0), row(1, 2, 0), row(2, 2, 0))) == [1, 2, 0]

    def test_a_tie_is_ignored(self):
        assert listed(vote(row(1, 3), row(2, 3))) == [15, 3]

    def test_staple_follows_the_two_that_agree(self):
        good = np.zeros((4, 8, 8), np.uint8)
        good[:, 2:6, 2:6] = 1
        bad = np.zeros_like(good)
        bad[:, 0:2, 0:2] = 1
        np.testing.assert_array_equal(staple(good, good.copy(), bad), good)

    def test_staple_of_nothing_is_nothing(self):
        assert listed(staple(row(0, 0), row(0, 0))) == [0, 0]

    @pytest.mark.parametrize("rule", [vote, staple])
    def test_one_source_is_no_vote(self, rule):
        with pytest.raises(KitError, match="two or more"):
            rule(row(1))


@pytest.mark.parametrize(
    "rule",
    [
        real_wins,
        class_mix,
        agree_or_background,
        agree_or_ignore,
        vote,
        partial(annotated_only, annotated=(1,)),
    ],
)
def test_maps_of_different_shape_do_not_fuse(rule):
    with pytest.raises(GeometryError, match="do not fuse"):
        rule(row(1, 2), row(1, 2, 3))


MAPS = hnp.arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 14))


@given(MAPS, MAPS)
def test_what_holds_for_any_maps(first, second):
    assert np.array_equal(real_wins(first, first), first)
    assert np.array_equal(agree_or_ignore(first, second), agree_or_ignore(second, first))
    kept = agree_or_ignore(first, second)
    assert np.array_equal(kept == 15, first != second)
    assert np.array_equal(vote(first, first, second), first)
    full = annotated_only(first, second, annotated=ORGANS.values())
    assert np.array_equal(full, first)
    inputs = first.copy(), second.copy()
    class_mix(first, second)
    assert np.array_equal(inputs[0], first)
    assert np.array_equal(inputs[1], second)


DIRECTION = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)  # a quarter turn about Z


def write(labels, path, origin_mm=(7.0, -8.0, 9.0)):
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin(origin_mm)
    image.SetDirection(DIRECTION)
    sitk.WriteImage(image, str(path))
    return path


class TestFiles:
    def test_the_fused_map_lies_where_the_ct_lies(self, tmp_path):
        ct = write(np.zeros((2, 1, 3), np.int16), tmp_path / "ct.nii.gz")
        real = write(np.array([[[1, 0, 0]], [[0, 0, 3]]], np.uint8), tmp_path / "real.nii.gz")
        pseudo = write(np.array([[[2, 2, 0]], [[0, 4, 4]]], np.int16), tmp_path / "pseudo.nii.gz")
        fuse_case(real_wins, (real, pseudo), ct, tmp_path / "fused.nii.gz")
        fused = sitk.ReadImage(str(tmp_path / "fused.nii.gz"))
        assert sitk.GetArrayFromImage(fused).tolist() == [[[1, 2, 0]], [[0, 4, 3]]]
        np.testing.assert_allclose(fused.GetSpacing(), (0.7, 0.8, 2.5), rtol=1e-6)
        np.testing.assert_allclose(fused.GetOrigin(), (7, -8, 9), rtol=1e-6)
        np.testing.assert_allclose(fused.GetDirection(), DIRECTION, atol=1e-6)

    @pytest.mark.parametrize("label", [16, 20, 60, 255])
    def test_labels_that_are_not_flares_are_refused(self, tmp_path, label):
        ct = write(np.zeros((2, 1, 3), np.int16), tmp_path / "ct.nii.gz")
        real = write(np.full((2, 1, 3), 15, np.uint8), tmp_path / "real.nii.gz")
        other = write(np.full((2, 1, 3), label, np.uint8), tmp_path / "other.nii.gz")
        with pytest.raises(VolumeError, match=rf"other\.nii\.gz: label {label}; FLARE's end at 14"):
            fuse_case(real_wins, (real, other), ct, tmp_path / "fused.nii.gz")
        assert not (tmp_path / "fused.nii.gz").exists()
        # a map of percents is no label map
        fuse_case(lambda one, percents: one, (real,), ct, tmp_path / "fused.nii.gz", (other,))

    def test_maps_that_lie_elsewhere_are_refused(self, tmp_path):
        labels = np.ones((2, 2, 2), np.uint8)
        ct, here = (write(labels, tmp_path / name) for name in ("ct.nii.gz", "here.nii.gz"))
        there = write(labels, tmp_path / "there.nii.gz", origin_mm=(7.0, -8.0, 12.0))
        with pytest.raises(GeometryError, match=r"there\.nii\.gz: the map's origin is"):
            fuse_case(real_wins, (here, there), ct, tmp_path / "fused.nii.gz")
        assert not (tmp_path / "fused.nii.gz").exists()
