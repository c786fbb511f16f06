"""A CT that is larger or smaller than any patient is warned of, however it lies in the file."""

import numpy as np
import pytest

from imaging.extent import unlike_patient
from imaging.geometry import Grid
from imaging.volumes import read_volume

LPS = np.eye(3)
SAGITTAL = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
"""Index axes (X, Y, Z) to Posterior, Superior, Left."""


def said(shape, spacing_mm, direction=LPS):
    return unlike_patient(Grid(shape, spacing_mm), direction)


@pytest.mark.parametrize(
    ("shape", "spacing_mm"),
    [
        ((172, 512, 512), (2.5, 0.8, 0.8)),
        ((2651, 512, 512), (0.7, 0.98, 0.98)),  # from head to foot
        ((300, 512, 512), (1.5, 1.66, 1.66)),  # an extended field, 850 mm
        ((60, 512, 512), (0.6, 0.2, 0.2)),  # 102 mm
        ((112, 101, 122), (3, 3, 3)),
        ((6, 7, 8), (2, 2, 2)),  # a part that was cut out
        ((1, 512, 512), (5, 0.8, 0.8)),
    ],
)
def test_what_a_scanner_makes_is_not_warned_of(shape, spacing_mm):
    assert said(shape, spacing_mm) is None


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "direction", "words"),
    [
        # centimetres in the place of millimetres
        ((172, 512, 512), (0.25, 0.08, 0.08), LPS, "41 × 41 mm across and 43 mm long, smaller"),
        ((172, 512, 512), (25, 8, 8), LPS, "4096 × 4096 mm across and 4300 mm long, larger"),
        ((112, 101, 122), (10, 10, 10), LPS, "1220 × 1010 mm across and 1120 mm long, larger"),
        ((172, 512, 512), (25, 0.8, 0.8), LPS, "410 × 410 mm across and 4300 mm long, larger"),
        # 1,800 mm are long enough for a patient, but not wide
        ((512, 1800, 512), (0.8, 1, 0.8), SAGITTAL, None),
        ((512, 1800, 512), (0.8, 1, 0.8), LPS, "410 × 1800 mm across and 410 mm long, larger"),
        ((512, 172, 512), (0.08, 0.25, 0.08), SAGITTAL, "41 × 41 mm across and 43 mm long"),
    ],
)
def test_what_no_patient_is_is_warned_of(shape, spacing_mm, direction, words):
    found = said(shape, spacing_mm, direction)
    assert (found is None) == (words is None)
    if words is not None:
        assert f"the CT is {words}" in found
        assert found.endswith(" than any patient; is its voxel size in mm?")


def test_a_file_in_centimetres_is_read_with_the_warning(tmp_path, write_ct):
    hu = np.random.default_rng(0).integers(-1000, 400, (2, 100, 130)).astype(np.int16)
    found = read_volume(write_ct(tmp_path / "a.nii.gz", hu, (0.25, 0.09, 0.07)))
    assert "the CT is 9 × 9 mm across" in found.warnings[0]
