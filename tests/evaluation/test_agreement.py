"""Two folders of label maps against each other, on maps made by hand."""

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from evaluation.agreement.label_maps import agree_case
from evaluation.cli import main
from tests.evaluation.maps import box, write_map

SHAPE = (4, 5, 6)
LIVER = box(SHAPE, (0, 2), (0, 2), (0, 2), 1)
"""Eight voxels."""


@pytest.fixture
def folders(tmp_path):
    return tmp_path / "a", tmp_path / "b"


def agree(folders, *options):
    return CliRunner().invoke(main, ["agree", *map(str, folders), *map(str, options)])


def case_of(folders, first, second, **second_place):
    for folder, labels in zip(folders, (first, second), strict=True):
        place = second_place if folder is folders[1] else {"spacing_mm": (5.0, 4.0, 2.0)}
        write_map(labels, folder / "c.nii.gz", **{"spacing_mm": (5.0, 4.0, 2.0), **place})
    return agree_case(folders[0] / "c.nii.gz", folders[1] / "c.nii.gz")


def test_a_moved_and_a_lost_label(folders):
    # liver: 8 voxels, moved by one in X: 4 in common; tumour: 2 voxels, gone in the second
    first = LIVER + box(SHAPE, (3, 4), (0, 1), (0, 2), 14)
    second = box(SHAPE, (0, 2), (0, 2), (1, 3), 1)
    found = case_of(folders, first, second)
    # differ: 4 + 4 of the liver, 2 of the tumour; foreground in either: 12 + 2
    assert (found.differ_voxels, found.differ_share) == (10, 10 / 14)
    assert not found.same_file
    # a voxel is 5 * 4 * 2 = 40 mm³ = 0.04 ml
    liver, tumour = found.labels
    assert (liver.organ, liver.dsc) == ("liver", 2 * 4 / (8 + 8))
    assert (liver.first_ml, liver.second_ml, liver.change_ml) == pytest.approx((0.32, 0.32, 0))
    assert (tumour.organ, tumour.dsc) == ("tumour", 0)
    assert tumour.change_ml == pytest.approx(-0.08)
    assert (found.least, found.most_changed) == (tumour, tumour)


def test_one_label_called_another(folders):
    found = case_of(folders, LIVER, LIVER * 15)
    assert (found.differ_voxels, found.differ_share) == (8, 1)
    assert [(label.organ, label.dsc) for label in found.labels] == [("liver", 0), ("label 15", 0)]


def test_nothing_in_both_is_agreement(folders):
    found = case_of(folders, LIVER * 0, LIVER * 0)
    assert (found.differ_voxels, found.differ_share, found.labels) == (0, 0, ())
    assert found.problem(1.0) is None


def test_the_same_labels_need_not_be_the_same_bytes(folders):
    found = case_of(folders, LIVER, LIVER.astype(np.int16))
    assert (found.differ_voxels, found.same_file) == (0, False)
    shutil.copy(folders[0] / "c.nii.gz", folders[1] / "c.nii.gz")
    assert agree_case(*(folder / "c.nii.gz" for folder in folders)).same_file


def test_another_place_is_reported_and_the_voxels_are_compared(folders):
    found = case_of(folders, LIVER, LIVER, spacing_mm=(5.0, 4.0, 4.0))
    assert found.geometry == "the map's spacing is [4.0, 4.0, 5.0], not [2.0, 4.0, 5.0]"
    assert found.differ_voxels == 0
    # 8 voxels of 0.04 ml, and of 0.08 ml where the header says so
    assert found.labels[0].change_ml == pytest.approx(0.32)
    assert found.problem(0.0) == found.geometry


def test_equal_folders_agree(folders, tmp_path):
    for folder in folders:
        write_map(LIVER, folder / "c.nii.gz")
    result = agree(folders, "--least-dsc", "1", "-o", tmp_path / "out", "--jobs", "2")
    assert result.exit_code == 0, result.output
    assert "byte for byte the same: 1 of 1 file" in result.output
    [case] = json.loads((tmp_path / "out" / "agree.json").read_text())["cases"]
    assert case["labels"] == [{"organ": "liver", "dsc": 1, "first_ml": 0.008, "second_ml": 0.008}]


def test_differences_alone_are_no_failure(folders):
    case_of(folders, LIVER, LIVER * 2)
    assert agree(folders).exit_code == 0


def test_a_label_under_the_limit_is(folders):
    # 8 and 7 voxels, 7 in common: 14 / 15 = 0.9333
    second = LIVER.copy()
    second[0, 0, 0] = 0
    case_of(folders, LIVER, second)
    assert agree(folders, "--least-dsc", "0.933").exit_code == 0
    result = agree(folders, "--least-dsc", "0.934")
    assert result.exit_code == 1
    assert "1 of 1 case does not agree: c: DSC of liver is 0.9333, under 0.934" in result.output


def missing_first(a, b):
    a.unlink()


def missing_second(a, b):
    b.unlink()


def text(a, b):
    b.write_text("no label map")


def empty(a, b):
    a.write_bytes(b"")


def truncated(a, b):
    b.write_bytes(b.read_bytes()[:-20])


def shape(a, b):
    write_map(LIVER[:3], b)


def origin(a, b):
    write_map(LIVER, b, origin=(0.0, 0.0, 1.0))


def flipped(a, b):
    write_map(LIVER, b, direction=(-1, 0, 0, 0, 1, 0, 0, 0, 1))


def fractions(a, b):
    write_map(LIVER.astype(np.float32) / 2, b)


def four_dimensions(a, b):
    write_map(np.stack([LIVER, LIVER]), b, spacing_mm=(1, 1, 1, 1), origin=(0, 0, 0, 0))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (missing_first, "case: missing in "),
        (missing_second, "case: missing in "),
        (text, "case.nii.gz: not a NIfTI-1 file"),
        (empty, "case.nii.gz: not a NIfTI-1 file"),
        (truncated, "case.nii.gz: cannot be read (Compressed file ended"),
        (shape, "case: the map has 6×5×3 voxels, not 6×5×4"),
        (origin, "case: the map's origin is [0.0, 0.0, 1.0], not [0.0, 0.0, 0.0]"),
        (flipped, "case: the map's direction is [-1.0, "),
        (fractions, "case.nii.gz: labels must be whole numbers from 0 to 255"),
        (four_dimensions, "voxels; a CT has three dimensions, give one volume"),
    ],
)
def test_what_cannot_be_compared_is_named_and_the_rest_is_compared(
    damage, message, folders, tmp_path
):
    for folder in folders:
        for name in ("case", "good"):
            write_map(LIVER, folder / f"{name}.nii.gz")
    damage(*(folder / "case.nii.gz" for folder in folders))
    result = agree(folders, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert message in result.output
    assert "1 of 2 cases does not agree: case: " in result.output
    with (tmp_path / "out" / "agree.csv").open() as stream:
        case, good = csv.DictReader(stream)
    assert (good["case"], good["differ_voxels"], good["dsc"]) == ("good", "0", "1.0")
    assert case["error"] or case["geometry"]
    assert (case["differ_voxels"] == "") == bool(case["error"])


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("none", "b"), 1, "is no folder; give two folders of <case>.nii.gz"),
        (("a", "none"), 1, "is no folder"),
        (("a", "b"), 1, "neither"),
        (("a",), 2, "Missing argument 'SECOND'"),
        (("a", "b", "--least-dsc", "2"), 2, "--least-dsc"),
        (("a", "b", "--jobs", "0"), 2, "--jobs"),
        (("a", "b", "-o", "file/out"), 1, "cannot make"),
    ],
)
def test_wrong_arguments(arguments, status, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    result = CliRunner().invoke(main, ["agree", *arguments])
    assert result.exit_code == status
    assert message in result.output


@pytest.mark.data
def test_real_label_maps_agree_with_themselves(data_dir, tmp_path):
    maps = sorted((data_dir / "truth").rglob("*.nii.gz"))
    assert maps
    for number, path in enumerate(maps[:3]):
        for name in ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{number}.nii.gz").symlink_to(path)
    result = agree((tmp_path / "a", tmp_path / "b"), "--least-dsc", "1")
    assert result.exit_code == 0, result.output
