import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.errors import GeometryError
from inference.augmentation import flips_of
from inference.lattices import logit_slabs
from inference.sliding_window import (
    Window,
    profile,
    window_count,
    window_slices,
    window_starts,
)

PATCH = (4, 6, 8)
SHAPES = [(4, 6, 8), (9, 13, 11), (3, 5, 20), (1, 1, 1)]


@pytest.fixture(scope="module")
def nnunet():
    return pytest.importorskip("nnunetv2.inference.sliding_window_prediction")


def window(step=0.5, blending="gaussian", flips=((),)):
    return Window(PATCH, step, blending, flips)


def predict_logits(image, infer, *arguments):
    slabs = logit_slabs(image, partial(map, infer), *arguments)
    return np.concatenate([slab.copy() for slab in slabs], axis=1)


def image_of(shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


@pytest.mark.parametrize(
    ("size", "patch", "step", "expected"),
    [
        (8, 8, 0.5, [0]),  # one window is the whole axis
        (10, 4, 0.5, [0, 2, 4, 6]),  # 6 / 2 = 3 strides meet the edge
        (11, 4, 0.5, [0, 2, 4, 5, 7]),  # ceil(7 / 2) + 1 = 5 windows, 1.75 apart: 1.75 3.5 5.25
        (110, 64, 0.5, [0, 23, 46]),  # the example in nnU-Net's own comment
        (12, 8, 1.0, [0, 4]),
    ],
)
def test_windows_are_spread_evenly_from_edge_to_edge(size, patch, step, expected):
    assert window_starts(size, patch, step) == expected


@given(size=st.integers(1, 400), patch=st.integers(1, 200), step=st.floats(0.1, 1.0))
def test_windows_start_where_those_of_nnunet_do(nnunet, size, patch, step):
    size = max(size, patch)
    [expected] = nnunet.compute_steps_for_sliding_window((size,), (patch,), step)
    assert window_starts(size, patch, step) == expected


def test_a_patch_longer_than_the_axis_is_refused():
    with pytest.raises(GeometryError, match="pad the volume first"):
        window_starts(3, 4, 0.5)


@pytest.mark.parametrize("patch", [(8, 10, 12), (7, 9, 11), (1, 2, 3)])
def test_gaussian_weights_are_those_of_nnunet(nnunet, patch):
    import torch

    expected = nnunet.compute_gaussian(patch, dtype=torch.float32, device=torch.device("cpu"))
    z, y, x = (profile(n, "gaussian") for n in patch)
    found = z[:, None, None] * y[:, None] * x
    # two float32 products against one rounding of a float64
    np.testing.assert_allclose(found, expected.numpy(), rtol=5e-7)


def test_constant_blending_weighs_every_voxel_the_same():
    assert profile(5, "constant").tolist() == [1, 1, 1, 1, 1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("blending", ["gaussian", "constant"])
@pytest.mark.parametrize("flips", [((),), ((), (2,)), flips_of("full", (0, 1, 2))])
def test_stitching_gives_back_the_networks_logits(shape, blending, flips):
    image = image_of(shape)

    def infer(patches):
        return np.concatenate([2 * patches, -patches], axis=1)

    logits = predict_logits(image, infer, window(blending=blending, flips=flips))

    # float32 sums of at most 8 flips and 27 windows, divided by sums of the same weights
    np.testing.assert_allclose(logits, [2 * image, -image], rtol=2e-5)


def test_slices_come_in_order_and_no_more_than_a_patch_holds():
    image = image_of((37, 6, 8))
    slabs = [slab.copy() for slab in logit_slabs(image, iter, window())]
    # 33 / 2 = 17 strides of 33 / 17 slices, then a whole patch
    assert [slab.shape[1] for slab in slabs] == [2] * 8 + [1] + [2] * 8 + [4]
    np.testing.assert_allclose(np.concatenate(slabs, axis=1)[0], image, rtol=2e-5)


@pytest.mark.parametrize("flips", [((), (2,)), flips_of("full", (0, 1, 2))])
def test_flips_are_undone_and_averaged_even_if_the_engine_reuses_its_memory(flips):
    answer = np.empty((1, 1, *PATCH), dtype=np.float32)
    ramp = np.arange(np.prod(PATCH), dtype=np.float32).reshape(PATCH)

    def infer(patches):  # no flip commutes with the ramp, so a wrong average is seen
        np.multiply(patches[0, 0], ramp, out=answer[0, 0])
        return answer

    image = image_of(PATCH)
    [logits] = predict_logits(image, infer, window(flips=flips))

    expected = image * np.mean([np.flip(ramp, axes) for axes in flips], axis=0)
    np.testing.assert_allclose(logits, expected, rtol=1e-5)  # float32 sum of eight


@pytest.mark.parametrize("flips", [((),), ((), (2,))])
def test_an_engine_may_ask_for_the_next_patch_before_it_answers(flips):
    image = image_of((9, 13, 11))
    answers = [np.empty((1, 2, *PATCH), dtype=np.float32) for _ in range(2)]

    def ahead(patches):
        """Answer in two places in turn, one patch behind the request."""
        waiting = None
        for number, patch in enumerate(patches):
            answer = answers[number % 2]
            np.concatenate([2 * patch, -patch], axis=1, out=answer)
            if waiting is not None:
                yield waiting
            waiting = answer
        yield waiting

    slabs = logit_slabs(image, ahead, window(flips=flips))
    logits = np.concatenate([slab.copy() for slab in slabs], axis=1)
    np.testing.assert_allclose(logits, [2 * image, -image], rtol=2e-5)


def test_what_is_smaller_than_the_patch_is_padded_with_zeros_the_odd_voxel_behind():
    seen = []

    def infer(patches):
        seen.append(patches.copy())
        return patches

    predict_logits(np.ones((4, 6, 5), dtype=np.float32), infer, window())
    assert seen[0][0, 0, 0, 0].tolist() == [0, 1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", [0.5, 1.0])
def test_the_count_promised_is_the_count_run(shape, step):
    calls = itertools.count()
    logits = predict_logits(image_of(shape), lambda x: x, window(step), lambda: next(calls))
    assert logits.shape == (1, *shape)
    assert next(calls) == window_count(shape, window(step))


def test_every_voxel_is_in_a_window():
    covered = np.zeros((9, 13, 11), dtype=bool)
    for place in window_slices((9, 13, 11), window(step=1.0)):
        assert covered[place].shape == PATCH
        covered[place] = True
    assert covered.all()
