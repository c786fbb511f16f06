"""Fixtures that several tests of images share."""

import numpy as np
import pytest
import SimpleITK as sitk

from imaging.volumes import read_volume


@pytest.fixture
def as_nifti(tmp_path):
    """Read what the voxels of `tests.imaging.dicom_checks`, or others, are as a NIfTI file."""
    from tests.imaging.dicom_checks import HU
    from tests.imaging.dicom_files import ORIGIN_MM, SPACING_MM

    def read(hu=HU, direction=None, origin_mm=ORIGIN_MM, spacing_mm=SPACING_MM):
        image = sitk.GetImageFromArray(hu)
        image.SetSpacing(spacing_mm[::-1])
        image.SetOrigin(origin_mm)
        axes = np.eye(3) if direction is None else np.asarray(direction, float)
        image.SetDirection(axes.ravel().tolist())
        sitk.WriteImage(image, str(tmp_path / "same.nii.gz"))
        return read_volume(tmp_path / "same.nii.gz")

    return read
