"""How tests read the DICOM files that they wrote, and what they compare."""

import numpy as np
import pytest

pytest.importorskip("pydicom")

from imaging.dicom.files import dicom_files
from imaging.dicom.pixels import read_series
from imaging.dicom.scan import find_series
from tests.imaging.dicom_files import SPACING_MM, phantom

HU = phantom()
Z_MM = SPACING_MM[0]


def found_in(folder):
    files, other = dicom_files(folder)
    series, passed = find_series(files, folder)
    return series, passed, other


def cases_in(folder):
    return [one for one in found_in(folder)[0] if one.left_out is None]


def only(folder):
    (one,) = cases_in(folder)
    return one


def names_of(series):
    return [(one.name, one.outcome) for one in series]


def place(volume):
    return np.frombuffer(volume.header.raw[280:328], "<f4").reshape(3, 4)


def check(series, expected, warnings=()):
    assert series.problem is None
    found = read_series(series)
    np.testing.assert_array_equal(found.hu, expected.hu)
    assert found.hu.dtype == expected.hu.dtype
    assert found.grid.shape == expected.grid.shape
    assert found.grid.spacing_mm == pytest.approx(expected.grid.spacing_mm, rel=1e-6)
    np.testing.assert_allclose(place(found), place(expected), atol=1e-4)
    np.testing.assert_allclose(found.direction, expected.direction, atol=1e-6)
    assert found.warnings == warnings
    return found


def each(change):
    return lambda made: [change(data) for data in made]


def without(*names):
    def change(made):
        for data in made:
            for name in names:
                if name in data:
                    delattr(data, name)
        return made

    return change
