"""HU are int16 where all of them are such integers, whatever they are stored as; else float32."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.errors import VolumeError
from imaging.hounsfield import UNSCALED, hounsfield, hounsfield_of_parts

KINDS = ["i1", "u1", "<i2", ">i2", "<u2", ">u2", "<i4", "<u4", "<i8", "<u8", "<f4", ">f4", "<f8"]


def of(voxels, slope=1.0, intercept=0.0, size=1):
    """The HU of flat numbers that come `size` at a time."""
    parts = [voxels[at : at + size] for at in range(0, len(voxels), size)]
    scaling = (float(slope), float(intercept))
    return hounsfield_of_parts("ct", (1, 1, len(voxels)), ((part, scaling) for part in parts))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("intercept", [0, -27])
def test_whole_numbers_are_int16(kind, intercept):
    found = of(np.array([0, 1, 127], kind), intercept=intercept)
    assert found.dtype == np.int16
    assert found.dtype.isnative
    assert found.ravel().tolist() == [intercept, 1 + intercept, 127 + intercept]


@pytest.mark.parametrize(
    ("stored", "kind", "slope", "intercept", "expected"),
    [
        ([0, 65535], "<u2", 1, -32768, [-32768, 32767]),  # all of int16, from numbers that are not
        ([40000, 40001], "<u4", 1, -40000, [0, 1]),
        ([16777217, 16777219], "<i4", 1, -16777216, [1, 3]),  # float32 has no such numbers
        ([-3, 4], "<i2", -2, 5, [11, -3]),
        ([100000, 100001], "<i4", 16384, -1638400000, [0, 16384]),
        ([2, 4], "<i2", 0.5, 0, [1, 2]),
        ([1.5, 2.5], "<f4", 2, -1024, [-1021, -1019]),
    ],
)
def test_slope_and_intercept(stored, kind, slope, intercept, expected):
    found = of(np.array(stored, kind), slope, intercept)
    assert found.dtype == np.int16
    assert found.ravel().tolist() == expected


@pytest.mark.parametrize("odd", [0.5, 32768, -32769, 1e30])
@pytest.mark.parametrize("place", range(5))
def test_one_that_is_not_makes_all_float32(odd, place):
    """Also if it comes after others were kept as int16."""
    stored = [-1000.0, 7.0, -3.0, 1200.0]
    stored.insert(place, odd)
    found = of(np.array(stored))
    assert found.dtype == np.float32
    assert found.ravel().tolist() == np.float32(stored).tolist()


def test_those_that_are_no_numbers_are_counted():
    stored = np.array([0.0, np.nan, 3.0, np.inf, -np.inf, 1e300])
    with pytest.raises(VolumeError, match=r"^ct: 4 voxels are NaN or infinite; mend the file$"):
        of(stored)
    with pytest.raises(VolumeError, match=r"^ct: 1 voxel is NaN or infinite"):
        of(stored[:3])
    with pytest.raises(VolumeError, match=r"^ct: 2 voxels are NaN or infinite"):
        of(np.array([1, 2]), slope=np.inf)


@settings(max_examples=500)
@given(data=st.data())
def test_as_the_fractions_say(data):
    """Any integers, slope and intercept, in parts of any size, by exact arithmetic."""
    kind = np.dtype(data.draw(st.sampled_from([k for k in KINDS if "f" not in k])))
    limits = np.iinfo(kind)
    number = st.integers(int(limits.min), int(limits.max)) | st.integers(0, 100)
    stored = np.array(data.draw(st.lists(number, min_size=1, max_size=8)), kind)
    slope = data.draw(st.sampled_from([1.0, 1.0, -1.0, 3.0, 0.5, 65537.0]))
    near = -int(stored[0]) * Fraction(slope)
    intercept = data.draw(
        st.sampled_from([0.0, -1024.0, float(np.float32(near)), float(np.float32(near)) - 32768.0])
    )
    found = of(stored, slope, intercept, data.draw(st.integers(1, 8))).ravel()
    exact = [int(n) * Fraction(slope) + Fraction(intercept) for n in stored]
    fits = all(hu.denominator == 1 and -32768 <= hu <= 32767 for hu in exact)
    if slope.is_integer():
        assert found.dtype == (np.int16 if fits else np.float32)
    if found.dtype == np.int16 and fits:
        assert found.tolist() == exact
    else:  # in float32 each step is rounded once
        largest = [max(abs(int(n) * slope), abs(intercept)) for n in stored]
        error = [abs(float(Fraction(float(f)) - hu)) for f, hu in zip(found, exact, strict=True)]
        assert (np.array(error) <= 4 * np.finfo(np.float32).eps * np.array(largest)).all()


def test_an_array_is_not_changed():
    whole, floating = np.arange(8, dtype=np.int16), np.arange(8, dtype=np.float64) - 1024
    assert hounsfield("ct", whole.reshape(2, 2, 2)).base is whole
    across = floating.reshape(2, 2, 2).transpose()
    found = hounsfield("ct", across)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, across)
    assert floating.tolist() == list(range(-1024, -1016))


def test_parts_of_several_scalings():
    """Each DICOM slice may have its own."""
    parts = [(np.array([[1, 2]]), (2.0, 1.0)), (np.array([[3, 4]]), UNSCALED)]
    assert hounsfield_of_parts("ct", (2, 1, 2), parts).ravel().tolist() == [3, 5, 3, 4]
