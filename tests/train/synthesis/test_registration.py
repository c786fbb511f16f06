import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.errors import KitError
from train.synthesis.registration import (
    Bend,
    LabelledCT,
    _start,
    fit_bend,
    source_slices,
    warp,
)


def block(shape, corner, size, label, labels=None):
    labels = np.zeros(shape, dtype=np.uint8) if labels is None else labels
    labels[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = label
    return labels


def two_organs(offset):
    z, y, x = offset
    labels = block((24, 30, 36), (6 + z, 6 + y, 4 + x), (9, 12, 9), 1)
    return block(None, (6 + z, 9 + y, 22 + x), (9, 9, 6), 3, labels)


def test_a_shifted_anatomy_is_found_and_the_ct_goes_with_it():
    source, target = two_organs((0, 0, 0)), two_organs((4, 3, 2))
    hu = np.where(source == 1, 100.0, np.where(source == 3, 60.0, 0.0)).astype(np.float32)

    bend = fit_bend(source, target, steps=15)
    moved, labels = warp(LabelledCT(hu, source), bend, (24, 30, 36))

    assert bend.overlap > 0.95
    for organ, mean in ((1, 100.0), (3, 60.0)):
        both = (labels == organ) & (target == organ)
        dsc = 2 * both.sum() / ((labels == organ).sum() + (target == organ).sum())
        assert dsc > 0.7  # blocks a few voxels thick, compared at every third voxel
        assert np.median(moved[both]) == pytest.approx(mean)


@given(st.integers(5, 40), st.integers(1, 4), st.floats(-3, 3))
def test_a_shift_moves_every_voxel_alike_whatever_the_size(size, stride, shift):
    # Points at every `stride`-th voxel, the last perhaps beyond the end, as `fit_bend` gives them.
    points = np.arange(-(-size // stride)) * stride + (stride - 1) / 2
    field = np.stack(np.meshgrid(points, points, points, indexing="ij")).astype(np.float32)
    field[0] += shift
    bend = Bend(field, 1.0, stride)
    ramp = np.arange(size, dtype=np.float32)[:, None, None]
    hu = np.ascontiguousarray(np.broadcast_to(ramp, (size,) * 3))
    moved, _ = warp(LabelledCT(hu, np.zeros((size,) * 3, np.uint8)), bend, (size,) * 3)
    expected = np.clip(np.arange(size) + np.float32(shift), 0, size - 1)
    np.testing.assert_allclose(moved[:, 2, 2], expected, atol=1e-3)
    np.testing.assert_allclose(source_slices(bend, size), np.arange(size) + shift, atol=1e-3)


def test_one_shared_organ_tells_no_scale():
    labels = block((20, 20, 20), (5, 5, 5), (10, 10, 10), 1)
    scale, shift = _start(labels, labels, (1,))
    assert (scale.tolist(), shift.tolist()) == ([1, 1, 1], [0, 0, 0])


def test_anatomies_that_share_no_organ_are_refused():
    labels = block((20, 20, 20), (5, 5, 5), (10, 10, 10), 1)
    with pytest.raises(KitError, match="share no organ"):
        fit_bend(labels, labels * np.uint8(7))
