import json

import numpy as np
import pytest
import SimpleITK as sitk

from inference.errors import KitError
from train.raw import link_dataset, write_dataset
from train.synthesis import LabelledCT


def written(path, highest):
    """Write a map of 2 x 2 x 2 voxels; return it as a case's two files."""
    labels = np.zeros((2, 2, 2), dtype=np.uint8)
    labels[0, 0, 0] = highest
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(path))
    return path, path


@pytest.mark.parametrize(("highest", "ignore"), [((14, 3), False), ((14, 15), True)])
def test_nnunet_is_told_of_ignore_where_it_is_used(tmp_path, highest, ignore):
    cases = {
        name: written(tmp_path / f"{name}.nii.gz", value)
        for name, value in zip("ab", highest, strict=True)
    }
    link_dataset(cases, tmp_path / "raw")
    told = json.loads((tmp_path / "raw" / "dataset.json").read_text())
    assert told["numTraining"] == 2
    assert ("ignore" in told["labels"]) is ignore
    links = [tmp_path / "raw" / "imagesTr" / "b_0000.nii.gz", tmp_path / "raw/labelsTr/a.nii.gz"]
    assert [link.resolve().name for link in links] == ["b.nii.gz", "a.nii.gz"]
    assert all(link.is_symlink() for link in links)
    assert "drawn" not in told


def test_what_was_drawn_is_told_where_it_is_asked_for(tmp_path):
    drawn = {"a": (1, 4), "b": ()}
    cases = {name: written(tmp_path / f"{name}.nii.gz", 15) for name in drawn}
    link_dataset(cases, tmp_path / "raw", drawn)
    told = json.loads((tmp_path / "raw" / "dataset.json").read_text())
    assert told["drawn"] == {"a": [1, 4], "b": []}


def made(*names):
    voxels = np.zeros((2, 2, 2), np.float32)
    return [LabelledCT(name, voxels, np.ones((2, 2, 2), np.uint8)) for name in names]


def test_cases_of_an_earlier_dataset_are_not_trained_on(tmp_path):
    write_dataset(made("a", "b", "c"), tmp_path, 3.0)
    assert write_dataset(made("b", "d"), tmp_path, 3.0) == 2
    files = sorted(path.name for path in tmp_path.glob("*Tr/*"))
    assert files == ["b.nii.gz", "b_0000.nii.gz", "d.nii.gz", "d_0000.nii.gz"]


def test_a_dataset_that_is_cut_off_is_not_taken_for_the_one_before(tmp_path):
    def cut_off():
        yield from made("a")
        raise KitError("the disk is full")

    write_dataset(made("a", "b"), tmp_path, 3.0)
    with pytest.raises(KitError, match="full"):
        write_dataset(cut_off(), tmp_path, 3.0)
    assert not (tmp_path / "dataset.json").exists()


def test_two_cases_of_one_name_are_refused(tmp_path):
    # two folders of anatomies may each have a 0001
    with pytest.raises(KitError, match="two cases are called ct_0001_b00"):
        write_dataset(made("ct_0001_b00", "ct_0001_b00"), tmp_path, 3.0)
    assert not (tmp_path / "dataset.json").exists()


def test_a_label_that_nobody_knows_is_refused(tmp_path):
    cases = {"a": written(tmp_path / "a.nii.gz", 16)}
    with pytest.raises(KitError, match=r"a\.nii\.gz: label 16"):
        link_dataset(cases, tmp_path / "raw")
