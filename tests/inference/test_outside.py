"""`inference outside`: how much of a truth lies where the network does not look."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from inference.cli import main


@pytest.fixture
def run(manifest_path, write_ct, tmp_path):
    """Call with a CT and its truth [Z, Y, X]: the result, and what was written."""

    def call(hu, labels, *options):
        ct = write_ct(tmp_path / "a_0000.nii.gz", hu)
        truth = write_ct(tmp_path / "a.nii.gz", labels)
        written = tmp_path / "outside.json"
        arguments = [ct, truth, "--manifest", manifest_path, "-o", written, *options]
        result = CliRunner().invoke(main, ["outside", *map(str, arguments)])
        return result, json.loads(written.read_text()) if written.exists() else None

    return call


def test_all_of_the_truth_is_inside_where_everything_is_the_region(run, boxes):
    result, table = run(*boxes)
    assert result.exit_code == 0, result.output
    assert table["share"] == 1.0
    assert table["region"] == [[0, 6], [0, 7], [0, 8]]
    assert table["organs"] == {
        "liver": {"voxels": 20, "outside": 0, "outside_ml": 0.0},
        "tumour": {"voxels": 4, "outside": 0, "outside_ml": 0.0},
    }
    assert (table["lost_ml"], table["localiser"], table["certainty"]) == (0.0, None, None)


def test_voxels_outside_are_counted_by_organ(run, boxes):
    hu, labels = boxes
    hu = np.zeros_like(hu)
    hu[2:6, 1:7, 1:8] = 50  # what is not 0; the tumour's four voxels are in slice 1
    labels[5, 6, 7] = 9
    result, table = run(hu, labels, "--crop", "nonzero")
    assert result.exit_code == 1
    assert "12 labelled voxels lie outside" in result.output
    assert table["share"] == (4 * 6 * 7) / (6 * 7 * 8)
    # slice 1 of the liver is 3 x 4 less the tumour, slice 2 is inside
    assert table["organs"] == {
        "liver": {"voxels": 20, "outside": 8, "outside_ml": 0.064},  # a voxel is 2 x 2 x 2 mm
        "tumour": {"voxels": 4, "outside": 4, "outside_ml": 0.032},
        "label 9": {"voxels": 1, "outside": 0, "outside_ml": 0.0},
    }
    assert table["lost_ml"] == 0.096


def test_a_truth_on_other_voxels_is_refused(run, boxes):
    hu, labels = boxes
    result, table = run(hu, labels[1:])
    assert result.exit_code == 1
    assert "a.nii.gz does not lie on a_0000.nii.gz: the map has 8×7×5 voxels" in result.output
    assert table is None
