"""Windows of several lattices: worked out on a line, and whole volumes of known logits."""

import itertools
import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.augmentation import LATTICES
from inference.lattices import logit_slabs, resizing_s
from inference.sliding_window import PLAIN, Lattice, Window, lattice_starts, window_count

PATCH = (4, 6, 8)
MANY = (PLAIN, Lattice(scale=1.4), Lattice(scale=0.7), Lattice(between=True))


def window(*lattices, patch=PATCH, step=0.5, blending="gaussian", flips=((),)):
    return Window(patch, step, blending, flips, lattices)


def logits_of(image, infer, window, advance=lambda: None):
    found = logit_slabs(image, partial(map, infer), window, advance)
    return np.concatenate([slab.copy() for slab in found], axis=1)


@pytest.mark.parametrize("lattices", [(PLAIN,), MANY])
def test_the_logits_do_not_depend_on_the_number_of_threads(lattices):
    image = image_of((9, 11, 13))
    found = []
    for threads in (1, 3):
        infer = partial(map, lambda x: np.concatenate([x, 2 * x, -x, x + 1, x * x], axis=1))
        slabs = logit_slabs(image, infer, window(*lattices), threads=threads)
        found.append(np.concatenate([slab.copy() for slab in slabs], axis=1))
    assert found[0].shape == (5, 9, 11, 13)
    np.testing.assert_array_equal(*found)


def image_of(shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def line(*values):
    return np.array([[values]], np.float32)


def test_windows_halfway_between_on_a_line():
    # patch 4, half a patch apart on 8 voxels: windows at 0, 2, 4, and between them at 1, 3. Each
    # answers its number from left to right; a voxel has the mean of those that it lies in
    numbers = itertools.count()
    between = window(PLAIN, Lattice(between=True), patch=(1, 1, 4), blending="constant")
    found = logits_of(line(*range(8)), lambda x: np.full_like(x, next(numbers)), between)
    assert found.ravel().tolist() == [0, 0.5, 1, 1.5, 2.5, 3, 3.5, 4]


def test_smaller_windows_on_a_line():
    # Patch 4, one plain window; and windows of 2 voxels (a, b) and (c, d), which the network sees
    # as a, (3a + b)/4, (a + 3b)/4, b. It says the same, which comes back as (7a + b)/8, (a + 7b)/8
    half = window(PLAIN, Lattice(scale=0.5), patch=(1, 1, 4), step=1.0, blending="constant")
    seen = []

    def infer(patch):
        seen.append(patch.ravel().tolist())
        return patch

    a, b, c, d = 8.0, 16.0, 0.0, 80.0
    found = logits_of(line(a, b, c, d), infer, half)
    assert seen == [[a, b, c, d], [a, 10.0, 14.0, b], [c, 20.0, 60.0, d]]
    expected = [(a + 9) / 2, (b + 15) / 2, (c + 10) / 2, (d + 70) / 2]
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)


def test_a_window_larger_than_the_image_is_padded_with_zeros_about_its_middle():
    # 3 voxels in a window of 6 are 0, 1, 2, 3, 0, 0 there; as 3 they are the means of pairs
    double = window(PLAIN, Lattice(scale=2.0), patch=(1, 1, 3), blending="constant")
    seen = []

    def infer(patch):
        seen.append((4 * patch).ravel().tolist())  # two of two rows and slices are padding
        return patch

    found = logits_of(line(1, 2, 3), infer, double)
    assert double.largest == (2, 2, 6)
    assert seen == [[0.5, 2.5, 0.0], [4.0, 8.0, 12.0]]
    assert found.shape == (1, 1, 1, 3)


@settings(max_examples=20)
@given(
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    lattices=st.sampled_from([*LATTICES.values(), MANY]),
    step=st.sampled_from([0.5, 0.8, 1.0]),
)
def test_weights_sum_to_one_and_the_count_promised_is_the_count_run(shape, lattices, step):
    calls = itertools.count()
    laid = window(*lattices, step=step)
    found = logits_of(image_of(shape), np.ones_like, laid, advance=lambda: next(calls))
    assert found.shape == (1, *shape)
    np.testing.assert_allclose(found, 1, rtol=1e-5)  # a float32 sum of at most some 100 weights
    assert next(calls) == window_count(shape, laid)


def test_shifted_windows_give_back_the_networks_logits():
    image = image_of((9, 13, 11))
    found = logits_of(image, lambda x: np.concatenate([x, -x], axis=1), window(*LATTICES["shift"]))
    np.testing.assert_allclose(found, [image, -image], rtol=1e-5)


def test_flips_are_undone_in_every_lattice():
    ramp = np.arange(8, dtype=np.float32)
    flips = ((), (2,))
    found = logits_of(
        np.ones((4, 6, 8), np.float32), lambda x: x * ramp, window(*MANY, flips=flips)
    )
    # the mean of a ramp 0 … 7 and its mirror image is 3.5, wherever the window lies
    shown = logits_of(np.ones((4, 6, 8), np.float32), lambda x: 3.5 * x, window(*MANY, flips=((),)))
    np.testing.assert_allclose(found, shown, rtol=1e-4)


def test_one_window_leaves_none_between():
    between = Lattice(between=True)
    assert lattice_starts(PATCH, window(PLAIN), between) == [[], [], []]
    assert window_count(PATCH, window(PLAIN, between)) == 1
    assert lattice_starts((4, 6, 12), window(PLAIN), PLAIN) == [[0], [0], [0, 4]]
    assert lattice_starts((4, 6, 12), window(PLAIN), between) == [[0], [0], [2]]
    assert window_count((4, 6, 12), window(PLAIN, between)) == 3


def test_memory_does_not_grow_with_the_length_of_the_image():
    long = window(*MANY, patch=(16, 24, 32), step=1.0)

    def peak(slices):
        image = np.zeros((slices, 48, 64), np.float32)
        tracemalloc.start()
        for _ in logit_slabs(image, partial(map, lambda x: x.repeat(5, axis=1)), long):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # logits of 160 slices more would be 5 classes x 160 x 48 x 64 voxels x 4 bytes: 9.8 MB
    assert peak(240) - peak(80) < 1e6


def test_only_windows_of_another_size_take_time_to_be_resampled():
    logits = np.zeros((3, *PATCH), np.float32)
    assert resizing_s(window(*LATTICES["shift"]), logits) == 0
    assert 0 < resizing_s(window(*MANY), logits) < 1


def test_a_window_s_largest_size_is_that_of_its_lattices():
    assert window(*MANY).largest == (6, 8, 11)  # 5.6, 8.4, 11.2
    assert replace(window(*MANY), lattices=(PLAIN,)).largest == PATCH
