import csv
import gzip
import hashlib
import json
import os
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from evaluation.cli import main
from evaluation.profiles.profile import FLARE23
from evaluation.scoring.scores import load_scores
from imaging.errors import KitError
from imaging.organs import ORGANS
from tests.evaluation.maps import box, write_map

SHAPE = (10, 11, 12)
GOOD = box(SHAPE, (2, 8), (2, 8), (2, 8)) + box(SHAPE, (2, 8), (8, 10), (2, 8), 3)


@pytest.fixture
def folders(tmp_path):
    """Two cases, scored whole: `good` and `case`, whose files the tests break."""
    truth, pred = tmp_path / "truth", tmp_path / "pred"
    for folder in (truth, pred):
        for name in ("case", "good"):
            write_map(GOOD, folder / f"{name}.nii.gz")
    return truth, pred


def run(folders, tmp_path, *options):
    truth, pred = folders
    where = ["--truth", str(truth), "--pred", str(pred), "-o", str(tmp_path / "out")]
    return CliRunner().invoke(main, ["score", "--no-report", *where, *options])


def header_of(path):
    return bytearray(gzip.decompress(path.read_bytes()))


def patched(path, offset, form, *values):
    raw = header_of(path)
    struct.pack_into("<" + form, raw, offset, *values)
    path.write_bytes(gzip.compress(bytes(raw)))


def missing(truth, pred):
    pred.unlink()


def empty_file(truth, pred):
    pred.write_bytes(b"")


def text(truth, pred):
    pred.write_text("no label map")


def cut_gzip(truth, pred):
    pred.write_bytes(pred.read_bytes()[:-30])


def cut_voxels(truth, pred):
    pred.write_bytes(gzip.compress(bytes(header_of(pred)[:-40])))


def flipped_bit(truth, pred):
    raw = bytearray(pred.read_bytes())
    raw[len(raw) // 2] ^= 16
    pred.write_bytes(bytes(raw))


def other_shape(truth, pred):
    write_map(GOOD[:-1], pred)


def two_dimensional(truth, pred):
    sitk.WriteImage(sitk.GetImageFromArray(GOOD[0]), str(pred))


def four_dimensional(truth, pred):
    image = sitk.JoinSeries([sitk.GetImageFromArray(GOOD)] * 2)
    sitk.WriteImage(image, str(pred))


def colours(truth, pred):
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([GOOD] * 3, -1), isVector=True), str(pred))


def complex_numbers(truth, pred):
    patched(pred, 70, "h", 32)


def not_a_number(truth, pred):
    write_map(np.where(GOOD > 0, np.nan, 0).astype(np.float32), pred)


def folder_of_that_name(truth, pred):
    pred.unlink()
    pred.mkdir()


def truth_cut(truth, pred):
    truth.write_bytes(truth.read_bytes()[:-30])


def truth_not_a_number(truth, pred):
    write_map(np.full(SHAPE, np.nan, np.float32), truth)


def no_spacing(truth, pred):
    patched(truth, 80, "3f", 0.0, 1.0, 1.0)


def negative_spacing(truth, pred):
    patched(truth, 80, "3f", -1.0, 1.0, 1.0)


def huge_dimensions(truth, pred):
    patched(pred, 40, "4h", 3, 32767, 32767, 32767)


def other_place(truth, pred):
    write_map(GOOD, pred, origin=(30.0, 0.0, 0.0))


def other_spacing(truth, pred):
    write_map(GOOD, pred, spacing_mm=(2.0, 1.0, 1.0))


def turned(truth, pred):
    write_map(GOOD, pred, direction=(-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))


def unknown_label(truth, pred):
    write_map(np.where(GOOD == 3, 15, GOOD).astype(np.uint8), pred)


def unknown_truth(truth, pred):
    write_map(np.where(GOOD == 3, 200, GOOD).astype(np.uint8), truth)


def between_labels(truth, pred):
    write_map(GOOD.astype(np.float32) + np.float32(0.25), pred)


def negative_label(truth, pred):
    write_map(np.where(GOOD == 3, np.int16(-3), GOOD), pred)


UNUSABLE = [  # what breaks the prediction, and the message
    (missing, "is missing"),
    (empty_file, "not a NIfTI-1 file"),
    (text, "not a NIfTI-1 file"),
    (cut_gzip, "damaged or truncated"),
    (cut_voxels, "damaged or truncated"),
    (flipped_bit, "damaged or truncated"),
    (other_shape, "12×11×9 voxels, not 12×11×10"),
    (two_dimensional, "a CT has three dimensions"),
    (four_dimensional, "a CT has three dimensions"),
    (colours, "a CT has three dimensions"),
    (complex_numbers, "not one number per voxel"),
    (not_a_number, "NaN|whole numbers"),
    (folder_of_that_name, "is missing"),
    (huge_dimensions, "more than any CT has"),
]
BAD_TRUTH = [
    (truth_cut, "damaged or truncated"),
    (truth_not_a_number, "NaN|whole numbers"),
    (no_spacing, "voxel size 0 × 1 × 1 mm is not positive"),
    (negative_spacing, "voxel size -1 × 1 × 1 mm is not positive"),
]
ODD = [  # the official script scores these without a word
    (other_place, "origin is \\[30.0, 0.0, 0.0\\], not"),
    (other_spacing, "spacing is \\[1.0, 1.0, 2.0\\], not"),
    (turned, "direction is \\[-1.0"),
    (unknown_label, "the prediction has labels \\[15\\] that FLARE23 does not know"),
    (unknown_truth, "the truth has labels \\[200\\] that FLARE23 does not know"),
]
NOT_WHOLE = [(between_labels, "whole numbers"), (negative_label, "whole numbers")]
"""The official script cuts them to whole numbers."""


def names(rows):
    return [change.__name__ for change, _ in rows]


def broken(folders, change):
    change(*(folder / "case.nii.gz" for folder in folders))


def the_case(tmp_path):
    case, good = load_scores(tmp_path / "out" / "scores.json").cases
    assert good.labels["liver"].dsc == 1
    assert not good.error and not good.warning
    return case


def test_predictions_without_a_truth_are_named(folders, tmp_path):
    _, preds = folders
    for name in ("other.nii.gz", "another.nii.gz"):
        (preds / name).write_bytes(b"not opened")
    done = run(folders, tmp_path)
    assert done.exit_code == 0
    line = f"{preds} also holds maps of 2 cases without a truth: another, other"
    assert line in done.stderr.splitlines()


class TestBadInput:
    @pytest.mark.parametrize("rules", ["official", "fixed"])
    @pytest.mark.parametrize(
        ("change", "message"), UNUSABLE + BAD_TRUTH, ids=names(UNUSABLE + BAD_TRUTH)
    )
    def test_is_named_and_the_rest_is_scored(self, folders, tmp_path, change, message, rules):
        broken(folders, change)
        done = run(folders, tmp_path, "--rules", rules)
        assert done.exit_code == 1
        assert "Traceback" not in done.output
        assert "1 case needs a look: case; the reasons are above" in done.output
        case = the_case(tmp_path)
        assert case.labels == {}
        assert case.error and "\n" not in case.error
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(case.error)

    @pytest.mark.parametrize(("change", "message"), ODD, ids=names(ODD))
    def test_what_the_script_overlooks_is_scored_with_a_warning(
        self, folders, tmp_path, change, message
    ):
        broken(folders, change)
        assert run(folders, tmp_path).exit_code == 1
        case = the_case(tmp_path)
        assert case.error is None and case.labels["liver"].dsc == 1
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(case.warning)

    @pytest.mark.parametrize(("change", "message"), ODD + NOT_WHOLE, ids=names(ODD + NOT_WHOLE))
    def test_the_fixed_rules_refuse_it(self, folders, tmp_path, change, message):
        broken(folders, change)
        assert run(folders, tmp_path, "--rules", "fixed").exit_code == 1
        case = the_case(tmp_path)
        assert case.labels == {}
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(case.error)

    @pytest.mark.parametrize("change", [change for change, _ in NOT_WHOLE])
    def test_the_script_cuts_numbers(self, folders, tmp_path, change):
        broken(folders, change)
        run(folders, tmp_path)
        assert the_case(tmp_path).labels["liver"].dsc == 1

    @pytest.mark.parametrize("rules", ["official", "fixed"])
    @pytest.mark.parametrize(("change", "message"), UNUSABLE, ids=names(UNUSABLE))
    def test_missing_zero_counts_it(self, folders, tmp_path, change, message, rules):
        broken(folders, change)
        done = run(folders, tmp_path, "--missing", "zero", "--rules", rules, "--annotated", "all")
        assert done.exit_code == 1
        case = the_case(tmp_path)
        assert {(label.dsc, label.nsd) for label in case.labels.values()} == {(0, 0)}
        assert case.warning.endswith("every label counts 0")
        # liver: (0 + 1) / 2
        scores = load_scores(tmp_path / "out" / "scores.json")
        assert scores.means["dsc"]["liver"].value == 0.5

    def test_missing_zero_is_not_for_a_bad_truth(self, folders, tmp_path):
        broken(folders, truth_cut)
        run(folders, tmp_path, "--missing", "zero")
        assert the_case(tmp_path).labels == {}

    def test_a_one_slice_aorta_is_reported_and_the_rest_scored(self, folders, tmp_path):
        labels = GOOD.copy()
        labels[5, 0, 0:3] = 5
        for folder in folders:
            write_map(labels, folder / "case.nii.gz")
        assert run(folders, tmp_path).exit_code == 1
        case = the_case(tmp_path)
        assert case.warning == (
            "aorta is labelled on one slice only: the official script ends here with an error"
        )
        assert case.labels["liver"].dsc == 1
        assert case.labels["aorta"].dsc is None

    @pytest.mark.parametrize(
        ("change", "code", "message"),
        [
            (lambda t, p, o: [f.unlink() for f in t.iterdir()], 1, "holds no <case>.nii.gz"),
            (lambda t, p, o: t.rename(o), 1, "check --truth"),
            (lambda t, p, o: p.rename(o), 1, "check --pred"),
            (lambda t, p, o: o.write_text("a file"), 1, "choose another folder"),
        ],
    )
    def test_a_run_that_cannot_start(self, folders, tmp_path, change, code, message):
        change(*folders, tmp_path / "out")
        done = run(folders, tmp_path)
        assert (done.exit_code, "Traceback" in done.output) == (code, False)
        assert message in done.output

    @pytest.mark.parametrize(
        "options",
        ["--rules mine", "--jobs 0", "--missing half", "--low-dsc 2", "--odd"],
    )
    def test_wrong_usage(self, folders, tmp_path, options):
        assert run(folders, tmp_path, *options.split()).exit_code == 2
        assert not (tmp_path / "out").exists()


class TestResults:
    def test_csv_has_the_official_columns(self, folders, tmp_path):
        (folders[1] / "case.nii.gz").unlink()
        run(folders, tmp_path, "--annotated", "all")
        with (tmp_path / "out" / "scores.csv").open(newline="") as stream:
            header, case, good = csv.reader(stream)
        organs = (
            "Liver RK Spleen Pancreas Aorta IVC RAG LAG Gallbladder Esophagus Stomach Duodenum LK "
            "Lesion"
        ).split()
        dsc, nsd = ([f"{organ}_{metric}" for organ in organs] for metric in ("DSC", "NSD"))
        assert header == ["Name", *dsc, *nsd]
        assert case == ["case.nii.gz", *[""] * 28]
        assert good == ["good.nii.gz", *["1.0"] * 28]

    def test_json_knows_its_inputs_and_reads_back(self, folders, tmp_path):
        assert run(folders, tmp_path, "--team", "us", "--split", "test").exit_code == 0
        table = json.loads((tmp_path / "out" / "scores.json").read_text())
        assert (table["schema"], table["kind"]) == (1, "scores")
        scores = load_scores(tmp_path / "out" / "scores.json")
        assert (scores.team, scores.split, scores.rules, scores.low_dsc) == (
            "us",
            "test",
            "official",
            0.2,
        )
        digest = hashlib.sha256((folders[0] / "good.nii.gz").read_bytes()).hexdigest()
        assert scores.cases[1].truth_sha256 == digest
        scores.write(tmp_path / "again.json")
        assert (tmp_path / "again.json").read_text() == json.dumps(table, indent=1) + "\n"

    def test_fixed_results_read_back(self, folders, tmp_path):
        labels = GOOD.copy()
        labels[0:2] = 14
        for folder in folders:
            write_map(labels, folder / "case.nii.gz")
        assert run(folders, tmp_path, "--rules", "fixed").exit_code == 0
        scores = load_scores(tmp_path / "out" / "scores.json")
        assert scores.cases[0].true_lesions[0].ml == 0.264  # 2 * 11 * 12 voxels of 1 mm³
        assert scores.detection[0].sensitivity == 1
        with (tmp_path / "out" / "labels.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == 2 * len(ORGANS)
        assert rows[0] == {
            "case": "case",
            "organ": "liver",
            "dsc": "1.0",
            "nsd": "1.0",
            "hd95_mm": "0.0",
            "truth_ml": "0.216",
            "pred_ml": "0.216",
            "volume_error_ml": "0.0",
            "note": "",
        }

    def test_team_is_the_folder_unless_given(self, folders, tmp_path):
        run(folders, tmp_path)
        assert load_scores(tmp_path / "out" / "scores.json").team == "pred"

    def test_more_jobs_give_the_same_bytes(self, folders, tmp_path):
        found = []
        for jobs in ("1", "2"):
            run(folders, tmp_path, "--jobs", jobs, "--rules", "fixed")
            found.append((tmp_path / "out" / "scores.json").read_bytes())
        assert found[0] == found[1]

    def test_predictions_without_a_truth_are_no_case(self, folders, tmp_path):
        write_map(GOOD, folders[1] / "other.nii.gz")
        assert run(folders, tmp_path).exit_code == 0
        assert len(load_scores(tmp_path / "out" / "scores.json").cases) == 2

    @pytest.mark.parametrize(
        "content", ["", "[]", "{}", '{"schema": 9, "kind": "scores"}', '{"schema": 1, "kind": "x"}']
    )
    def test_other_files_are_no_scores(self, tmp_path, content):
        path = tmp_path / "scores.json"
        path.write_text(content)
        with pytest.raises(KitError, match=r"scores\.json"):
            load_scores(path)

    def test_columns_follow_the_labels(self):
        assert list(FLARE23.columns) == list(FLARE23.labels) == list(ORGANS)
        assert list(ORGANS.values()) == list(range(1, 15))


def test_a_killed_process_costs_its_cases_alone(folders, tmp_path, monkeypatch):
    from evaluation.scoring import folders as scoring

    killer = tmp_path / "truth" / "killer.nii.gz"
    write_map(GOOD, killer)
    monkeypatch.setattr(scoring, "score_case", _score_or_die)
    errors = [
        case.error
        for case in scoring.score_folder(scoring.Scoring(*folders, jobs=2)).cases
        if case.error
    ]
    assert any("was killed" in error for error in errors)


def _score_or_die(scoring, truth):
    if truth.name.startswith("killer"):
        os.kill(os.getpid(), 9)
    from evaluation.scoring.folders import CaseScores

    return CaseScores(truth.name.removesuffix(".nii.gz"))


def test_names_are_shown_as_they_are_and_not_as_markup(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for folder in folders:
        (folder / "case.nii.gz").rename(folder / "[bold]a[red].nii.gz")
    (folders[1] / "[bold]a[red].nii.gz").unlink()
    done = run(folders, tmp_path, "--team", "[link]us")
    assert (
        done.output.count("[bold]a[red]") == 3
    )  # its row, the file that is missing, the last line
    assert "[link]us, cases: 2" in done.output


@pytest.mark.data
def test_the_published_scores_of_a_chaos_submission(data_dir, tmp_path):
    """CHAOS published DICE 0.978 and MSSD 14 mm for this liver."""
    pred = tmp_path / "pred"
    pred.mkdir()
    (pred / "CHAOS_3.nii.gz").symlink_to((data_dir / "chaos_oracle" / "CHAOS_3.nii.gz").resolve())
    truth = tmp_path / "truth"
    truth.mkdir()
    (truth / "CHAOS_3.nii.gz").symlink_to((data_dir / "truth" / "CHAOS_3.nii.gz").resolve())
    run((truth, pred), tmp_path, "--rules", "fixed")
    liver = load_scores(tmp_path / "out" / "scores.json").cases[0].labels["liver"]
    assert round(liver.dsc, 3) == 0.978
