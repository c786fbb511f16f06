"""What thresholds keep: figures worked out by hand, on cases that they were not chosen on."""
# ruff: noqa: F401, F811 (fixtures of tests/inference)

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib")
pytest.importorskip("openvino")

from imaging.geometry import Grid, Orientation
from imaging.volumes import made_header
from inference.preparing import Prepared
from tests.conftest import network, write_ct
from train.cli import main
from train.pseudo_labels.calibration.sampling import in_middles, pieces_of, working_voxel_ml
from train.pseudo_labels.calibration.temperature import ConfidencePieces, Samples
from train.pseudo_labels.calibration.thresholds import (
    COMPONENT,
    COMPONENT_VOXELS,
    Kept,
    Scored,
    cross_validated,
    kept,
    scored,
    selection_table,
    summary,
    threshold_of,
)

PLAIN = made_header((1, 1, 6), np.zeros(3), np.diag((3.0, 2.0, 1.0)))


def case(probabilities, truth, of, voxels=(), right=(), annotated=(1, 2)):
    """One case: class 1 with these probabilities, the rest is background's."""
    shares = np.array([[1 - p, p, 1e-30] for p in probabilities])
    samples = Samples(np.log(shares).astype(np.float32), np.uint8(truth), annotated)
    return samples, ConfidencePieces(*(np.array(n, np.int64) for n in (of, voxels, right)))


def counted(scores, good):
    ones = np.ones(len(scores))
    return Scored(np.array(scores), np.array(good, float), np.array(good, float), ones)


def test_voxels_are_scored_by_their_own_signal():
    # the last is no annotated organ, or was dropped by the rules: nobody asks how sure it is
    one = case([0.9, 0.6, 0.8], [1, 0, 1], [0, 0, -1], [2], [1])
    found = scored(*one, "probability", 1.0)
    np.testing.assert_allclose(found.scores, [0.9, 0.6], rtol=1e-6)
    assert found.right.tolist() == found.good.tolist() == [1, 0]
    assert found.total.tolist() == [1, 1]
    np.testing.assert_allclose(scored(*one, "margin", 1.0).scores, [0.8, 0.2], rtol=1e-5)
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    expected = 1 - entropy / np.log(3)
    np.testing.assert_allclose(scored(*one, "entropy", 1.0).scores[0], expected, rtol=1e-5)
    # logits halved: the square roots of 9 to 1 are 3 to 1
    np.testing.assert_allclose(scored(*one, "probability", 2.0).scores[0], 0.75, rtol=1e-6)


def test_components_are_scored_by_the_mean_of_their_samples():
    # of three components the second has no sample; the last is right in 2 voxels of 5: wrong
    one = case([0.9, 0.7, 0.6], [1, 1, 0], [0, 0, 2], [8, 1, 5], [4, 1, 2])
    found = scored(*one, COMPONENT, 1.0)
    np.testing.assert_allclose(found.scores, [0.8, 0.6], rtol=1e-6)
    assert (found.right.tolist(), found.total.tolist()) == ([1, 0], [1, 1])
    voxels = scored(*one, COMPONENT_VOXELS, 1.0)
    assert voxels.good.tolist() == [1, 0]
    assert (voxels.right.tolist(), voxels.total.tolist()) == ([4, 2], [8, 5])


def test_a_large_case_moves_a_threshold_no_more_than_a_small_one():
    small = counted([0.9, 0.5], [1, 0])
    large = counted([0.9] * 10 + [0.5] * 10, [1] * 10 + [1] * 10)
    # at 0.5: (1/2 + 1) of 2 are right; each case alike, though 21 of 22 voxels are
    assert threshold_of([small, large], 0.8) == 0.9
    assert threshold_of([small, large], 0.7) == 0.0


def test_what_a_threshold_keeps_of_a_case():
    one = counted([0.9, 0.8, 0.6, 0.5], [1, 1, 0, 1])
    # 0.8 and above: 2 of 4, both right; 3 of 4 were
    assert kept(one, 0.8) == Kept(0.8, 0.75, 0.5, 1.0)
    assert kept(one, np.inf) == Kept(None, 0.75, 0.0, None)


def test_each_case_is_judged_by_what_was_chosen_on_the_others():
    a = case([0.9, 0.9, 0.7, 0.7], [1, 1, 0, 0], [0] * 4, [4], [2])  # right from 0.9 on
    b = case([0.9, 0.7, 0.6, 0.6], [1, 1, 1, 0], [0] * 4, [4], [3])  # 3 of 4 are right, all in all
    found = cross_validated({"a": a, "b": b}, {"a": 1.0, "b": 1.0})["probability"]["0.8"]
    # b's threshold for 0.8 is 0.7: of a everything is kept, half of it right
    assert found["a"] == Kept(pytest.approx(0.7), 0.5, 1.0, 0.5)
    # a's is 0.9: one of b's, right
    assert found["b"] == Kept(pytest.approx(0.9), 0.75, 0.25, 1.0)
    whole = summary(list(found.values()), 0.8)
    assert (whole.before, whole.share, whole.precision) == (0.625, 0.625, 0.75)
    assert (whole.worst, whole.reached, whole.empty) == (0.5, 1, 0)


def test_where_the_others_are_never_right_nothing_is_kept():
    a = case([0.9, 0.7], [0, 0], [0, 0], [2], [0])
    b = case([0.9, 0.7], [1, 1], [0, 0], [2], [2])
    selection = cross_validated({"a": a, "b": b}, {"a": 1.0, "b": 1.0})
    assert selection["margin"]["0.9"]["b"] == Kept(None, 1.0, 0.0, None)
    whole = selection_table(selection)["margin"]["0.9"]["all"]
    assert (whole["reached"], whole["empty"], whole["worst"]) == (0, 1, 0.0)
    table = selection_table(selection)
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_where_no_annotated_organ_is_called_nothing_is_judged():
    a = case([0.9, 0.7], [1, 0], [0, 0], [2], [1])
    nothing = case([0.1], [1], [-1])
    selection = cross_validated({"a": a, "b": nothing}, {"a": 1.0, "b": 1.0})
    assert list(selection["probability"]["0.9"]) == list(selection[COMPONENT]["0.9"]) == ["a"]
    assert selection["probability"]["0.9"]["a"].threshold == 0.0  # nothing to choose it by
    table = selection_table(selection)
    assert json.loads(json.dumps(table, allow_nan=False)) == table


@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), min_size=1, max_size=4
    ),
    st.sampled_from([0.5, 0.8, 0.95]),
)
def test_a_threshold_keeps_its_promise_where_it_was_chosen(cases, wanted):
    every = [counted(*zip(*rows, strict=True)) for rows in cases]
    threshold = threshold_of(every, wanted)
    if 0 < threshold <= 1:  # at 0 all may be kept, at infinity nothing
        total = good = 0.0
        for one in every:
            above = one.scores >= threshold
            total += above.sum() / len(above)
            good += one.good[above].sum() / len(above)
        assert good / total >= wanted - 1e-9


def test_components_of_what_is_called_an_annotated_organ():
    predicted = np.uint8([[[1, 1, 0, 2, 0, 1]]])
    truth = np.uint8([[[1, 0, 1, 2, 2, 0]]])
    taken = np.bool_([[[1, 1, 1, 1, 0, 0]]])
    found = pieces_of(predicted, truth, taken)
    # the last one has no sample
    assert found.voxels.tolist() == [2, 1, 1]
    assert found.right.tolist() == [1, 1, 0]
    assert found.of.tolist() == [0, 0, -1, 1]


def test_middles_of_coarse_voxels():
    turn = Orientation((0, 1, 2), (False, False, True))
    image = np.zeros((1, 1, 2), np.float32)
    box = (slice(0, 1), slice(0, 1), slice(0, 6))
    prepared = Prepared(image, turn, box, Grid((1, 1, 6), (1.0, 2.0, 3.0)), PLAIN, 0.5)
    # turned 6 5 4 3 2 1; the middles of two voxels of three are 5 and 2
    assert in_middles(np.uint8([[[1, 2, 3, 4, 5, 6]]]), prepared).tolist() == [[[5, 2]]]
    assert working_voxel_ml(prepared) == pytest.approx(0.018)  # three of 6 mm³


def test_the_command_writes_what_is_kept(tmp_path, network, write_ct):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        labels = np.zeros((8, 9, 10), np.uint8)
        labels[2:6, 2:6, 2:6], labels[3:5, 3:5, 7:9] = 1, 2
        hu = (100 * labels.astype(np.int16) + rng.normal(0, 30, labels.shape)).astype(np.int16)
        write_ct(tmp_path / "images" / f"{name}_0000.nii.gz", hu)
        write_ct(tmp_path / "truth" / f"{name}.nii.gz", labels)
    words = [network().folder / "weights_manifest.json", "--images", tmp_path / "images"]
    words += ["--truth", tmp_path / "truth", "-o", tmp_path / "out", "--threads", 1]
    result = CliRunner().invoke(main, ["calibrate", *map(str, words)])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "selection.json").read_text())
    assert found["network"] == "tiny"
    row = found["probability"]["0.95"]["all"]
    # 30 HU of noise make some background look like liver at 51 HU, and that is less sure
    assert 0.3 < row["share"] < 1
    assert row["precision"] > row["before"]
    assert (tmp_path / "out" / "selection.png").read_bytes().startswith(b"\x89PNG")
