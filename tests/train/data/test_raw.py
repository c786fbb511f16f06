import json

import numpy as np
import pytest
import SimpleITK as sitk

from imaging.errors import KitError
from train.data.raw import link_dataset


def written(path, highest):
    """Write a map of 2 x 2 x 2 voxels; return it as a case's two files."""
    labels = np.zeros((2, 2, 2), dtype=np.uint8)
    labels[0, 0, 0] = highest
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(path))
    return path, path


@pytest.mark.parametrize(("highest", "ignore"), [((14, 3), False), ((14, 15), True)])
def test_ignore_is_declared_where_it_is_used(tmp_path, highest, ignore):
    cases = {
        name: written(tmp_path / f"{name}.nii.gz", value)
        for name, value in zip("ab", highest, strict=True)
    }
    link_dataset(cases, tmp_path / "raw")
    description = json.loads((tmp_path / "raw" / "dataset.json").read_text())
    assert description["numTraining"] == 2
    assert ("ignore" in description["labels"]) is ignore
    links = [tmp_path / "raw" / "imagesTr" / "b_0000.nii.gz", tmp_path / "raw/labelsTr/a.nii.gz"]
    assert [link.resolve().name for link in links] == ["b.nii.gz", "a.nii.gz"]
    assert all(link.is_symlink() for link in links)
    assert "annotated" not in description


def test_what_was_annotated_is_written_where_it_is_requested(tmp_path):
    annotated = {"a": (1, 4), "b": ()}
    cases = {name: written(tmp_path / f"{name}.nii.gz", 15) for name in annotated}
    link_dataset(cases, tmp_path / "raw", annotated)
    description = json.loads((tmp_path / "raw" / "dataset.json").read_text())
    assert description["annotated"] == {"a": [1, 4], "b": []}


def test_a_label_that_nobody_knows_is_refused(tmp_path):
    cases = {"a": written(tmp_path / "a.nii.gz", 16)}
    with pytest.raises(KitError, match=r"a\.nii\.gz: label 16"):
        link_dataset(cases, tmp_path / "raw")
