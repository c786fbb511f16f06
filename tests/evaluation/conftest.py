"""Fixtures that several tests of the evaluation share."""

import numpy as np
import pytest

from tests.evaluation.maps import write_map


@pytest.fixture
def ct(tmp_path):
    """A CT of 4 x 5 x 6 voxels, no two alike."""
    hu = (np.arange(120).reshape(4, 5, 6) - 50).astype(np.int16)
    write_map(hu, tmp_path / "a_0000.nii.gz")
    return tmp_path / "a_0000.nii.gz"
