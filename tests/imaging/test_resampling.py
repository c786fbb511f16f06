"""The resampler is torch's and skimage's linear one, at the edges too."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import resize

from imaging.machine import resident_mib
from imaging.resampling import SLAB_SLICES, resample_linear, resample_nearest

shapes = st.tuples(*[st.integers(1, 9)] * 3)


def noise(shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_ramp_by_hand():
    ramp = np.array([[[0.0, 4.0]]], dtype=np.float32)
    # centers at -0.25, 0.25, 0.75, 1.25 of the stored voxels; the edges are extended
    assert resample_linear(ramp, (1, 1, 4)).tolist() == [[[0.0, 1.0, 3.0, 4.0]]]
    # one voxel over both: its center lies between them
    assert resample_linear(ramp, (1, 1, 1)).tolist() == [[[2.0]]]


@given(shapes, shapes)
def test_linear_is_torchs(shape, goal):
    image = noise(shape)
    tensor = torch.from_numpy(image)[None, None]
    expected = torch.nn.functional.interpolate(
        tensor, size=goal, mode="trilinear", align_corners=False
    )
    # values are of the order 1; torch's positions are float32, ITK's float64
    np.testing.assert_allclose(resample_linear(image, goal), expected[0, 0], atol=1e-5)


@given(shapes, shapes)
def test_linear_is_skimages_so_nnunets(shape, goal):
    image = noise(shape)
    expected = resize(image, goal, order=1, mode="edge", anti_aliasing=False, clip=False)
    np.testing.assert_allclose(resample_linear(image, goal), expected, atol=1e-5)


def test_a_large_anisotropic_volume_agrees_to_its_last_voxel():
    image = noise((41, 64, 67))
    tensor = torch.from_numpy(image)[None, None]
    goal = (68, 47, 131)
    expected = torch.nn.functional.interpolate(
        tensor, size=goal, mode="trilinear", align_corners=False
    )
    np.testing.assert_allclose(resample_linear(image, goal), expected[0, 0], atol=1e-4)


@given(st.integers(1, 80), st.integers(1, 80), st.booleans(), st.booleans())
def test_what_gives_its_memory_back_is_resampled_alike(size, goal, flipped, boxed):
    stored = np.random.default_rng(0).integers(-1000, 1000, (size, 40, 60)).astype(np.int16)
    view = stored[::-1] if flipped else stored
    view = view[:, 5:30, 10:] if boxed else view
    expected = resample_linear(view, (goal, 20, 30), (-500, 500))
    found = resample_linear(view, (goal, 20, 30), (-500, 500), consume=True)
    np.testing.assert_array_equal(found, expected)


def test_a_long_ct_is_gone_once_it_is_resampled():
    stored = np.ones((256, 256, 256), np.int16)  # 32 MiB
    before_mib = resident_mib()
    assert (resample_linear(stored, (64, 64, 64), consume=True) == 1).all()
    assert before_mib - resident_mib() > 28
    again = np.ones((256, 256, 256), np.int16)
    resample_linear(again, (64, 64, 64))
    assert (again == 1).all()


def test_the_same_shape_is_the_same_array():
    image = noise((2, 3, 4))
    assert resample_linear(image, (2, 3, 4)) is image


def test_a_flipped_view_is_resampled_as_it_looks():
    image = noise((3, 4, 5))[::-1, :, ::-1]
    np.testing.assert_array_equal(
        resample_linear(image, (4, 6, 8)), resample_linear(image.copy(), (4, 6, 8))
    )


def test_nearest_keeps_labels():
    labels = np.array([[[3, 14, 0]]], dtype=np.uint8)
    # centers at -1/3, 0, 1/3 and so on
    found = resample_nearest(labels, (1, 1, 9))
    assert found.tolist() == [[[3, 3, 3, 14, 14, 14, 0, 0, 0]]]
    assert found.dtype == np.uint8


@pytest.mark.parametrize("goal", [(5, 7, 9), (2, 3, 4), (1, 1, 1)])
def test_nearest_makes_no_new_label(goal):
    labels = np.random.default_rng(0).choice([0, 5, 13], (4, 6, 8)).astype(np.uint8)
    assert set(np.unique(resample_nearest(labels, goal))) <= {0, 5, 13}


def test_slabs_are_cut_where_nothing_shows():
    # 3 slabs up, 2 slabs down: each slab's slices are those of the whole
    image = noise((50, 6, 7))
    for goal in [(3 * SLAB_SLICES - 5, 8, 9), (SLAB_SLICES + 1, 5, 6)]:
        tensor = torch.from_numpy(image)[None, None]
        whole = torch.nn.functional.interpolate(
            tensor, size=goal, mode="trilinear", align_corners=False
        )
        np.testing.assert_allclose(resample_linear(image, goal), whole[0, 0], atol=1e-4)


@pytest.mark.parametrize("goal", [(1, 1, 2), (1, 1, 4)])
def test_what_is_clipped_is_clipped_before_it_is_mixed(goal):
    hu = np.array([[[-3000, 300]]], dtype=np.int16)
    clipped = np.array([[[-1000.0, 200.0]]], dtype=np.float32)
    found = resample_linear(hu, goal, clip=(-1000.0, 200.0))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, resample_linear(clipped, goal))


@pytest.mark.parametrize("bounds", [(-200, 300), (-200.5, 300.25), (-40000, 40000)])
@pytest.mark.parametrize("goal", [(5, 9, 11), (2, 3, 4)])
def test_clipping_comes_before_interpolation_whatever_the_type(bounds, goal):
    hu = np.random.default_rng(0).integers(-1000, 1000, (4, 6, 8)).astype(np.int16)
    clipped = np.clip(hu.astype(np.float32), *bounds)
    found = resample_linear(hu, goal, bounds)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, resample_linear(clipped, goal))
    np.testing.assert_array_equal(found, resample_linear(hu.astype(np.float32), goal, bounds))


def test_linear_is_itks():
    hu = np.random.default_rng(0).integers(-1000, 1000, (11, 23, 31)).astype(np.float32)
    goal = (7, 9, 40)
    step = [old / new for old, new in zip(hu.shape, goal, strict=True)][::-1]
    expected = sitk.Resample(
        sitk.GetImageFromArray(hu),
        goal[::-1],
        sitk.Transform(),
        sitk.sitkLinear,
        [mm / 2 - 0.5 for mm in step],
        step,
    )
    # the same sums in float64: after rounding to float32 at most the last bit differs
    np.testing.assert_allclose(
        resample_linear(hu, goal), sitk.GetArrayFromImage(expected), rtol=1e-6
    )
