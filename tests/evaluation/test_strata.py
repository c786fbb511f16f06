"""Scores by stratum, lesions one to one, and the log of scorings."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from evaluation.cli import main
from evaluation.scoring.lesions import detection, lesions_of_both
from evaluation.scoring.log import log_sentence
from evaluation.scoring.scores import CaseScores, Looks, Scores, load_scores
from evaluation.scoring.strata import NOT_GIVEN, read_strata, stratify
from imaging.errors import KitError
from tests.evaluation.maps import box, write_map
from tests.evaluation.results import scored

SHAPE = (6, 12, 12)


def scores_of(**dsc):
    cases = tuple(scored(case, (value, value), (value, value)) for case, value in dsc.items())
    return Scores("us", None, "fixed", 0.2, "fail", cases)


def table(path, *rows):
    path.write_text("\n".join(rows) + "\n")
    return path


def rows_of(strata, of="organs", metric="dsc"):
    return {s.value: s for s in strata if (s.of, s.metric) == (of, metric)}


class TestStrata:
    def test_means_and_differences_from_the_largest(self, tmp_path):
        path = table(tmp_path / "s.csv", "case,phase", "a,portal", "b,portal", "c,native", "d,")
        found = rows_of(stratify(scores_of(a=0.9, b=0.8, c=0.5, d=0.7, e=0.6), read_strata(path)))
        # portal (0.9 + 0.8) / 2; d has no value, e no row: (0.7 + 0.6) / 2; native less portal
        assert list(found) == ["portal", "native", NOT_GIVEN]
        assert found["portal"].mean.value == pytest.approx(0.85)
        assert found["portal"].reference
        assert found["portal"].difference is None
        assert found["native"].difference.value == pytest.approx(-0.35)
        assert found["native"].difference.low is None  # one case
        assert found[NOT_GIVEN].mean.value == pytest.approx(0.65)
        assert found[NOT_GIVEN].difference.value == pytest.approx(-0.2)

    def test_a_difference_that_stands_out_is_settled(self, tmp_path):
        cases = {f"c{n}": (0.9 if n < 10 else 0.6) + 0.001 * n for n in range(20)}
        rows = [f"{case},{'A' if n < 10 else 'B'}" for n, case in enumerate(cases)]
        path = table(tmp_path / "s.csv", "case,vendor", *rows)
        found = rows_of(stratify(scores_of(**cases), read_strata(path), ["vendor=B"]))
        assert found["B"].reference
        assert found["A"].difference.value == pytest.approx(0.29)
        assert found["A"].difference.settled

    def test_many_numbers_are_cut_in_thirds_and_few_are_not(self, tmp_path):
        cases = {f"c{n}": 0.5 for n in range(9)}
        path = table(tmp_path / "s.csv", "case,mm,kV", *[f"c{n},{n},{n % 2}" for n in range(9)])
        found = stratify(scores_of(**cases), read_strata(path))
        by_mm = rows_of([s for s in found if s.column == "mm"])
        # nearest to the thirds of 0 … 8: 3 and 5; up to 3 four, 4 and 5, 6 to 8
        assert {value: s.mean.count for value, s in by_mm.items()} == {
            "up to 3": 4, "over 3 to 5": 2, "over 5": 3,
        }  # fmt: skip
        assert set(rows_of([s for s in found if s.column == "kV"])) == {"0", "1"}

    @pytest.mark.parametrize(
        ("rows", "references", "message"),
        [
            (("name,phase", "a,1"), (), "needs a column case and one more, found: name, phase"),
            (("case", "a"), (), "needs a column case and one more"),
            (("case,phase", "a,1", "a,2"), (), "given twice: a"),
            (("case,phase", "a"), (), "line 2 does not have 2 cells"),
            (("case,phase", "z,1"), (), "no scored case is in the table"),
            (("case,phase", "a,1"), ("vendor=x",), "give COLUMN=VALUE; columns: phase"),
            (("case,phase", "a,1"), ("phase=2",), "no case has phase=2; there are: 1"),
        ],
    )
    def test_bad_tables_are_one_line(self, rows, references, message, tmp_path):
        with pytest.raises(KitError, match=message):
            stratify(scores_of(a=0.5), read_strata(table(tmp_path / "s.csv", *rows)), references)


class TestOneToOne:
    def test_one_prediction_over_two_lesions_finds_one(self):
        truth = box(SHAPE, (0, 2), (0, 4), (0, 4)) + box(SHAPE, (0, 2), (0, 4), (5, 8))
        pred = box(SHAPE, (0, 2), (0, 4), (0, 8))
        true, found = lesions_of_both(truth > 0, pred > 0, 1.0)
        # 32 and 24 voxels in 64: overlaps 32 / 64 and 24 / 64
        assert [(x.ml, x.found, x.matched, x.spare) for x in true] == [
            (32, True, True, False),
            (24, True, False, True),
        ]
        assert [(x.found, x.matched) for x in found] == [(True, True)]

    def test_most_pairs_come_before_most_overlap(self):
        # true A covers x 0..6, B 8..11; predicted 1 lies on both ends, 2 on A alone
        truth = box(SHAPE, (0, 1), (0, 2), (0, 7)) + box(SHAPE, (0, 1), (0, 2), (8, 12))
        pred = box(SHAPE, (0, 1), (0, 2), (3, 12)) + box(SHAPE, (0, 1), (0, 2), (0, 2))
        true, found = lesions_of_both(truth > 0, pred > 0, 1.0)
        assert [x.matched for x in true] == [True, True]
        assert [x.matched for x in found] == [True, True]

    def test_too_little_overlap_is_false_and_counts_say_so(self):
        truth = box(SHAPE, (0, 2), (0, 2), (0, 2))
        pred = box(SHAPE, (0, 6), (0, 12), (0, 12)) * 0 + box(SHAPE, (1, 6), (1, 6), (1, 6))
        true, found = lesions_of_both(truth > 0, pred > 0, 1.0)  # 1 of 8 + 125 - 1
        case = CaseScores("a", true_lesions=true, pred_lesions=found)
        row = detection([case])[0]
        assert (row.true, row.found, row.matched) == (1, 1, 0)  # an eighth of it is covered
        assert (row.predicted, row.confirmed, row.false) == (1, 0, 1)

    def test_nothing_is_matched_where_there_is_nothing(self):
        empty, full = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
        assert lesions_of_both(empty, empty, 1.0) == ((), ())
        (lesion,) = lesions_of_both(full, empty, 1.0)[0]
        assert not lesion.matched


@pytest.fixture
def maps(tmp_path):
    """Truths and predictions of four cases: liver, and a tumour in two of them."""
    for n in range(4):
        liver = box(SHAPE, (0, 6), (0, 6), (0, 6))
        truth = np.where(box(SHAPE, (1, 3), (1, 3), (1, 3)) * (n < 2), 14, liver).astype(np.uint8)
        write_map(truth, tmp_path / f"truth/c{n}.nii.gz")
        pred = truth.copy()
        pred[:, : n + 1] = 0
        write_map(pred, tmp_path / f"pred/c{n}.nii.gz")
    table(tmp_path / "s.csv", "case,phase", "c0,portal", "c1,portal", "c2,native", "c3,native")
    return tmp_path


def score(maps, *arguments, pred="pred"):
    words = ["score", "--truth", maps / "truth", "--pred", maps / pred, "-o", maps / "out"]
    result = CliRunner().invoke(main, [str(word) for word in (*words, *arguments)])
    assert "Traceback" not in result.output
    return result


class TestScore:
    def test_strata_are_on_screen_in_the_files_and_in_the_report(self, maps):
        result = score(maps, "--rules", "fixed", "--strata", maps / "s.csv")
        assert result.exit_code == 0, result.output
        assert "DSC of organs by phase" in result.output
        assert "Tumours one to one" in result.output
        assert max(map(len, result.output.splitlines())) <= 80
        found = load_scores(maps / "out/scores.json")
        assert {s.value for s in found.by_stratum} == {"portal", "native"}
        with (maps / "out/strata.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert rows[0]["reference"] == "True"
        assert rows[1]["difference"].startswith("-0.")
        page = (maps / "out/report.html").read_text()
        assert "<h2>By stratum</h2>" in page
        assert "phase: native" in page

    def test_a_log_counts_what_was_seen_before(self, maps):
        log = maps / "logs/looks.jsonl"
        assert "No earlier scoring of these cases" in score(maps, "--log", log).output
        again = " ".join(score(maps, "--log", log).output.split())
        assert "Not blind: 4 cases of these were scored before, 1 time since 2" in again
        assert "1 different set of predictions" in again
        (maps / "truth/c0.nii.gz").rename(maps / "truth/renamed.nii.gz")
        (maps / "pred/c0.nii.gz").rename(maps / "pred/renamed.nii.gz")
        write_map(box(SHAPE, (0, 2), (0, 2), (0, 2)), maps / "pred/c1.nii.gz")
        third = " ".join(score(maps, "--log", log).output.split())
        assert "4 cases of these were scored before, 2 times" in third
        score(maps, "--log", log)
        looks = load_scores(maps / "out/scores.json").looks
        assert (looks.before, looks.predictions, looks.cases) == (3, 2, 4)
        assert "Not blind: 4 cases" in (maps / "out/report.html").read_text()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["team"] for line in lines] == ["pred"] * 4

    @pytest.mark.parametrize("text", ["[]\n", "no json\n", '{"time": "x"}\n'])
    def test_a_file_that_is_no_log_is_left_alone(self, text, maps):
        log = table(maps / "log", text.strip())
        result = score(maps, "--log", log)
        assert result.exit_code == 1
        assert "line 1 is no line of a log of scorings" in " ".join(result.output.split())
        assert log.read_text() == text

    def test_no_log_is_written_unless_requested(self, maps):
        before = {path.name for path in maps.iterdir()}
        result = score(maps)
        assert {path.name for path in maps.iterdir()} == before | {"out"}
        unknown = "Nobody knows whether this is blind: no log of scorings is kept (--log)."
        assert unknown in " ".join(result.output.split())
        assert unknown in (maps / "out/report.html").read_text()

    def test_the_environment_names_a_standing_log(self, maps, monkeypatch):
        monkeypatch.setenv("FLARE23_LOOKS", str(maps / "standing.jsonl"))
        assert "No earlier scoring of these cases" in score(maps).output
        assert "Not blind: 4 cases" in " ".join(score(maps).output.split())
        assert "No earlier scoring" in score(maps, "--log", maps / "another.jsonl").output

    def test_a_reference_needs_strata(self, maps):
        result = score(maps, "--reference", "phase=native")
        assert result.exit_code == 2
        assert "--reference needs --strata" in result.output


def test_a_log_that_knows_other_cases_only_says_so():
    assert log_sentence(Looks("l", 0, 0, 0)) == "No earlier scoring of these cases is in l."
