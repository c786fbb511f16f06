"""Fixtures that several tests of the inference share."""

import pytest


@pytest.fixture
def three_cases(boxes, write_ct, tmp_path):
    """Three cases, and what their label maps shall be."""
    hu, labels = boxes
    places = {name: tmp_path / "in" / f"{name}_0000.nii.gz" for name in "abc"}
    return {name: write_ct(path, hu) for name, path in places.items()}, labels
