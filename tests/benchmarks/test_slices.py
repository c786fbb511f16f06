"""The benchmark of seconds by number of slices, on two tiny scans with the default weights."""

import json

import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib")
pytest.importorskip("openvino")

from benchmarks import slices
from benchmarks.cli import main
from inference.shipped import DEFAULT_MANIFEST


def test_scans_of_two_lengths_are_labelled_both_ways(tmp_path, write_ct, boxes, monkeypatch):
    monkeypatch.setattr(slices, "SCANS", ((6, 5.0), (20, 5.0)))
    monkeypatch.setattr(slices, "SIDE", 24)
    ct = write_ct(tmp_path / "a_0000.nii.gz", boxes[0])
    command = ["slices", str(ct), "--repeats", "1", "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "slices.json").read_text())["labellings"]
    assert [(run["slices"], run["way"]) for run in found] == [
        (count, way) for count in (6, 20) for way in (slices.BODY, slices.ORGANS)
    ]
    for run in found:
        assert 0 < run["least_s"] == run["median_s"] == run["most_s"]
        assert run["peak_mib"] > 50
    assert (tmp_path / "out" / "slices.png").read_bytes().startswith(b"\x89PNG")
    row = next(line for line in done.output.splitlines() if line.split("│")[1:2] == [" 20     "])
    assert f"{found[2]['median_s']:.2f}" in row


def test_nnunet_is_run_where_it_has_a_model(tmp_path):
    ways = slices.commands(tmp_path, tmp_path / "labels", DEFAULT_MANIFEST, None)
    assert [*ways] == [slices.BODY, slices.ORGANS]
    assert ways[slices.ORGANS] == [*ways[slices.BODY], "--crop", "organs"]
    ways = slices.commands(tmp_path, tmp_path / "labels", DEFAULT_MANIFEST, tmp_path / "model")
    assert str(tmp_path / "model") in ways[slices.BASELINE]
