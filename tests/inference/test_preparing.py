"""A CT that was read for its preparing is given back; one in memory stays as it is."""

import numpy as np

from imaging.volumes import read_volume
from inference.preparing import Preparer
from inference.report import CaseReport
from inference.settings import Settings


def test_a_ct_in_memory_stays_as_it_is(network, write_ct, tmp_path):
    hu = np.random.default_rng(0).integers(-1000, 1000, (20, 80, 90)).astype(np.int16)
    path = write_ct(tmp_path / "a_0000.nii.gz", hu, spacing_mm=(1.0, 1.0, 1.0))
    volume, preparer = read_volume(path), Preparer(network(), Settings())
    reports = [CaseReport("a"), CaseReport("a")]
    found = [preparer.prepare_ct(ct, of) for ct, of in zip((volume, path), reports, strict=True)]
    np.testing.assert_array_equal(volume.hu, hu)
    np.testing.assert_array_equal(found[0].image, found[1].image)
    assert found[0].header == volume.header
    assert [[*of.seconds] for of in reports] == [["prepare"], ["read", "prepare"]]


def test_a_ct_that_was_read_is_given_back_while_it_is_prepared(network, write_ct, tmp_path):
    hu = np.full((20, 80, 90), 50, np.int16)
    hu[0] = -1000
    path = write_ct(tmp_path / "a_0000.nii.gz", hu, spacing_mm=(1.0, 1.0, 1.0))
    volume = read_volume(path)
    Preparer(network(), Settings()).prepare(volume, CaseReport("a"), consume=True)
    assert not volume.hu[1:-1].any()
