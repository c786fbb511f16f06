"""Numbers that are no Hounsfield units are told apart from those that are, and named."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.intensities import warning
from imaging.volumes import read_volume
from train.synthesis.phantom import phantom

NO_WARNING = None


@cache
def body(seed=0):
    return phantom(seed, (48, 72, 80), (6.0, 5.0, 5.0))[0]


def float32(numbers):
    return np.asarray(numbers, np.float32)


def windowed(hu, low=-160, high=240):
    return (hu.astype(np.float64).clip(low, high) - low) / (high - low)


def mr(hu):
    """No air, no fat, one hump: noise outside, and a tissue's brightness of its own."""
    rng = np.random.default_rng(0)
    return np.abs(rng.normal(0, 20, hu.shape)) + (hu > -300) * rng.gamma(4, 90, hu.shape)


@pytest.mark.parametrize("seed", range(4))
def test_hounsfield_units_have_no_warning(seed):
    assert warning(body(seed)) is NO_WARNING
    assert warning(float32(body(seed))) is NO_WARNING


@pytest.mark.parametrize(("low", "high"), [(-1000, 1000), (-500, 1500), (-200, 300), (-160, 240)])
def test_hounsfield_units_within_a_window_have_no_warning(low, high):
    assert warning(body().clip(low, high)) is NO_WARNING


@pytest.mark.parametrize("padding", [-1024, -2000, -3024, 0])
def test_a_padded_corner_has_no_warning(padding):
    hu = body().copy()
    hu[:, :20, :20] = padding
    assert warning(hu) is NO_WARNING


def test_part_of_a_body_has_no_warning():
    assert warning(body()[:, 20:-20, 20:-20]) is NO_WARNING
    assert warning(body()[20:30]) is NO_WARNING


@settings(max_examples=60)
@given(
    offset=st.one_of(st.integers(250, 40000), st.integers(-3000, -250)),
    turned=st.permutations(range(3)),
    clamped=st.booleans(),
)
def test_an_offset_is_named(offset, turned, clamped):
    hu = body().astype(np.int64)
    moved = float32((hu.clip(-1000, None) if clamped else hu) + offset).transpose(turned)
    message = warning(moved)
    assert message.startswith(f"the numbers, {moved.min():g} to {moved.max():g}, do not look like")
    named = int(message.partition("about ")[2].partition(" ")[0].replace(",", ""))
    assert abs(named - offset) <= 64
    assert message.endswith("was added to HU, it seems; subtract it")


@given(middle=st.integers(-2000, 5000))
def test_an_inverted_ct_is_named(middle):
    assert "dark and bright are exchanged" in warning(float32(middle - body().astype(np.int64)))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (lambda hu: windowed(hu), "a window scaled to 0..1"),
        (lambda hu: windowed(hu, -1000, 1000), "a window scaled to 0..1"),
        (lambda hu: 2 * windowed(hu) - 1, "a window scaled to -1..1"),
        (lambda hu: np.rint(255 * windowed(hu)), "a window in 8 bits"),
        (lambda hu: 100 * windowed(hu), "a window in 8 bits"),
        (lambda hu: hu.clip(0, 255), "a window in 8 bits"),
        (lambda hu: (hu - hu.mean()) / hu.std(), "z-scores"),
        (lambda hu: (hu.clip(-200, 300) - 50.0) / 80, "z-scores, it seems|too little for a body"),
        (lambda hu: hu.clip(-1000, None) / 1000, "HU over 1000"),
        (lambda hu: hu.clip(-1000, 1000) / 1000, "scaled to -1..1, or HU over 1000"),
        (lambda hu: np.where(hu < 0, hu + 65536.0, hu), "signed 16-bit numbers are called unsig"),
        (lambda hu: hu * 10.0, "on another scale|are not where they belong; is it a CT"),
        (lambda hu: hu * 2.0, "on another scale|are not where they belong; is it a CT"),
        (lambda hu: 4095 * windowed(hu, -1024, 1024), "about .1,0|on another scale"),
        (mr, "neither air nor fat; is it a CT, or an MR image"),
    ],
)
def test_what_else_it_may_be(numbers, message):
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(warning(float32(numbers(body()))))


def test_a_few_voxels_say_nothing():
    assert warning(np.arange(27, dtype=np.int16).reshape(3, 3, 3)) is None


@pytest.mark.data
def test_no_real_ct_has_a_warning(data_dir):
    for path in (data_dir / "ct").glob("*.nii.gz"):
        volume = read_volume(path)
        assert volume.warnings == (), path.name
        if path.name.startswith("TS_small"):
            assert "about +1,024 was" in warning(float32(volume.hu) + 1024)
