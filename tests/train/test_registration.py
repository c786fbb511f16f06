import numpy as np
import pytest

from train.registration import fit_bend, warp


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
    moved, labels = warp(hu, source, bend.field, (24, 30, 36))

    assert bend.overlap > 0.95
    for organ, mean in ((1, 100.0), (3, 60.0)):
        both = (labels == organ) & (target == organ)
        dsc = 2 * both.sum() / ((labels == organ).sum() + (target == organ).sum())
        assert dsc > 0.7  # blocks a few voxels thick, compared at every third voxel
        assert np.median(moved[both]) == pytest.approx(mean)


def test_a_partial_bend_lies_between_start_and_end():
    bend = fit_bend(two_organs((0, 0, 0)), two_organs((2, 0, 0)), steps=2)
    np.testing.assert_array_equal(bend.partial(0.0), bend.start)
    np.testing.assert_allclose(bend.partial(0.5), (bend.start + bend.field) / 2, atol=1e-5)


def test_an_identity_field_changes_nothing():
    rng = np.random.default_rng(0)
    hu = rng.normal(size=(6, 7, 8)).astype(np.float32)
    labels = rng.integers(0, 15, (6, 7, 8)).astype(np.uint8)
    field = np.indices((6, 7, 8)).astype(np.float32)
    moved, named = warp(hu, labels, field, (6, 7, 8))
    np.testing.assert_allclose(moved, hu, atol=1e-5)
    np.testing.assert_array_equal(named, labels)
