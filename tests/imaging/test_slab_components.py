"""Components found slab by slab are those of the whole map; scipy says which they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from imaging import slab_components
from imaging.slab_components import SlabComponents

MAPS = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(1, 6)),
    elements=st.sampled_from([0, 0, 1, 2]),
)


def whole_map(labels):
    """Return size, label and mask of every component, in the order of their first voxels."""
    found = []
    for label in np.unique(labels[labels > 0]):
        numbers, count = ndimage.label(labels == label, np.ones((3, 3, 3)))
        found += [(label, numbers == number) for number in range(1, count + 1)]
    found.sort(key=lambda one: int(np.flatnonzero(one[1])[0]))
    return [(int(mask.sum()), int(label), mask) for label, mask in found]


@settings(max_examples=300)
@given(MAPS, st.integers(1, 10), st.randoms(use_true_random=False))
def test_any_map_in_slabs_of_any_depth(labels, depth, random):
    expected = whole_map(labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slab_components, "SLAB_SLICES", depth)
        erased = labels.copy()
        found = SlabComponents(erased)
        assert found.sizes.tolist() == [size for size, _, _ in expected]
        assert found.labels.tolist() == [label for _, label, _ in expected]
        gone = [random.random() < 0.5 for _ in expected]
        found.erase(np.array(gone, bool))
    left = labels.copy()
    for (_, _, mask), lost in zip(expected, gone, strict=True):
        if lost:
            left[mask] = 0
    np.testing.assert_array_equal(erased, left)


def test_a_component_that_comes_together_only_in_the_last_slab(monkeypatch):
    monkeypatch.setattr(slab_components, "SLAB_SLICES", 2)
    labels = np.zeros((5, 3, 5), np.uint8)
    labels[:, 1, 0] = labels[:, 1, 4] = 3  # two columns of 5 voxels
    labels[4, 1, 1:4] = 3  # and a bar of 3 between their ends
    labels[2, 0, 2] = 7
    found = SlabComponents(labels)
    assert (found.sizes.tolist(), found.labels.tolist()) == ([13, 1], [3, 7])
    found.erase(np.array([True, False]))
    assert np.argwhere(labels).tolist() == [[2, 0, 2]]


def test_an_empty_map_has_none():
    found = SlabComponents(np.zeros((3, 4, 5), np.uint8))
    assert found.sizes.size == found.labels.size == 0
    found.erase(np.zeros(0, bool))
