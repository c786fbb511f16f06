"""The command line of `train small`: bad folders are one line and exit code 1."""

import numpy as np
import pytest
from click.testing import CliRunner

from tests.imaging.bad_files import ramp, write_ct
from tests.train.small.small_training import write_recipe
from train.cli import main


@pytest.fixture
def place(tmp_path):
    """A recipe and a folder with the CTs that it names."""
    hu = ramp((6, 8, 10))
    for case in ("one", "two"):
        write_ct(tmp_path / "data" / "ct" / f"{case}_0000.nii.gz", hu, (6.0, 6.0, 6.0))
    return write_recipe(tmp_path / "recipe.toml"), tmp_path / "data", tmp_path / "work"


def prepare(recipe, data, work):
    words = ["small", "prepare", recipe, "--data", data, "--work", work]
    return CliRunner().invoke(main, [str(word) for word in words])


def failed(result, message):
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    errors = [row for row in result.stderr.splitlines() if row.startswith("Error")]
    assert len(errors) == 1
    assert message in errors[0]


def test_prepare_without_soft_labels_says_which_command_makes_them(place):
    result = prepare(*place)
    failed(result, "one.npz is missing; run `train small label` first")


def test_prepare_with_damaged_soft_labels_is_one_line(place):
    work = place[2]
    (work / "soft").mkdir(parents=True)
    (work / "soft" / "one.npz").write_bytes(b"PK\x03\x04 cut")
    failed(prepare(*place), "delete it, run `train small label`")


def test_prepare_with_labels_of_another_grid_says_both(place):
    work = place[2]
    (work / "soft").mkdir(parents=True)
    zeros = np.zeros((6, 8, 9), np.uint8)
    np.savez(work / "soft" / "one.npz", first=zeros, second=zeros, share=zeros)
    failed(prepare(*place), "(6, 8, 9) voxels, the CT has (6, 8, 10)")


def test_fit_without_a_prepared_folder_is_one_line(tmp_path):
    result = CliRunner().invoke(main, ["small", "fit", "--work", str(tmp_path)])
    failed(result, f"cannot read recipe {tmp_path}/prepared/recipe.toml: No such file")
