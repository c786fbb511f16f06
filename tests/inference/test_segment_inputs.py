"""What `segment` takes: one CT as a path, or in memory."""

import shutil

import numpy as np
import pytest

from imaging.errors import KitError, VolumeError
from inference import Settings, segment
from inference.inputs import one_ct

pytest.importorskip("onnx")
pytest.importorskip("openvino")
pytest.importorskip("pydicom")


ONE_THREAD = Settings(threads=1, precision="f32")
LPS = np.eye(3)


def test_segment_takes_one_ct(tmp_path, network, write_ct, boxes):
    ct = write_ct(tmp_path / "in" / "a_0000.nii.gz", boxes[0])
    manifest = network()
    found = segment(str(ct), str(manifest.folder / "weights_manifest.json"), ONE_THREAD)
    np.testing.assert_array_equal(found.labels, boxes[1])
    assert (found.report.case, found.source) == ("a", ct)
    shutil.copy(ct, ct.with_name("b.nii.gz"))
    with pytest.raises(KitError, match=r"holds 2 CTs \(a, b\); give one of them"):
        segment(ct.parent, manifest, ONE_THREAD)
    with one_ct(ct) as source:
        assert source == ct


def test_an_array_without_direction_is_said_to_be_lps(network, boxes):
    hu, expected = boxes
    found = segment(hu, network(), ONE_THREAD, spacing_mm=(2, 2, 2))
    np.testing.assert_array_equal(found.labels, expected)
    assert found.report.warnings[0] == (
        "no direction was given; axes to Left, Posterior, Superior were assumed"
    )
    assert found.header.shape == hu.shape
    found = segment(hu, network(), ONE_THREAD, spacing_mm=(2, 2, 2), direction=LPS)
    assert found.report.warnings == ()


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.zeros((3, 4), np.int16), {}, r"array of int16 \(3, 4\); give numbers \[Z, Y, X\]"),
        (np.zeros((3, 4, 5), bool), {}, "array of bool"),
        (np.zeros((3, 4, 5)), {"spacing_mm": (1, 1, 1)}, "array: every voxel is 0"),
        (np.ones((3, 4, 5)), {}, "spacing_mm is None; give an array's voxel size"),
        (np.ones((3, 4, 5)), {"spacing_mm": (1, 1, 0)}, r"spacing_mm is \(1, 1, 0\)"),
        (np.ones((3, 4, 5)), {"spacing_mm": 2.0}, "spacing_mm is 2.0"),
        (
            np.ones((3, 4, 5)),
            {"spacing_mm": (1, 1, 1), "direction": 2 * LPS},
            "three columns of length 1",
        ),
        (
            np.full((3, 4, 5), np.nan),
            {"spacing_mm": (1, 1, 1)},
            "array: 60 voxels are NaN or infinite",
        ),
    ],
)
def test_arrays_that_are_no_ct(network, array, options, message):
    with pytest.raises(VolumeError, match=message):
        segment(array, network(), ONE_THREAD, **options)


def test_spacing_is_only_for_arrays(tmp_path, network, write_ct, boxes):
    ct = write_ct(tmp_path / "a.nii.gz", boxes[0])
    with pytest.raises(KitError, match="are for arrays; every other CT has its own"):
        segment(ct, network(), ONE_THREAD, spacing_mm=(2, 2, 2))
