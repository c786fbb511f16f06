import csv
import gzip
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from imaging.errors import KitError
from train.cli import main
from train.data.release import (
    Case,
    Layout,
    annotated_in,
    case_list,
    check_case,
    check_cases,
    list_cases,
    load_cases,
    sorted_out,
    with_annotated,
    write_cases,
)
from train.synthesis.phantom_release import Phantoms, from_shapes, write_release

PHANTOMS = Phantoms(3, 6, 2, 1, (40, 48, 48), (8.0, 8.0, 8.0))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    assert write_release(PHANTOMS, 5, from_shapes(PHANTOMS), folder) == 12
    return folder


@pytest.fixture
def release(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "release"))


def read_release(folder, jobs=1):
    found = list_cases(folder, Layout())
    return sorted_out(found, check_cases(folder, found, jobs))


class TestReading:
    def test_what_was_annotated(self, release):
        found = read_release(release)
        assert not found.problems
        by_name = {case.case: case for case in found.cases}
        assert len(by_name) == 12
        assert by_name["FLARE23_0001"].annotated == tuple(range(1, 14))
        assert by_name["FLARE23_2201"].label is None
        assert by_name["FLARE23_2201"].annotated == ()
        assert by_name["FLARE23Ts_0001"].subset == "validation"

    def test_round_trip(self, release, tmp_path):
        cases = read_release(release).cases
        write_cases(cases, tmp_path / "cases.json")
        assert load_cases(tmp_path / "cases.json") == cases

    @pytest.mark.parametrize("content", ["", "{}", '{"schema": 2}', '{"schema": 1, "cases": [1]}'])
    def test_another_file_is_refused(self, tmp_path, content):
        (tmp_path / "cases.json").write_text(content)
        with pytest.raises(KitError, match=r"cases\.json"):
            load_cases(tmp_path / "cases.json")


class TestPatterns:
    def test_absent_but_looked_for(self):
        # Thirteen organs and a case without a gallbladder (9): looked for all the same.
        organs = set(range(1, 14))
        assert annotated_in(tuple(organs - {9}), [organs, {14}]) == tuple(organs)

    def test_the_smallest_that_fits(self):
        assert annotated_in((1,), [{1, 2, 3}, {1, 3}, set(range(1, 14))]) == (1, 3)

    def test_of_two_ways_that_fit_only_what_both_draw_is_sure(self):
        # A spleen alone: of (liver, spleen) or of (spleen, tumour)? No absent liver is claimed.
        assert annotated_in((3,), [{1, 3}, {3, 14}]) == (3,)

    def test_nothing_there_is_nothing_annotated(self):
        assert annotated_in((), [{1, 3}]) == ()

    def test_none_fits(self):
        assert annotated_in((1, 14), [{1, 3}]) == (1, 14)

    def test_a_set_counts_from_three_cases_on(self):
        def case(name, *present):
            return Case(name, "i", "l", present, present, "partial")

        rows = [case(str(n), 1, 3) for n in range(3)] + [case("x", 1), case("y", 1, 2, 4)]
        assert [row.annotated for row in with_annotated(rows)] == [(1, 3)] * 4 + [(1, 2, 4)]


class TestLists:
    @pytest.mark.parametrize(
        ("name", "count"),
        [
            ("organ_complete", 222),
            ("partially_labelled", 2199),
            ("tumour", 2199),
            ("all", 3999),
            ("final_training", 3987),
            ("validation", 100),
            ("dropped", 13),
        ],
    )
    def test_counts_of_the_paper(self, name, count):
        assert len(set(case_list(name))) == count

    def test_the_dropped_are_what_the_final_list_lacks(self):
        numbered = {f"FLARE23_{n:04d}" for n in range(1, 4001)}
        assert set(case_list("dropped")) == numbered - set(case_list("final_training"))
        assert "FLARE23_0874" not in case_list("all")  # missing everywhere

    def test_no_such_list(self):
        with pytest.raises(KitError, match="there are all, dropped"):
            case_list("none")


FOLDERS = ("imagesTr2200", "labelsTr2200", "unlabeledTr1800", "imagesVal50")
FIRST = "FLARE23_0001"


def label_of(release, case=FIRST):
    return release / "labelsTr2200" / f"{case}.nii.gz"


def rewrite(path, change):
    image = sitk.ReadImage(str(path))
    array = change(sitk.GetArrayFromImage(image))
    changed = sitk.GetImageFromArray(array)
    changed.SetSpacing(image.GetSpacing())
    sitk.WriteImage(changed, str(path))


def truncated(release):
    path = label_of(release)
    path.write_bytes(path.read_bytes()[:-20])


def other_geometry(release):
    rewrite(label_of(release), lambda labels: labels[:-1])


def other_spacing(release):
    image = sitk.ReadImage(str(label_of(release)))
    image.SetSpacing((1.0, 2.0, 3.0))
    sitk.WriteImage(image, str(label_of(release)))


def label_fifteen(release):
    rewrite(label_of(release), lambda labels: np.where(labels == 1, 15, labels).astype(np.uint8))


def empty_label(release):
    rewrite(label_of(release), np.zeros_like)


def duplicate(release):
    name = f"{FIRST}_0000.nii.gz"
    shutil.copy(release / "imagesTr2200" / name, release / "unlabeledTr1800" / name)


def no_label(release):
    label_of(release).unlink()


def no_image(release):
    (release / "imagesTr2200" / f"{FIRST}_0000.nii.gz").unlink()


def text(release):
    label_of(release).write_text("not a label map")


def absurd_spacing(release):
    path = release / "imagesTr2200" / f"{FIRST}_0000.nii.gz"
    raw = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<3f", raw, 80, 16000.0, 16000.0, 16000.0)
    struct.pack_into("<h", raw, 254, 0)  # the sform would count
    path.write_bytes(gzip.compress(bytes(raw)))


BROKEN = [
    (truncated, "damaged or truncated"),
    (other_geometry, "the map has 48×48×39 voxels, not 48×48×40"),
    (other_spacing, "the map's spacing is"),
    (label_fifteen, r"labels \[15\] are not FLARE23's"),
    (empty_label, "nothing is labelled"),
    (duplicate, "there are 2: imagesTr2200/.* and unlabeledTr1800/.*; keep one"),
    (no_label, "labelsTr2200/FLARE23_0001.nii.gz is missing"),
    (no_image, "imagesTr2200/FLARE23_0001_0000.nii.gz is missing"),
    (text, "not a NIfTI-1 file"),
    (absurd_spacing, "voxel size 16000 × 16000 × 16000 mm is no CT's"),
]


def other_readers(release):
    """Pixdim of another size than the sform: nnU-Net takes the one or the other."""
    change_header(release, (80, "3f", 4.0, 4.0, 4.0))


def broken_sform(release):
    change_header(release, (280, "f", float("nan")), (252, "h", 1))


def metres(release):
    change_header(release, (123, "B", 1), (80, "3f", *[0.008] * 3), (252, "2h", 1, 0))


def change_header(release, *changes):
    path = release / "imagesTr2200" / f"{FIRST}_0000.nii.gz"
    raw = bytearray(gzip.decompress(path.read_bytes()))
    for offset, form, *values in changes:
        struct.pack_into("<" + form, raw, offset, *values)
    path.write_bytes(gzip.compress(bytes(raw)))


BROKEN += [
    (other_readers, "8 × 8 × 8 mm by the sform and 4 × 4 × 4 mm by pixdim; .* nnU-Net reads it ot"),
    (broken_sform, "the stored sform is not finite; the qform was taken; nnU-Net reads it otherw"),
    (metres, "the header is in metres; voxels of 8 × 8 × 8 mm were taken; nnU-Net reads it other"),
]


class TestBadInput:
    def test_any_error_costs_one_case(self, release, monkeypatch):
        import train.data.release

        def fails(path):
            raise ZeroDivisionError("division by zero")

        monkeypatch.setattr(train.data.release, "read_header", fails)
        (case, *_) = list_cases(release, Layout())
        found = check_case(release, case)
        assert found.case == FIRST
        assert "unexpected ZeroDivisionError at " in found.reason

    def test_a_case_with_warnings_is_used_and_reported(self, release, tmp_path):
        """No orientation: nnU-Net assumes what the kit does, but both may be wrong."""
        change_header(release, (252, "2h", 0, 0))
        label = label_of(release)
        raw = bytearray(gzip.decompress(label.read_bytes()))
        struct.pack_into("<2h", raw, 252, 0, 0)
        label.write_bytes(gzip.compress(bytes(raw)))
        done = CliRunner().invoke(main, ["data", str(release), "-o", str(tmp_path / "o")])
        assert done.exit_code == 0
        assert "Used, with warnings: 1" in done.output
        warnings = {c.case: c.doubts for c in load_cases(tmp_path / "o" / "cases.json")}
        assert warnings.pop(FIRST)[0].startswith("the header says nothing of orientation")
        assert set(warnings.values()) == {()}

    @pytest.mark.parametrize("deep", [False, True])
    def test_a_ct_larger_than_any_patient_is_used_and_reported(self, release, write_ct, deep):
        (case,) = (c for c in list_cases(release, Layout()) if c.case == "FLARE23_2201")
        hu = np.random.default_rng(0).integers(-1000, 400, (20, 24, 24)).astype(np.int16)
        write_ct(release / case.image, hu, (45.0, 45.0, 45.0))
        (doubt, *_) = check_case(release, case, deep=deep).doubts
        assert doubt.startswith("the CT is 1080 × 1080 mm across and 900 mm long, larger than any")

    @pytest.mark.parametrize(("change", "message"), BROKEN, ids=[c.__name__ for c, _ in BROKEN])
    def test_a_case_is_left_out_and_reported(self, release, tmp_path, change, message):
        change(release)
        done = CliRunner().invoke(main, ["data", str(release), "-o", str(tmp_path / "o")])
        assert (done.exit_code, "Traceback" in done.output) == (1, False)
        cases = load_cases(tmp_path / "o" / "cases.json")
        assert len(cases) == 11
        assert FIRST not in {case.case for case in cases}
        with (tmp_path / "o" / "problems.csv").open(newline="") as stream:
            (problem,) = csv.DictReader(stream)
        assert problem["case"] == FIRST
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(problem["reason"])

    def test_a_good_release(self, release, tmp_path):
        done = CliRunner().invoke(main, ["data", str(release), "-o", str(tmp_path / "o")])
        assert done.exit_code == 0
        assert len(load_cases(tmp_path / "o" / "cases.json")) == 12

    def test_a_file_of_another_name(self, release):
        (release / "unlabeledTr1800" / "FLARE23_2201.nii").write_text("")
        (release / "unlabeledTr1800" / ".DS_Store").write_text("")
        (problem,) = read_release(release).problems
        assert problem.reason == (
            "unlabeledTr1800/FLARE23_2201.nii: not named <case>_0000.nii.gz; "
            "rename it or take it away"
        )

    def test_a_truncated_ct_is_seen_by_deep(self, release):
        ct = release / "imagesTr2200" / f"{FIRST}_0000.nii.gz"
        ct.write_bytes(ct.read_bytes()[:-2000])
        found = list_cases(release, Layout())
        for deep, count in ((False, 12), (True, 11)):
            rows = list(check_cases(release, found, 1, deep=deep))
            assert len(sorted_out(found, rows).cases) == count
        assert "damaged or truncated" in rows[0].reason

    def test_the_number_of_processes_changes_nothing(self, release):
        assert read_release(release, 2) == read_release(release, 1)

    @pytest.mark.parametrize("folder", [*FOLDERS])
    def test_a_missing_folder(self, release, tmp_path, folder):
        shutil.rmtree(release / folder)
        done = CliRunner().invoke(main, ["data", str(release), "-o", str(tmp_path / "o")])
        assert done.exit_code == 1
        assert f"no folder {folder}; give the names" in done.output.replace("\n", "")
        assert not (tmp_path / "o").exists()

    def test_a_release_that_is_not_there(self, tmp_path):
        place = tmp_path / "nothing"
        done = CliRunner().invoke(main, ["data", str(place), "-o", str(tmp_path / "o")])
        assert done.exit_code == 1
        assert (
            done.output
            == f"Error: there is no folder {place}; give the one that holds the release\n"
        )

    def test_empty_folders(self, tmp_path):
        for name in FOLDERS:
            (tmp_path / name).mkdir()
        done = CliRunner().invoke(main, ["data", str(tmp_path), "-o", str(tmp_path / "o")])
        assert done.exit_code == 1
        assert "in any of its folders" in done.output

    def test_a_full_disk(self, release, tmp_path):
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("no right to mount a small file system")
        try:
            (disk / "filler").write_bytes(bytes(4096))
            done = CliRunner().invoke(main, ["data", str(release), "-o", str(disk)])
            assert done.exit_code == 1
            assert "No space left" in done.output
            assert [p.name for p in disk.iterdir()] == ["filler"]
        finally:
            subprocess.run(["umount", str(disk)], check=True)
