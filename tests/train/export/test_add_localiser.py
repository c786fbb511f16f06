"""`train localiser`: a small network becomes part of another network's manifest."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from inference.manifest import load_manifest, verify_files
from tests.conftest import PATCH, tiny_onnx, weights_file
from train.cli import main


@pytest.fixture
def localiser(network, tmp_path):
    """The manifest file of another tiny network, 8 mm, with another patch."""
    folder = tmp_path / "localiser"
    folder.mkdir()
    tiny_onnx(folder / "small.onnx", (8, 5, 6))
    plain = network()
    window = replace(plain.window, patch=(8, 5, 6))
    files = {"onnx": weights_file(folder / "small.onnx")}
    changes = {"spacing_mm": (8.0, 8.0, 8.0), "window": window, "provenance": {"from": "afar"}}
    replace(plain, files=files, folder=folder, **changes).write(folder / "m.json")
    return folder / "m.json"


def call(*arguments):
    return CliRunner().invoke(main, ["localiser", *map(str, arguments)])


MARGIN = ("--margin-mm", 16, "--least-certainty", 0.5)


def test_it_lies_beside_the_network_and_is_used_where_requested(manifest_path, localiser):
    before = load_manifest(manifest_path)
    done = call(manifest_path, localiser, *MARGIN)
    assert json.loads(done.output) == {"manifest": str(manifest_path), "crop": "none"}
    after = load_manifest(manifest_path)
    verify_files(after)
    assert after.files["localiser"].path == "localiser.onnx"
    network, spec = after.of_localiser()
    assert (spec.margin_mm, spec.least_certainty, spec.step) == (16.0, 0.5, 0.75)
    assert (network.window.patch, network.spacing_mm) == ((8, 5, 6), (8.0, 8.0, 8.0))
    assert after.provenance == {**before.provenance, "localiser": {"from": "afar"}}
    assert (after.window.patch, after.crop) == (PATCH, "none")


def test_a_switch_makes_it_the_default(manifest_path, localiser):
    assert call(manifest_path, localiser, *MARGIN, "--crop", "organs").exit_code == 0
    assert load_manifest(manifest_path).crop == "organs"


def test_one_of_other_axes_is_refused(network, localiser):
    manifest = network(orientation="LPS").folder / "weights_manifest.json"
    done = call(manifest, localiser, *MARGIN)
    assert done.exit_code == 1
    assert "the localiser takes CTs in None, the network of" in done.output
    assert load_manifest(manifest).localiser is None


def test_a_damaged_one_is_refused(manifest_path, localiser):
    (localiser.parent / "small.onnx").write_bytes(b"changed")
    done = call(manifest_path, localiser, *MARGIN)
    assert done.exit_code == 1
    assert "7 bytes, the manifest says" in done.output
