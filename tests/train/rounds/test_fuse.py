import numpy as np
import pytest

from imaging.errors import GeometryError, VolumeError
from imaging.volumes import write_volume
from train.data.anatomy import IGNORE
from train.rounds.fuse import agreement, combination, fused
from train.rounds.network import dsc_of
from train.rounds.recipe import Round

ORGANS = tuple(range(1, 14))


def step(*sources, combine="", merge="real_wins"):
    return Round("r", "all", sources, combine, 0.0, merge, 0.0)


def line(*labels):
    return np.array([[labels]], np.uint8)


#            background, annotated liver, pseudo spleen, and a liver that only the pseudo label has
REAL = line(0, 1, 0, 0)
PSEUDO = line(0, 2, 3, 1)
OTHER = line(0, 1, 3, 5)


@pytest.mark.parametrize(
    ("rules", "annotated", "maps", "expected"),
    [
        (step(merge="real_only"), ORGANS, [REAL], line(0, 1, 0, 0)),
        (step(merge="real_only"), (1,), [REAL], line(IGNORE, 1, IGNORE, IGNORE)),
        (step("a"), (1,), [REAL, PSEUDO], line(0, 1, 3, 1)),
        # the annotators looked for the liver: there is none in the last voxel
        (step("a", merge="annotated_only"), (1,), [REAL, PSEUDO], line(0, 1, 3, 0)),
        (
            step("a", "b", combine="agree_or_ignore", merge="annotated_only"),
            (1,),
            [REAL, PSEUDO, OTHER],
            line(0, 1, 3, IGNORE),
        ),
        (
            step("a", "b", combine="agree_or_background"),
            (1,),
            [REAL, PSEUDO, OTHER],
            line(0, 1, 3, 0),
        ),
        # 5 is one of the classes that the paper takes from its second model
        (step("a", "b", combine="class_mix"), (1,), [REAL, PSEUDO, OTHER], line(0, 1, 3, 5)),
    ],
)
def test_rules_of_a_labelled_case(rules, annotated, maps, expected):
    np.testing.assert_array_equal(
        fused(rules, combination(rules), annotated, True, *maps), expected
    )


def test_rules_of_an_unlabelled_case():
    np.testing.assert_array_equal(
        fused(step("a"), combination(step("a")), (), False, PSEUDO), PSEUDO
    )
    rules = step("a", "b", combine="agree_or_ignore", merge="annotated_only")
    expected = line(0, IGNORE, 3, IGNORE)
    np.testing.assert_array_equal(
        fused(rules, combination(rules), (), False, PSEUDO, OTHER), expected
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (line(0, 0), line(0, 0), 1.0),
        (line(1, 1), line(1, 1), 1.0),
        (line(1, 1), line(2, 2), 0.0),
        # label 1: 2 * 1 / (2 + 1); label 2: 0 of one
        (line(1, 1, 0), line(1, 2, 0), (2 / 3 + 0) / 2),
        # the ignored voxel is left out of both: label 1 agrees
        (line(1, IGNORE), line(1, 2), 1.0),
        (line(1, 2), line(1, IGNORE), 1.0),
    ],
)
def test_agreement(tmp_path, first, second, expected):
    paths = [tmp_path / "first.nii.gz", tmp_path / "second.nii.gz"]
    for path, labels in zip(paths, (first, second), strict=True):
        write_volume(labels, (1.0, 1.0, 1.0), path)
    assert agreement(*paths) == pytest.approx(expected)


@pytest.mark.parametrize("label", [16, 17, 31, 60, 255])
def test_a_label_that_would_pass_for_another_is_refused(tmp_path, label):
    # as 16 a label counts as 0 in a table of 15 by 15: the maps would agree wholly
    first, second = tmp_path / "first.nii.gz", tmp_path / "second.nii.gz"
    write_volume(line(1, 1, 0), (1.0, 1.0, 1.0), first)
    write_volume(line(1, 1, label), (1.0, 1.0, 1.0), second)
    for pair in ((first, second), (second, first)):
        with pytest.raises(
            VolumeError, match=rf"second\.nii\.gz: label {label}; FLARE's end at 14"
        ):
            agreement(*pair)
        with pytest.raises(VolumeError, match=rf"label {label}; "):
            dsc_of(*pair, (1,))


def test_maps_of_two_shapes_do_not_agree(tmp_path):
    paths = [tmp_path / "first.nii.gz", tmp_path / "second.nii.gz"]
    for path, labels in zip(paths, (line(1, 1), line(1, 1, 1)), strict=True):
        write_volume(labels, (1.0, 1.0, 1.0), path)
    with pytest.raises(GeometryError, match="give maps of one CT"):
        agreement(*paths)


def test_dsc_of_what_was_annotated(tmp_path):
    truth, pred = tmp_path / "truth.nii.gz", tmp_path / "pred.nii.gz"
    write_volume(line(1, 1, 3, 0, 0, 0), (1.0, 1.0, 1.0), truth)
    write_volume(line(1, 0, 5, 5, 14, 2), (1.0, 1.0, 1.0), pred)
    # liver: 2 * 1 / (2 + 1); spleen missed; tumour made up; pancreas in neither; rest not annotated
    expected = {"liver": 2 / 3, "spleen": 0.0, "tumour": 0.0, "pancreas": 1.0}
    assert dsc_of(truth, pred, (1, 3, 4, 14)) == pytest.approx(expected)
