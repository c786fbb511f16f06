import numpy as np
import pytest
import SimpleITK as sitk

from imaging.errors import VolumeError
from train.data.anatomy import ADRENALS, BOWEL, read_anatomy, split_adrenals


def test_adrenals_are_split_at_the_kidneys_midline_right_is_low_x():
    labels = np.zeros((1, 1, 10), dtype=np.uint8)
    labels[0, 0, [1, 7]] = 2, 13  # kidneys: the middle is x = 4
    labels[0, 0, [3, 4]] = ADRENALS
    assert split_adrenals(labels)[0, 0].tolist() == [0, 2, 0, 7, 8, 0, 0, 13, 0, 0]


def test_word_ids_become_flare_ids_on_the_lps_grid(tmp_path):
    # Stored with X to the patient's right: in LPS the first voxel is the last.
    image = sitk.GetImageFromArray(np.array([[[1, 4, 3, 10]]], dtype=np.uint8))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    image.SetSpacing((3.0, 3.0, 3.0))
    sitk.WriteImage(image, str(tmp_path / "word_1.nii.gz"))

    anatomy = read_anatomy(tmp_path / "word_1.nii.gz", "word", 3.0)

    assert anatomy.labels[0, 0].tolist() == [BOWEL, 13, 2, 1]
    assert anatomy.annotated == (1, 2, 13, BOWEL)


def test_a_coarser_grid_covers_the_same_box(tmp_path):
    labels = np.ones((3, 3, 6), dtype=np.uint8)
    labels[:, :, 3:] = 2
    image = sitk.GetImageFromArray(labels)
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    assert read_anatomy(tmp_path / "a.nii.gz", "flare", 3.0).labels[0, 0].tolist() == [1, 2]


def test_an_unreadable_map_is_named(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"no")
    with pytest.raises(VolumeError, match=r"a\.nii\.gz: not a readable label map"):
        read_anatomy(tmp_path / "a.nii.gz", "flare", 3.0)
