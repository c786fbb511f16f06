"""Bad input: one clear line, the right exit code, the other cases done, nothing half-written."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from tests.imaging.bad_files import (
    VOXELS_AT,
    colors,
    complex_numbers,
    constant,
    damaged_gzip,
    four_dimensions,
    fourth_dimension_of_one,
    huge,
    infinite,
    many_slices,
    metres,
    nan_spacing,
    negative_spacing,
    no_gzip_inside,
    not_a_nifti,
    not_a_number,
    nothing_in_it,
    one_slice,
    plain_nifti_under_the_name,
    ramp,
    scaled,
    sheared,
    truncated_gzip,
    truncated_voxels,
    two_dimensions,
    unsigned,
    vectors,
    zero_sform,
    zero_spacing,
)

pytest.importorskip("onnx")
pytest.importorskip("openvino")

NO_MAP = None
REFUSED = [  # how to make it, part of its line, shape of the empty map
    (not_a_nifti, "not a NIfTI-1 file", NO_MAP),
    (no_gzip_inside, "cannot be read", NO_MAP),
    (nothing_in_it, "not a NIfTI-1 file", NO_MAP),
    (truncated_gzip, "damaged or truncated", (20, 20, 20)),
    (truncated_voxels, "damaged or truncated", (8, 8, 8)),
    (damaged_gzip, "damaged or truncated", (20, 20, 20)),
    (two_dimensions, "9×8 voxels; a CT has three dimensions", NO_MAP),
    (four_dimensions, "5×4×3×2 voxels; a CT has three dimensions", NO_MAP),
    (vectors, "6×5×4×1×3 voxels; a CT has three dimensions", NO_MAP),
    (colors, "not one number per voxel", (4, 5, 6)),
    (complex_numbers, "not one number per voxel", (4, 5, 6)),
    (not_a_number, "3 voxels are NaN or infinite", (6, 7, 8)),
    (infinite, "1 voxel is NaN or infinite", (6, 7, 8)),
    (constant, "every voxel is -1000", (6, 7, 8)),
    (negative_spacing, "voxel size -2 × 2 × 2 mm is not positive", (6, 7, 8)),
    (zero_spacing, "voxel size 2 × 2 × 0 mm is not positive", (6, 7, 8)),
    (huge, "32767×32767×32767 voxels are more than any CT has", NO_MAP),
    (nan_spacing, "voxel size 2 × nan × 2 mm is not positive", (6, 7, 8)),
    (metres, "voxel size 0.0008 × 0.0008 × 0.0025 mm is no CT's (0.05 to 50 mm)", (6, 7, 8)),
]
REPAIRED = [  # how to make it, the warning in its line
    (sheared, "not orthonormal; the nearest rotation was used"),
    (zero_sform, "the stored sform is singular"),
    (one_slice, None),
    (many_slices, None),
    (fourth_dimension_of_one, None),
    (unsigned, None),
    (scaled, None),
    (plain_nifti_under_the_name, None),
]


def name(row):
    return row.__name__ if callable(row) else ""


@pytest.fixture
def folders(tmp_path, write_ct, boxes):
    """An inputs folder with a good case, and an outputs folder that is not there yet."""
    write_ct(tmp_path / "inputs" / "good_0000.nii.gz", boxes[0])
    return tmp_path / "inputs", tmp_path / "outputs"


@pytest.fixture
def predict(manifest_path):
    """Run `predict` as the command line does; a traceback fails the test."""

    def run(inputs, outputs, *options, manifest=manifest_path):
        from inference.cli import main

        words = ["predict", inputs, outputs, "--challenge", "--manifest", manifest]
        words += ["--threads", 1, *options]
        done = CliRunner().invoke(main, [str(word) for word in words])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def line_of(done, case):
    """The one line that tells of a case."""
    lines = [line for line in done.stderr.splitlines() if line.startswith(f"{case}: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("make", "message", "empty"), REFUSED, ids=name)
def test_bad_case_is_named_and_the_others_are_done(
    folders, predict, write_ct, boxes, make, message, empty
):
    inputs, outputs = folders
    make(inputs / "bad_0000.nii.gz", write_ct)
    done = predict(inputs, outputs)
    assert done.exit_code == 1
    assert line_of(done, "bad").startswith("bad: failed: bad_0000.nii.gz: ")
    assert message in line_of(done, "bad")
    assert line_of(done, "good").startswith("good: done in ")
    assert done.stderr.rstrip().endswith("Error: 1 of 2 cases failed; see above")
    np.testing.assert_array_equal(read(outputs / "good.nii.gz"), boxes[1])
    expected = ["good.nii.gz", "run.json"]
    if empty is not NO_MAP:
        expected.insert(0, "bad.nii.gz")
        content = gzip.decompress((outputs / "bad.nii.gz").read_bytes())
        assert struct.unpack_from("<3h", content, 42) == empty[::-1]
        assert content[VOXELS_AT:] == bytes(int(np.prod(empty)))
        assert "an empty label map was written in its place" in line_of(done, "bad")
    assert files_in(outputs) == expected


@pytest.mark.parametrize(("make", "warning"), REPAIRED, ids=name)
def test_odd_case_is_done(folders, predict, write_ct, make, warning):
    inputs, outputs = folders
    make(inputs / "odd_0000.nii.gz", write_ct)
    done = predict(inputs, outputs)
    assert done.exit_code == 0, done.stderr
    assert line_of(done, "odd").startswith("odd: done in ")
    assert (warning or " window") in line_of(done, "odd")
    assert files_in(outputs) == ["good.nii.gz", "odd.nii.gz", "run.json"]
    stored = gzip.open if make is not plain_nifti_under_the_name else open
    with stored(inputs / "odd_0000.nii.gz", "rb") as stream:
        header = stream.read(348)
    with gzip.open(outputs / "odd.nii.gz") as stream:
        assert stream.read()[40:56] == header[40:56]


@pytest.mark.parametrize("make", [one_slice, many_slices], ids=name)
def test_thin_and_long_volumes_are_labelled_voxel_by_voxel(folders, predict, write_ct, make):
    inputs, outputs = folders
    make(inputs / "odd_0000.nii.gz", write_ct)
    predict(inputs, outputs, "--blending", "constant")
    hu = read(inputs / "odd_0000.nii.gz")
    if make is many_slices:  # 1 mm slices on the 2 mm grid: compare at the wide ends only
        assert read(outputs / "odd.nii.gz").shape == (2000, 2, 3)
    else:  # ties at 50 and 150 go to the lower class
        np.testing.assert_array_equal(
            read(outputs / "odd.nii.gz"), np.digitize(hu, [50, 150], right=True)
        )


def missing_inputs(inputs, outputs, manifest):
    return [inputs / "none", outputs], "does not exist; make it and put CTs there"


def inputs_is_a_file(inputs, outputs, manifest):
    return [inputs / "good_0000.nii.gz", outputs], "is not a folder"


def empty_inputs(inputs, outputs, manifest):
    (inputs / "good_0000.nii.gz").rename(inputs / "good.nii.gz")  # no _0000
    return [inputs, outputs], "holds no <case>_0000.nii.gz; put a CT there"


def outputs_is_a_file(inputs, outputs, manifest):
    outputs.write_text("in the way")
    return [inputs, outputs], "cannot write to"


def outputs_below_a_file(inputs, outputs, manifest):
    outputs.write_text("in the way")
    return [inputs, outputs / "deeper"], "cannot write to"


def wrong_digest(inputs, outputs, manifest):
    path = manifest.parent / "tiny.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return [inputs, outputs], "tiny.onnx: sha256 "


def wrong_size(inputs, outputs, manifest):
    path = manifest.parent / "tiny.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    return [inputs, outputs], "bytes, the manifest says"


def missing_weights(inputs, outputs, manifest):
    (manifest.parent / "tiny.onnx").unlink()
    return [inputs, outputs], "are missing; put the file there or give --weights"


def missing_manifest(inputs, outputs, manifest):
    manifest.unlink()
    return [inputs, outputs], "cannot read manifest"


def manifest_is_no_json(inputs, outputs, manifest):
    manifest.write_text("{")
    return [inputs, outputs], "is not JSON"


@pytest.mark.parametrize(
    "arrange",
    [
        missing_inputs,
        inputs_is_a_file,
        empty_inputs,
        outputs_is_a_file,
        outputs_below_a_file,
        wrong_digest,
        wrong_size,
        missing_weights,
        missing_manifest,
        manifest_is_no_json,
    ],
    ids=name,
)
def test_run_that_cannot_start_says_why_in_one_line(folders, predict, manifest_path, arrange):
    inputs, outputs = folders
    words, message = arrange(inputs, outputs, manifest_path)
    done = predict(*words)
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert not outputs.is_dir() or files_in(outputs) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--step", "0"], "0.0 is not in the range"),
        (["--threads", "-1"], "-1 is not in the range"),
        (["--engine", "abacus"], "'abacus' is not one of"),
        (["--blending", "sharp"], "'sharp' is not one of"),
        (["--tta", "all"], "'all' is not one of"),
        (["--precision", "f16"], "'f16' is not one of"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_usage_exits_2(folders, predict, options, message):
    done = predict(*folders, *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not folders[1].exists()


def test_a_folder_in_the_place_of_a_label_map_fails_that_case_only(folders, predict, write_ct):
    inputs, outputs = folders
    write_ct(inputs / "blocked_0000.nii.gz", ramp((6, 7, 8)))
    (outputs / "blocked.nii.gz").mkdir(parents=True)
    done = predict(inputs, outputs)
    assert done.exit_code == 1
    assert "blocked: failed: cannot write" in line_of(done, "blocked")
    assert line_of(done, "good").startswith("good: done in ")
    assert files_in(outputs) == ["blocked.nii.gz", "good.nii.gz", "run.json"]


def test_good_cases_alone_exit_0(folders, predict):
    inputs, outputs = folders
    done = predict(inputs, outputs)
    assert done.exit_code == 0
    assert files_in(outputs) == ["good.nii.gz", "run.json"]
