"""What the benchmarks lay out, run and draw."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from PIL import Image

from benchmarks.cli import main
from benchmarks.scans import lay, mirrored_indices
from imaging.geometry import Grid
from imaging.machine import cpu_flags
from imaging.volumes import read_volume, write_volume


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (8, 4, [0, 1, 2, 3, 2, 1, 0, 1]),
        (3, 5, [0, 1, 2]),
        (4, 2, [0, 1, 0, 1]),
        (3, 1, [0, 0, 0]),
    ],
)
def test_slices_go_there_and_back(count, size, expected):
    assert mirrored_indices(count, size).tolist() == expected


def test_a_ct_is_laid_in_true_size_with_air_around_and_mirrored_along_the_body(tmp_path):
    hu = np.zeros((4, 10, 10), np.int16)
    hu[1] = 100
    hu[3, 2:4, 2:4] = 300
    write_volume(hu, (2.0, 1.0, 1.0), tmp_path / "ct.nii.gz")
    lay(tmp_path / "ct.nii.gz", Grid((7, 20, 20), (2.0, 1.0, 1.0)), tmp_path / "laid.nii.gz")
    laid = read_volume(tmp_path / "laid.nii.gz")
    assert laid.grid == Grid((7, 20, 20), (2.0, 1.0, 1.0))
    assert laid.hu[:, 0, 0].tolist() == [-1024] * 7
    assert laid.hu[:, 10, 10].tolist() == [0, 100, 0, 0, 0, 100, 0]
    assert np.argwhere(laid.hu == 300)[:, 0].tolist() == [3] * 4
    assert np.argwhere(laid.hu[3] == 300).tolist() == [[7, 7], [7, 8], [8, 7], [8, 8]]


def test_thicker_slices_are_fewer(tmp_path):
    hu = np.arange(12, dtype=np.int16)[:, None, None] * np.ones((1, 6, 6), np.int16)
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((1.0, 1.0, 1.0))
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    lay(tmp_path / "ct.nii.gz", Grid((5, 4, 4), (4.0, 1.0, 1.0)), tmp_path / "laid.nii.gz")
    laid = read_volume(tmp_path / "laid.nii.gz")
    # three slices of 4 mm in 12 mm, middles at 1.5, 5.5 and 9.5; then back
    assert laid.hu[:, 2, 2].tolist() == [2, 6, 10, 6, 2]  # halves are rounded to even


@pytest.mark.slow
def test_the_kit_alone_is_run_timed_and_plotted(tmp_path):
    from train.synthesis.phantom import write_phantom

    ct = write_phantom(tmp_path / "in", 0)
    out = tmp_path / "out"
    int8 = ["--int8"] if {"avx512_vnni", "avx_vnni", "amx_int8"} & cpu_flags() else []
    command = ["inference", str(ct), "--repeats", "2", "-o", str(out), *int8]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    found = json.loads((out / "inference.json").read_text())
    (ways,) = found["ways"].values()
    assert list(ways) == ["kit, exact", "kit", *(["kit, 8-bit"] if int8 else [])]
    for way in ways.values():
        assert len(way["seconds"]) == len(way["peak_mib"]) == 2
        inside = sum(s for stage, s in way["stages_s"].items() if stage != "read")
        assert 0 < inside < max(way["seconds"])
    assert ways["kit"]["windows"] <= ways["kit, exact"]["windows"]
    assert (out / "kit" / ct.name.replace("_0000", "")).is_file()
    with Image.open(out / "inference.png") as picture:
        assert min(picture.size) > 300


def test_a_way_that_fails_is_named(tmp_path):
    from benchmarks.prediction import benchmark_inference
    from imaging.errors import KitError

    ct = tmp_path / "a_0000.nii.gz"
    ct.write_bytes(b"no CT")
    manifest = tmp_path / "weights_manifest.json"
    manifest.write_text("{}")
    with pytest.raises(KitError, match=r"a: kit, exact: exit status 1: .*manifest"):
        benchmark_inference([ct], manifest, None, 1, tmp_path / "out")
