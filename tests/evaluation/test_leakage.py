"""Cases that folders share: copies are found, and nothing else is."""

import csv
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from evaluation.cli import main
from evaluation.leakage import audit
from evaluation.leakage.fingerprints import STEP_MM, cached_fingerprint, fingerprint
from evaluation.leakage.matching import PreparedCt, best_match, block_means, contrast
from imaging.digest import file_sha256
from imaging.errors import KitError
from tests.evaluation.copies import (
    SUFFIX,
    body,
    copies,
    cropped,
    flipped,
    resampled,
    save,
    windowed,
)


def leakage(*arguments):
    return CliRunner().invoke(main, ["leakage", *map(str, arguments)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Training: six patients. Test: two others, and copies of patient 3."""
    folder = tmp_path_factory.mktemp("leakage")
    for seed in range(6):
        save(body(seed), folder / "train", f"patient{seed}")
    for seed in (10, 11):
        save(body(seed), folder / "test", f"other{seed}")
    image = body(3)
    save(windowed(image, -160, 240), folder / "test", "window")
    save(cropped(image, 0.6), folder / "test", "crop")
    save(resampled(image, (2.0, 2.0, 5.0)), folder / "test", "grid")
    save(flipped(image, 2), folder / "test", "mirrored")
    save(flipped(image, 0, 1), folder / "test", "turned")
    save(sitk.DICOMOrient(image, "RAS"), folder / "test", "axes")
    shutil.copy(folder / f"train/patient5{SUFFIX}", folder / f"test/same{SUFFIX}")
    save(body(12), folder / "test", "patient0")
    return folder


def test_copies_are_found_and_nothing_else(folders, tmp_path):
    result = leakage(folders / "train", folders / "test", "-o", tmp_path, "--cache", tmp_path / "c")
    assert result.exit_code == 1
    assert "8 pairs of cases are shared" in result.output
    assert max(map(len, result.output.splitlines()[2:])) <= 80
    with (tmp_path / "leakage.csv").open() as stream:
        rows = {(r["first_case"], r["second_case"]): r for r in csv.DictReader(stream)}
    of_three = {"window", "crop", "grid", "mirrored", "turned", "axes"}
    assert rows.keys() == {
        *(("patient3", name) for name in of_three),
        ("patient5", "same"),
        ("patient0", "patient0"),
    }
    assert {n: rows["patient3", n]["means"] for n in of_three} == dict.fromkeys(
        of_three, "the same image"
    )
    assert rows["patient5", "same"]["means"] == "the same file"
    assert rows["patient0", "patient0"]["means"] == "the same name, other images"
    assert rows["patient3", "mirrored"]["mirrored"] == "X"
    assert rows["patient3", "turned"]["mirrored"] == "ZY"
    content = json.loads((tmp_path / "leakage.json").read_text())
    assert content["sources"] == {str(folders / "train"): 6, str(folders / "test"): 10}
    assert content["pairs"] == 60
    assert len(list((tmp_path / "c").iterdir())) == 15  # one a file, not one a name


def test_a_cached_fingerprint_is_the_same(folders, tmp_path):
    path = folders / f"train/patient1{SUFFIX}"
    digest = file_sha256(path)
    first, again = (cached_fingerprint(path, digest, tmp_path) for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    assert (first.start, first.hounsfield) == (again.start, again.hounsfield)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"no archive")
    with pytest.raises(KitError, match=r"is damaged .*; delete it"):
        cached_fingerprint(path, digest, tmp_path)


def test_folders_that_share_nothing_are_fine(folders, tmp_path):
    save(body(20), tmp_path, "another")
    result = leakage(folders / "train", tmp_path)
    assert result.exit_code == 0
    assert "nothing shared was found" in result.output


def test_a_folder_is_compared_with_itself_on_request(folders, tmp_path):
    save(body(20), tmp_path, "a")
    save(windowed(body(20), -200, 300), tmp_path, "b")
    assert "one folder alone has nothing to share" in leakage(tmp_path).output
    result = leakage(tmp_path, "--within")
    assert result.exit_code == 1
    assert "the same image" in result.output


def test_a_folder_that_is_given_twice_is_no_second_one(folders, tmp_path):
    (tmp_path / "link").symlink_to(folders / "train")
    for again in (folders / "train", tmp_path / "link"):
        result = leakage(folders / "train", again)
        assert result.exit_code == 1
        assert f"{again} was given already; give each folder or list once" in result.output


def test_lists_of_names_are_compared_by_name(folders, tmp_path):
    names = tmp_path / "test_cases.txt"
    names.write_text("patient2\npatient4_0000.nii.gz\nnobody\n\n")
    result = leakage(names, folders / "train")
    assert result.exit_code == 1
    assert "2 pairs of cases are shared" in result.output
    assert "0 pairs of images compared" in result.output


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("empty.txt", "\n", "names no case"), ("none.txt", None, "cannot read the list of cases")],
)
def test_a_bad_list_is_one_line(name, text, message, folders, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    result = leakage(tmp_path / name, folders / "train")
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_an_unreadable_ct_is_named_and_the_others_go_on(folders, tmp_path):
    save(windowed(body(3), -160, 240), tmp_path, "copy")
    (tmp_path / f"broken{SUFFIX}").write_bytes(b"nothing")
    result = leakage(folders / "train", tmp_path)
    assert result.exit_code == 1
    assert "not compared by content" in result.output
    assert "1 pair of cases is shared and 1 CT could not" in result.output.replace("\n", " ")


def test_a_fingerprint_lies_on_one_grid_for_all(tmp_path):
    # 30 voxels of 3 mm from -1.5 mm: 0 to 90 mm from there; whole cells of 4 mm within -3 to 87 mm
    save(body(1, (30, 30, 30), origin=(-1.5, -1.5, -1.5)), tmp_path, "a")
    found = fingerprint(tmp_path / f"a{SUFFIX}")
    assert STEP_MM == 4
    assert found.start == (0, 0, 0)  # -3 mm is in a cell that is not whole
    assert found.values.shape == (21, 21, 21)  # 84 of 87 mm


def test_the_shift_beyond_the_headers_is_told(tmp_path):
    save(body(1), tmp_path, "a")
    save(body(1, origin=(8.0, -12.0, 20.0)), tmp_path, "b")
    a, b = (PreparedCt(fingerprint(tmp_path / f"{name}{SUFFIX}")) for name in "ab")
    match = best_match(a, b)
    assert match.likeness > 0.99
    np.testing.assert_allclose(match.shift_mm, (-20, 12, -8), atol=0.2)
    assert match.shared == 1


def test_contrast_is_how_much_a_voxel_stands_out():
    values = np.zeros((3, 3, 3), np.float32)
    values[1, 1, 1] = 1
    found = contrast(values)
    assert found[1, 1, 1] == 1  # brighter than all 26
    assert found[0, 0, 0] == pytest.approx(-1 / 26)


def test_blocks_are_means_and_a_short_axis_is_one_block():
    values = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    # rows 1 and 2, columns in pairs: (4 + 5 + 8 + 9) / 4, (6 + 7 + 10 + 11) / 4
    np.testing.assert_array_equal(block_means(values, (0, 1, 0), 2), [[[6.5, 8.5]]])


def test_the_thresholds_stand_apart():
    assert audit.SAME_PATIENT < audit.SAME_IMAGE


@pytest.mark.data
def test_copies_of_a_real_ct_are_found_among_others(data_dir, tmp_path):
    others = ("CRLM_1004", "CRLM_1006", "hcc048_s1r6a2", "cptacpda_C3L00189")
    (tmp_path / "train").mkdir()
    for case in others:
        (tmp_path / "train" / f"{case}{SUFFIX}").symlink_to(data_dir / "ct" / f"{case}{SUFFIX}")
    made = copies(sitk.ReadImage(str(data_dir / "ct" / f"CRLM_1004{SUFFIX}")))
    for name in ("all", "all_small", "wide_window"):
        save(made[name], tmp_path / "test", name)
    found = audit.find_leakage([tmp_path / "train", tmp_path / "test"])
    assert {(s.first.case, s.second.case, s.line) for s in found.shared} == {
        ("CRLM_1004", name, "the same image") for name in ("all", "all_small", "wide_window")
    }


@pytest.mark.data
@pytest.mark.long
def test_every_copy_of_one_ct_is_found_among_thirty_others_and_nothing_else(data_dir, tmp_path):
    """CRLM_1004 re-windowed, cropped, resampled and all of it, against all real CTs at hand."""
    (tmp_path / "train").mkdir()
    for ct in sorted((data_dir / "ct").glob(f"*{SUFFIX}")):
        (tmp_path / "train" / ct.name).symlink_to(ct)
    save(body(7), tmp_path / "train", "generated")
    made = copies(sitk.ReadImage(str(data_dir / "ct" / f"CRLM_1004{SUFFIX}")))
    for name, image in made.items():
        save(image, tmp_path / "test", name)
    result = leakage(tmp_path / "train", tmp_path / "test", "-o", tmp_path, "--jobs", "2")
    assert result.exit_code == 1
    content = json.loads((tmp_path / "leakage.json").read_text())
    cases = content["sources"][str(tmp_path / "train")]
    assert cases >= 31
    assert content["pairs"] == cases * len(made)
    found = {(r["first_case"], r["second_case"], r["means"]) for r in content["shared"]}
    assert found == {("CRLM_1004", name, "the same image") for name in made}


@pytest.mark.data
def test_two_phases_of_one_patient_are_another_image(data_dir, tmp_path):
    for case in ("hcc011_a1", "hcc011_a2"):
        (tmp_path / case).mkdir()
        (tmp_path / case / f"{case}{SUFFIX}").symlink_to(data_dir / "ct" / f"{case}{SUFFIX}")
    found = audit.find_leakage([tmp_path / "hcc011_a1", tmp_path / "hcc011_a2"])
    assert [s.line for s in found.shared] == ["same patient, it seems: another phase or series"]
