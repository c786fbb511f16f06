"""Confidence: signals worked out by hand, maps that lie where their CT lies, and the command."""
# ruff: noqa: F401, F811 (fixtures of tests/inference)

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("openvino")

from imaging.geometry import Grid, Orientation
from imaging.label_maps import read_label_map
from imaging.volumes import made_header, read_place
from inference.predictor import Predictor
from inference.preparing import Prepared
from inference.settings import Settings
from tests.conftest import boxes, network, write_ct
from train.cli import main
from train.pseudo_labels.calibration.confidence import (
    Questions,
    label_with_confidence,
    percents_on_ct,
    stored_voxel,
)
from train.pseudo_labels.calibration.signals import Signals, WorkingSignals, signals_of


def test_signals_of_three_voxels():
    # one voxel sure, one torn between two, one that knows nothing
    shares = np.array([[1.0, 0.5, 0.25], [0.0, 0.5, 0.25], [0.0, 0.0, 0.25], [0.0, 0.0, 0.25]])
    found = signals_of(shares)
    assert found.probability.tolist() == [1.0, 0.5, 0.25]
    assert found.margin.tolist() == [1.0, 0.0, 0.0]
    np.testing.assert_allclose(found.entropy, [0, np.log(2), np.log(4)], rtol=1e-6)
    # of four classes: 1 - ln 2 / ln 4 is a half
    np.testing.assert_allclose(found.share("entropy", 4), [1, 0.5, 0], atol=1e-6)
    assert found.share("margin", 4) is found.margin


def test_logits_are_divided_by_the_temperature_slab_by_slab():
    logits = np.random.default_rng(0).normal(0, 3, (3, 5, 2, 2)).astype(np.float32)
    seen = WorkingSignals((5, 2, 2), 2.0)
    seen.add(logits[:, :3])
    seen.add(logits[:, 3:])
    shares = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=0)
    np.testing.assert_allclose(seen.signals.probability, shares.max(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(seen.labels, logits.argmax(axis=0))


@given(st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=6), st.floats(0.1, 10))
def test_signals_stay_in_their_ranges(logits, temperature):
    classes = len(logits)
    seen = WorkingSignals((1, 1, 1), temperature)
    seen.add(np.float32(logits).reshape(-1, 1, 1, 1))
    for name in Signals._fields:
        assert -1e-6 <= seen.signals.share(name, classes).item() <= 1 + 1e-6
    probability, margin, _ = (one.item() for one in seen.signals)
    assert probability >= 1 / classes - 1e-6
    assert margin <= probability


def plain(shape):
    return made_header(shape, np.zeros(3), np.eye(3))


turns = st.builds(
    Orientation, st.permutations(range(3)).map(tuple), st.tuples(*[st.booleans()] * 3)
)


@given(turns, st.tuples(*[st.integers(1, 5)] * 3), st.data())
def test_percents_and_places_turn_back_with_the_ct(turn, shape, draw):
    stored = Grid(shape, (1.0, 1.0, 1.0))
    turned = turn.grid(stored).shape
    low = [draw.draw(st.integers(0, n - 1)) for n in turned]
    box = tuple(
        slice(a, draw.draw(st.integers(a + 1, n))) for a, n in zip(low, turned, strict=True)
    )
    inner = tuple(part.stop - part.start for part in box)
    image = np.zeros(inner, np.float32)
    prepared = Prepared(image, turn, box, stored, plain(shape), 0.5)
    place = tuple(draw.draw(st.integers(0, n - 1)) for n in inner)
    shares = image.copy()
    shares[place] = 0.5
    found = percents_on_ct(shares, prepared)
    # the working grid is the CT's own here: one voxel is 50, the rest of the box 0, outside 100
    assert np.argwhere(found == 50).tolist() == [
        list(stored_voxel([at + 0.5 for at in place], prepared))
    ]
    assert (found == 0).sum() == image.size - 1
    assert (found == 100).sum() == np.prod(shape) - image.size


def test_percents_are_interpolated_between_working_voxels():
    turn = Orientation((0, 1, 2), (False, False, False))
    grid = Grid((1, 1, 4), (1.0, 1.0, 1.0))
    box = (slice(0, 1), slice(0, 1), slice(0, 4))
    shares = np.float32([[[0.0, 1.0]]])
    # centers at -0.25, 0.25, 0.75, 1.25 of the working voxels; the edges are extended
    prepared = Prepared(shares, turn, box, grid, plain(grid.shape), 0.5)
    assert percents_on_ct(shares, prepared).tolist() == [[[0, 25, 75, 100]]]


# ----- the command ----------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, network, write_ct, boxes):
    """Run the command on a CT of 2 mm voxels: the network's working grid, so nothing is blended."""
    write_ct(tmp_path / "images" / "a_0000.nii.gz", boxes[0], (2.0, 2.0, 2.0))

    def run(*options, **changes):
        path = network(**changes).folder / "weights_manifest.json"
        words = [path, "--images", tmp_path / "images", "-o", tmp_path / "out", "--threads", 1]
        return CliRunner().invoke(main, ["confidence", *map(str, words), *map(str, options)])

    return run


def shares_at(x, temperature=1.0):
    """The tiny network's probabilities of nothing, liver and tumour at x hundred HU."""
    scaled = np.exp((np.arange(3) * x - np.arange(3) ** 2 / 2) / temperature)
    return scaled / scaled.sum()


def test_confidence_writes_labels_percents_and_means(command, tmp_path, boxes):
    hu, labels = boxes
    result = command("--temperature", 2)
    assert result.exit_code == 0, result.output
    assert "liver" in result.stderr
    out = tmp_path / "out"
    np.testing.assert_array_equal(read_label_map(out / "a.nii.gz").labels, labels)
    percents = read_label_map(out / "confidence" / "a.nii.gz")
    assert percents.elsewhere_than(read_place(tmp_path / "images/a_0000.nii.gz"), hu.shape) is None
    liver, tumour = shares_at(1, 2.0), shares_at(2, 2.0)
    assert set(percents.labels[labels == 1]) == {round(100 * liver.max())}
    assert set(percents.labels[labels == 2]) == {round(100 * tumour.max())}

    written = json.loads((out / "confidence.json").read_text())
    assert (written["network"], written["temperature"], written["failed"]) == ("tiny", 2.0, {})
    case = written["cases"]["a"]
    assert [row["label"] for row in case["classes"]] == ["liver", "tumour"]
    found = case["components"][1]
    second = sorted(tumour)[1]
    place = [found.pop(key) for key in ("label", "voxel", "agreement")]
    assert place == ["tumour", [1, 3, 2], None]
    assert found == pytest.approx(
        {
            "ml": 4 * 0.008,
            "probability": tumour.max(),
            "margin": tumour.max() - second,
            "entropy": -(tumour * np.log(tumour)).sum(),
        },
        rel=1e-5,
    )


def test_flips_of_a_network_that_looks_at_single_voxels_agree(command, tmp_path):
    assert command("--temperature", 1, "--flips").exit_code == 0
    written = json.loads((tmp_path / "out" / "confidence.json").read_text())
    assert {row["agreement"] for row in written["cases"]["a"]["classes"]} == {1.0}


class LeftIsLiver:
    """An engine that calls the first three columns of every patch liver, whatever they show."""

    def infer(self, patches):
        logits = np.zeros((1, 3, *patches.shape[2:]), np.float32)
        logits[:, 1] = np.where(np.arange(patches.shape[-1]) < 3, 1, -1)
        return logits


def test_flips_of_a_network_that_looks_where_a_voxel_is_disagree(tmp_path, network, write_ct):
    hu = np.arange(160, dtype=np.int16).reshape(4, 5, 8)
    ct = write_ct(tmp_path / "a_0000.nii.gz", hu)
    manifest = network(window=replace(network().window, patch=(4, 5, 8)))
    predictor = Predictor(manifest, LeftIsLiver(), Settings(threads=1))
    found = label_with_confidence(predictor, ct, tmp_path / "a.nii.gz", Questions(flipped=True))
    assert (found.classes[0].label, found.classes[0].ml) == ("liver", 4 * 5 * 3 * 0.008)
    assert found.classes[0].agreement == 0.0  # flipped, the liver is in the last three columns


def test_a_temperature_is_taken_from_a_calibration(command, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"network": "tiny", "temperature": 1.5}))
    assert command("--calibration", path).exit_code == 0
    written = json.loads((tmp_path / "out" / "confidence.json").read_text())
    assert written["temperature"] == 1.5


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"network": "huge", "temperature": 1.5}, "is of network 'huge', not of 'tiny'"),
        ({"network": "tiny", "temperature": -1}, "temperature is -1.0; a number above 0"),
        ({"network": "tiny", "temperature": float("nan")}, "temperature is nan"),
        ({"network": "tiny"}, "not a calibration.json of `train calibrate`"),
        ([], "not a calibration.json of `train calibrate`"),
    ],
)
def test_a_file_that_is_no_calibration_of_this_network(command, tmp_path, content, complaint):
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(content))
    result = command("--calibration", path)
    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (1, 1)
    assert complaint in result.stderr


def test_flips_of_a_network_that_was_not_mirrored_are_refused(command, network, tmp_path):
    window = replace(network().window, mirror_axes=(0, 1))
    result = command("--temperature", 1, "--flips", window=window)
    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (1, 1)
    assert "'tiny' was not trained with left and right mirrored" in result.stderr
    assert not (tmp_path / "out").exists()


def test_one_case_that_fails_does_not_stop_the_others(command, tmp_path):
    (tmp_path / "images" / "0_0000.nii.gz").write_bytes(b"x")
    result = command("--temperature", 1)
    assert result.exit_code == 1
    assert "0 failed: " in result.stderr
    assert "Traceback" not in result.output
    written = json.loads((tmp_path / "out" / "confidence.json").read_text())
    assert (list(written["failed"]), list(written["cases"])) == (["0"], ["a"])
    assert sorted(path.name for path in (tmp_path / "out" / "confidence").iterdir()) == ["a.nii.gz"]


@pytest.mark.parametrize("options", [(), ("--temperature", 1, "--calibration", __file__)])
def test_where_the_temperature_comes_from_must_be_given(command, options):
    result = command(*options)
    assert result.exit_code == 2
    assert "give either --temperature or --calibration" in result.stderr
