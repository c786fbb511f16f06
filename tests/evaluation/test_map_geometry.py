"""Score and agree read a map's geometry as predict does, and warn where it is ambiguous."""

import gzip
import json
import os
import shutil
import struct

import pytest
from click.testing import CliRunner

from evaluation.agreement import label_maps as agreement
from evaluation.cli import main
from evaluation.scoring import folders as scoring
from evaluation.scoring.scores import load_scores
from tests.evaluation.maps import box, write_map

PIXDIM_X, UNITS, SFORM_CODE, SFORM_ROW_X = 80, 123, 254, 280
SHAPE = (10, 11, 12)
TRUTH = box(SHAPE, (2, 8), (2, 8), (2, 8))
MOVED = box(SHAPE, (2, 8), (2, 8), (4, 10))
SPACING_MM = (3.0, 3.0, 3.0)


def patched(path, *changes):
    raw = bytearray(gzip.decompress(path.read_bytes()))
    for offset, form, *values in changes:
        struct.pack_into("<" + form, raw, offset, *values)
    path.write_bytes(gzip.compress(bytes(raw)))


@pytest.fixture
def folders(tmp_path):
    """A truth and a prediction that is moved by two voxels of 3 mm, as `right` and as `odd`."""
    for name in ("right", "odd"):
        write_map(TRUTH, tmp_path / "truth" / f"{name}.nii.gz", SPACING_MM)
        write_map(MOVED, tmp_path / "pred" / f"{name}.nii.gz", SPACING_MM)
    return tmp_path


def score(folders, rules):
    words = ["--truth", str(folders / "truth"), "--pred", str(folders / "pred"), "--no-report"]
    done = CliRunner().invoke(
        main, ["score", *words, "-o", str(folders / "out"), "--rules", rules]
    )  # fmt: skip
    assert "Traceback" not in done.output
    cases = {case.case: case for case in load_scores(folders / "out" / "scores.json").cases}
    return done, cases


def odd(folders, *changes):
    for side in ("truth", "pred"):
        patched(folders / side / "odd.nii.gz", *changes)


ONES = (PIXDIM_X, "3f", 1.0, 1.0, 1.0)
MICROMETRES = (UNITS, "B", 3)
METRES = [(UNITS, "B", 1), (PIXDIM_X, "3f", 0.003, 0.003, 0.003), (SFORM_CODE, "h", 0)]


@pytest.mark.parametrize("changes", [[ONES], [MICROMETRES], METRES])
def test_fixed_rules_take_the_kits_voxel_size_and_say_so(folders, changes):
    odd(folders, *changes)
    done, cases = score(folders, "fixed")
    assert done.exit_code == 1
    assert cases["right"].warning is None
    assert cases["odd"].warning.count("; the prediction: ") == 1
    odd_one, right = (cases[name].labels["liver"] for name in ("odd", "right"))
    assert odd_one.nsd == pytest.approx(right.nsd)
    assert odd_one.hd95_mm == pytest.approx(right.hd95_mm)
    assert odd_one.truth_ml == pytest.approx(216 * 0.027)


@pytest.mark.parametrize("changes", [[ONES], METRES])
def test_official_rules_take_pixdim_as_the_script_does_and_say_so(folders, changes):
    odd(folders, *changes)
    done, cases = score(folders, "official")
    assert done.exit_code == 1
    assert "scored with pixdim's" in cases["odd"].warning
    assert "3 × 3 × 3 mm" in cases["odd"].warning
    # moved by 6 mm, by pixdim 2 mm or less: within the liver's 5 mm
    assert cases["odd"].labels["liver"].nsd == 1 > cases["right"].labels["liver"].nsd


def test_agree_measures_by_the_kits_voxel_size(folders):
    odd(folders, MICROMETRES)
    found = agreement.agree_case(
        folders / "truth" / "odd.nii.gz", folders / "pred" / "odd.nii.gz"
    )  # fmt: skip
    assert found.labels[0].first_ml == pytest.approx(216 * 0.027)
    assert found.warning.count("the header's unit is micrometres") == 2


@pytest.mark.parametrize("side", ["truth", "pred"])
def test_a_header_that_says_no_place_fails_its_own_case(folders, side):
    """The sform decides where it has a code; here nothing else does."""
    path = folders / side / "odd.nii.gz"
    patched(path, (252, "2h", 0, 1), (SFORM_ROW_X + 12, "f", float("nan")))
    for rules in ("official", "fixed"):
        done, cases = score(folders, rules)
        assert done.exit_code == 1
        assert "odd.nii.gz: the stored sform is not finite" in cases["odd"].error
        assert cases["right"].labels["liver"].dsc == pytest.approx(8 / 12, abs=1e-4)
    found = agreement.agree_case(
        folders / "truth" / "odd.nii.gz", folders / "pred" / "odd.nii.gz"
    )  # fmt: skip
    assert "the stored sform is not finite" in found.error


@pytest.mark.parametrize("error", [ZeroDivisionError("x\ny"), MemoryError(), ValueError()])
def test_any_error_costs_one_case(folders, monkeypatch, error):
    real = scoring.read_map

    def fails(path, rules):
        if path.name == "odd.nii.gz":
            raise error
        return real(path, rules)

    monkeypatch.setattr(scoring, "read_map", fails)
    done, cases = score(folders, "official")
    assert done.exit_code == 1
    assert cases["odd"].error.startswith("odd.nii.gz: ")
    assert "\n" not in cases["odd"].error
    assert cases["right"].error is None
    monkeypatch.setattr(agreement, "_read", lambda path: fails(path, "official"))
    found = agreement.agree_case(
        folders / "truth" / "odd.nii.gz", folders / "pred" / "odd.nii.gz"
    )  # fmt: skip
    assert found.error.startswith("odd.nii.gz: ")


def test_names_in_latin_1_are_scored_and_compared(folders):
    name = os.fsdecode(b"M\xfcller.nii.gz")
    for side in ("truth", "pred"):
        shutil.copy(folders / "truth" / "right.nii.gz", folders / side / name)
    done, cases = score(folders, "official")
    assert done.exit_code == 0
    assert cases[os.fsdecode(b"M\xfcller")].labels["liver"].dsc == 1
    out = folders / "agree"
    words = ["agree", str(folders / "truth"), str(folders / "pred"), "-o", str(out)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0
    assert len(json.loads((out / "agree.json").read_text())["cases"]) == 3
    assert "M\\udcfcller" in (out / "agree.csv").read_text()


def test_maps_that_are_passed_over_are_named(folders):
    shutil.copy(folders / "truth" / "right.nii.gz", folders / "truth" / "UP.NII.GZ")
    (folders / "truth" / "plain.nii").write_bytes(b"")
    (folders / "truth" / "run.json").write_text("{}")
    listed = "UP.NII.GZ (capital letters in its suffix), plain.nii (not compressed)"
    done, _ = score(folders, "official")
    assert listed in done.stderr
    assert "run.json" not in done.stderr
    words = ["agree", str(folders / "truth"), str(folders / "pred")]
    assert listed in CliRunner().invoke(main, words).stderr


def test_a_map_on_another_form_of_the_same_place_is_the_same_place(folders):
    """The prediction says by qform alone what the truth says by sform alone."""
    patched(folders / "truth" / "odd.nii.gz", (252, "2h", 0, 2))
    patched(folders / "pred" / "odd.nii.gz", (252, "2h", 1, 0), (SFORM_ROW_X, "12f", *[7.0] * 12))
    for rules in ("official", "fixed"):
        assert score(folders, rules)[0].exit_code == 0
