"""Calibration: figures worked out by hand, temperatures that are known, and a network on disk."""
# ruff: noqa: F401, F811 (fixtures of tests/inference)

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib")
pytest.importorskip("openvino")

from tests.conftest import network, write_ct
from train.cli import main
from train.pseudo_labels.calibration.cross_validation import calibration_of
from train.pseudo_labels.calibration.temperature import Samples, fit_temperature, reliability

ALL = (1, 2)


def logits_of(probabilities):
    return np.log(np.asarray(probabilities, dtype=np.float32))


def sampled_from(logits, temperature, seed=0):
    """Labels as likely as the logits say when they are divided by `temperature`."""
    scaled = np.exp(logits / temperature)
    shares = scaled / scaled.sum(axis=1, keepdims=True)
    below = np.cumsum(shares, axis=1) < np.random.default_rng(seed).random((len(logits), 1))
    return below.sum(axis=1).astype(np.uint8)


def test_the_calibration_error_is_the_distance_of_confidence_and_accuracy():
    # four voxels at 0.8, three of them right; one at 0.5 (bin of its own), wrong
    sure, torn = [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]
    samples = Samples(logits_of([sure] * 4 + [torn]), np.uint8([1, 1, 1, 2, 1]), ALL)
    found = reliability([samples], [1.0])
    assert [(b.count, round(b.confidence, 6), b.accuracy) for b in found.bins] == [
        (1, 0.5, 0.0), (4, 0.8, 0.75)
    ]  # fmt: skip
    # (4 x |0.8 - 0.75| + 1 x |0.5 - 0|) / 5
    assert found.ece == pytest.approx(0.14)
    # -(3 ln 0.8 + ln 0.1 + ln 0.3) / 5
    assert found.nll == pytest.approx(-(3 * np.log(0.8) + np.log(0.1) + np.log(0.3)) / 5)


def test_full_confidence_is_in_the_last_bin():
    samples = Samples(np.float32([[0, 500, 0], [0, 500, 0]]), np.uint8([1, 0]), ALL)
    found = reliability([samples], [1.0])
    assert [(b.count, b.confidence, b.accuracy) for b in found.bins] == [(2, 1.0, 0.5)]
    assert found.ece == 0.5


def test_an_organ_that_nobody_drew_counts_as_background():
    # 0.3 + 0.4 for background and the unannotated class 2, against 0.3
    samples = Samples(logits_of([[0.3, 0.3, 0.4]]), np.uint8([0]), (1,))
    np.testing.assert_allclose(np.exp(samples.log_probabilities(1.0)), [[0.7, 0.3, 0.0]], rtol=1e-6)
    assert reliability([samples], [1.0]).bins[0].accuracy == 1.0


def test_a_temperature_of_two_halves_the_logits():
    samples = Samples(np.float32([[0, 2, 4]]), np.uint8([2]), ALL)
    expected = np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum()
    np.testing.assert_allclose(np.exp(samples.log_probabilities(2.0))[0], expected, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found_again(temperature):
    logits = np.random.default_rng(1).normal(0, 3, (40_000, 3)).astype(np.float32)
    samples = Samples(logits, sampled_from(logits, temperature), ALL)
    # 40,000 draws: the standard error of the fit is about 1 %
    assert fit_temperature([samples]) == pytest.approx(temperature, rel=0.05)


def test_a_large_case_counts_no_more_than_a_small_one():
    logits = np.random.default_rng(1).normal(0, 3, (20_000, 3)).astype(np.float32)
    sharp, flat = (Samples(logits, sampled_from(logits, t), ALL) for t in (0.5, 3.0))
    ten = Samples(np.tile(sharp.logits, (10, 1)), np.tile(sharp.truth, 10), ALL)
    assert fit_temperature([ten, flat]) == pytest.approx(fit_temperature([sharp, flat]), rel=1e-3)


@given(
    st.lists(st.tuples(*[st.floats(-30, 30, width=32)] * 3, st.integers(0, 2)), min_size=1),
    st.floats(0.1, 10),
)
def test_bins_hold_every_voxel_once_and_temperature_changes_no_label(rows, temperature):
    *logits, truth = zip(*rows, strict=True)
    samples = Samples(np.float32(logits).T, np.uint8(truth), ALL)
    plain, scaled = (reliability([samples], [t]) for t in (1.0, temperature))
    for found in (plain, scaled):
        assert sum(one.count for one in found.bins) == len(rows)
        assert 0 <= found.ece <= 1
    right = [sum(one.count * one.accuracy for one in found.bins) for found in (plain, scaled)]
    assert right[0] == pytest.approx(right[1])


def test_without_voxels_there_is_nothing_to_say():
    nothing = Samples(np.empty((0, 3), dtype=np.float32), np.empty(0, dtype=np.uint8), ALL)
    with pytest.raises(ValueError, match="no voxel"):
        reliability([nothing], [1.0])


def test_each_case_is_judged_with_the_temperature_of_the_others():
    logits = np.random.default_rng(1).normal(0, 3, (20_000, 3)).astype(np.float32)
    cases = {
        str(t): Samples(logits, sampled_from(logits, t, seed), ALL)
        for seed, t in enumerate((1.0, 3.0))
    }
    found = calibration_of("net", {}, cases)
    assert found.cases["1.0"].temperature == fit_temperature([cases["3.0"]])
    assert found.cases["3.0"].temperature == fit_temperature([cases["1.0"]])
    assert 1 < found.temperature < 3
    assert found.cases["1.0"].after.ece > found.cases["1.0"].before.ece


# ----- the command ----------------------------------------------------------------------------


@pytest.fixture
def labelled(tmp_path, network, write_ct):
    """Two CTs with labels, and the manifest of the tiny network: 100 HU is liver, 200 tumour."""
    rng = np.random.default_rng(0)
    for case in ("a", "b"):
        labels = rng.integers(0, 3, (8, 9, 10)).astype(np.uint8)
        hu = (100 * labels.astype(np.int16) + rng.normal(0, 60, labels.shape)).astype(np.int16)
        write_ct(tmp_path / "images" / f"{case}_0000.nii.gz", hu)
        write_ct(tmp_path / "truth" / f"{case}.nii.gz", labels)
    manifest = network().folder / "weights_manifest.json"

    def run(*options):
        words = [manifest, "--images", tmp_path / "images", "--truth", tmp_path / "truth"]
        words += ["-o", tmp_path / "out", *options]
        return CliRunner().invoke(main, ["calibrate", *map(str, words)])

    return run


def test_calibrate_writes_a_table_and_a_picture(labelled, tmp_path):
    result = labelled("--threads", "1")
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert sorted(written["cases"]) == ["a", "b"]
    # A quarter of 720 voxels, of which two thirds are organs and some more are called so.
    assert all(80 < case["voxels"] < 180 for case in written["cases"].values())
    # logit k is 100 HU x k / 100 - k²/2, noise of 60 HU: 1 / 0.36 as sharp would be right
    assert written["temperature"] == pytest.approx(0.36, rel=0.35)
    assert written["after"]["nll"] < written["before"]["nll"]
    assert (tmp_path / "out" / "calibration.png").read_bytes().startswith(b"\x89PNG")
    first = (tmp_path / "out" / "calibration.json").read_bytes()
    assert labelled("--threads", "1").exit_code == 0
    assert (tmp_path / "out" / "calibration.json").read_bytes() == first


@pytest.mark.parametrize(
    ("bend", "complaint"),
    [
        (lambda folder, _: (folder / "truth" / "b.nii.gz").unlink(), "1 CTs of"),
        (lambda folder, _: (folder / "images" / "b_0000.nii.gz").write_bytes(b"x"), "not a NIfTI"),
        (
            lambda folder, write: write(folder / "truth/b.nii.gz", np.zeros((8, 9, 10), np.uint8)),
            "b.nii.gz shows no organ",
        ),
        (
            lambda folder, write: write(folder / "truth/b.nii.gz", np.ones((7, 9, 10), np.uint8)),
            "does not lie on b_0000.nii.gz",
        ),
    ],
)
def test_what_cannot_be_calibrated_on_is_said_in_a_line(
    labelled, tmp_path, write_ct, bend, complaint
):
    bend(tmp_path, write_ct)
    result = labelled()
    assert result.exit_code == 1
    assert complaint in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out" / "calibration.json").exists()


@pytest.fixture
def partly(labelled, tmp_path, write_ct):
    """As `labelled`, but in `b` nobody drew label 2."""
    from imaging.label_maps import read_label_map

    labels = read_label_map(tmp_path / "truth" / "b.nii.gz").labels
    write_ct(tmp_path / "truth" / "b.nii.gz", np.where(labels == 2, 0, labels).astype(np.uint8))

    def run(annotated=None):
        if isinstance(annotated, dict):
            rows = [{"case": case, "annotated": labels} for case, labels in annotated.items()]
            (tmp_path / "cases.json").write_text(json.dumps({"cases": rows}))
            annotated = tmp_path / "cases.json"
        result = labelled(*(() if annotated is None else ("--annotated", annotated)))
        path = tmp_path / "out" / "calibration.json"
        return result, json.loads(path.read_text()) if result.exit_code == 0 else None

    return run


def test_what_was_annotated_is_what_a_truth_shows_unless_it_is_given(partly):
    _, shown = partly()
    _, same = partly({"a": [1, 2], "b": [1]})
    _, absent = partly({"a": [1, 2], "b": [1, 2]})
    _, everywhere = partly("1,2")
    _, each = partly("each")
    assert same == shown == each
    assert everywhere == absent
    # what the network calls 2 in `b` is background where 2 is absent, and not judged where not
    assert absent["cases"]["b"]["voxels"] > shown["cases"]["b"]["voxels"]
    assert absent["cases"]["a"]["voxels"] == shown["cases"]["a"]["voxels"]
    assert absent["before"]["nll"] > shown["before"]["nll"]


@pytest.mark.parametrize(
    ("annotated", "code", "message"),
    [
        ({"a": [1, 2]}, 1, "b.nii.gz shows labels that --annotated does not name"),
        ({"a": [1], "b": [1]}, 1, "a.nii.gz shows labels that --annotated does not name"),
        ("1", 1, "a.nii.gz shows labels that --annotated does not name"),
        ("lung", 2, "no label 'lung'"),
    ],
)
def test_a_table_that_does_not_fit_the_truths_is_refused(partly, annotated, code, message):
    result, _ = partly(annotated)
    assert result.exit_code == code
    assert message in result.output
