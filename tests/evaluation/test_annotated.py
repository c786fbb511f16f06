"""What was not annotated is blank in every row, mean, picture and file; what is absent is not.

The folder `partly`: two truths with liver (1) and spleen (3), the second also with a pancreas (4);
each prediction is its truth, and has an aorta (5) and a tumour (14) besides.
"""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.cli import main
from evaluation.comparison.contest import load_contest
from evaluation.comparison.measured import load_measured
from evaluation.profiles.profile import FLARE23
from evaluation.scoring import fixed, official
from evaluation.scoring.annotated import (
    ALL,
    AnnotatedLabels,
    blank_unannotated,
    read_annotated,
    score_annotated,
)
from evaluation.scoring.folders import Scoring, score_folder
from evaluation.scoring.scores import NOT_ANNOTATED, CaseScores, LabelScore, Lesion, load_scores
from imaging.errors import KitError
from imaging.organs import ORGANS, TUMOUR
from tests.evaluation import plain_flare23
from tests.evaluation.maps import box, write_map
from tests.evaluation.results import failed, scored, write_scores

SHAPE = (10, 11, 12)
TRUTH = box(SHAPE, (2, 8), (0, 4), (2, 8)) + box(SHAPE, (2, 8), (5, 8), (2, 8), 3)
PANCREAS = box(SHAPE, (2, 6), (9, 11), (2, 8), 4)
FOUR = ("spleen", "pancreas", "aorta", "stomach")
MORE = box(SHAPE, (0, 2), (0, 4), (0, 4), 5) + box(SHAPE, (8, 10), (5, 8), (4, 8), 14)


@pytest.fixture
def partly(tmp_path):
    truth, pred = tmp_path / "truth", tmp_path / "pred"
    for name, labels in {"a": TRUTH, "b": TRUTH + PANCREAS}.items():
        write_map(labels, truth / f"{name}.nii.gz")
        write_map(labels + MORE, pred / f"{name}.nii.gz")
    return tmp_path


def score(folder, *options):
    """Run the command line; return what it printed and what it wrote."""
    words = ["--truth", folder / "truth", "--pred", folder / "pred", "-o", folder / "out"]
    done = CliRunner().invoke(main, ["score", *map(str, words), *options])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    path = folder / "out" / "scores.json"
    return done, load_scores(path) if path.is_file() else None


def dscs(case):
    return {organ: label.dsc for organ, label in case.labels.items() if label.dsc is not None}


class TestByDefault:
    @pytest.mark.parametrize("rules", ["official", "fixed"])
    def test_what_occurs_in_any_truth_was_annotated_in_all(self, partly, rules):
        done, found = score(partly, "--rules", rules)
        assert done.exit_code == 0, done.output
        first, second = found.cases
        # the pancreas is absent from both maps of `a`: 1 officially, no score by the fixed rules
        absent = {"pancreas": 1} if rules == "official" else {}
        assert dscs(first) == {"liver": 1, "spleen": 1, **absent}
        assert dscs(second) == {"liver": 1, "spleen": 1, "pancreas": 1}
        assert {first.labels[organ].note for organ in ("aorta", "tumour")} == {NOT_ANNOTATED}
        assert first.pred_lesions == ()
        assert first.unannotated == found.unannotated
        assert set(found.unannotated) == set(ORGANS) - {"liver", "spleen", "pancreas"}

    @pytest.mark.parametrize("rules", ["official", "fixed"])
    def test_means_are_of_what_was_annotated(self, partly, rules):
        _, found = score(partly, "--rules", rules)
        assert (found.means["dsc"]["organs"].value, found.means["dsc"]["organs"].count) == (1, 2)
        for organ in ("aorta", TUMOUR):
            mean = found.means["dsc"][organ]
            assert (mean.value, mean.count) == (None, 0)
        if rules == "fixed":
            assert found.detection[0].predicted == 0

    def test_it_is_shown_on_the_screen_and_in_the_report(self, partly):
        done, found = score(partly)
        output = " ".join(done.output.split())
        line = "annotated: liver, spleen, pancreas (what occurs in a truth); not annotated, so"
        assert line in output
        assert "mean of 3 organs" in output
        page = (partly / "out" / "report.html").read_text("utf-8")
        assert line.capitalize() in page
        assert "mean of 3 organs" in page
        assert NOT_ANNOTATED not in page.replace("; not annotated, so blank: ", "")  # once, above
        assert found.annotated == "what occurs in a truth"

    def test_cells_are_empty_and_json_is_null(self, partly):
        score(partly, "--rules", "fixed", "--no-report")
        out = partly / "out"
        with (out / "scores.csv").open(newline="") as stream:
            first, second = csv.DictReader(stream)
        assert (first["Aorta_DSC"], first["Lesion_NSD"], first["Liver_DSC"]) == ("", "", "1.0")
        assert (first["Pancreas_DSC"], second["Pancreas_DSC"]) == ("", "1.0")
        with (out / "labels.csv").open(newline="") as stream:
            aorta = next(row for row in csv.DictReader(stream) if row["organ"] == "aorta")
        assert aorta.pop("note") == NOT_ANNOTATED
        assert set(aorta.values()) == {"a", "aorta", ""}
        label = json.loads((out / "scores.json").read_text())["cases"][0]["labels"]["aorta"]
        assert {key for key, value in label.items() if value is not None} == {"note"}

    def test_the_worst_case_is_not_the_one_with_most_unannotated_organs(self, partly):
        pred = TRUTH.copy()
        pred[2:5] = 0  # half of liver and spleen
        write_map(pred + PANCREAS, partly / "pred" / "b.nii.gz")
        score(partly)
        page = (partly / "out" / "report.html").read_text("utf-8")
        worst = page[page.index("The worst cases") : page.index('<section id="cases">')]
        assert "<h3>b</h3>" in worst
        assert "<h3>a</h3>" not in worst
        assert "aorta" not in worst

    def test_a_missing_prediction_counts_nought_only_where_something_was_annotated(self, partly):
        (partly / "pred" / "a.nii.gz").unlink()
        _, found = score(partly, "--missing", "zero")
        assert dscs(found.cases[0]) == {"liver": 0, "spleen": 0, "pancreas": 0}
        assert found.means["dsc"][TUMOUR].count == 0

    def test_a_case_that_fails_still_tells_what_was_annotated(self, partly):
        (partly / "pred" / "b.nii.gz").unlink()
        _, found = score(partly)
        assert "pancreas" in dscs(found.cases[0])

    def test_truths_without_any_label_are_refused(self, partly):
        for name in "ab":
            write_map(np.zeros(SHAPE, np.uint8), partly / "truth" / f"{name}.nii.gz")
        done, _ = score(partly)
        assert done.exit_code == 1
        assert "no label was annotated, by what occurs in a truth" in done.output
        assert not (partly / "out" / "scores.json").exists()
        assert score(partly, "--annotated", "all")[0].exit_code == 0


class TestOption:
    def test_all_is_what_the_published_script_gives(self, partly):
        _, found = score(partly, "--annotated", "all")
        plain = plain_flare23.score_folders(partly / "truth", partly / "pred", FLARE23.low_dsc)
        for case in found.cases:
            theirs = plain["cases"][f"{case.case}.nii.gz"]
            assert [(s.dsc, s.nsd) for s in case.labels.values()] == theirs
        assert [found.means[metric]["organs"].value for metric in ("dsc", "nsd")] == plain["organs"]
        assert found.means["dsc"][TUMOUR].value == 0
        assert found.unannotated == ()

    @pytest.mark.parametrize("words", ["1,14", "liver,tumour", " Liver , 14 ", "14,1,1"])
    def test_labels_by_number_or_name(self, partly, words):
        done, found = score(partly, "--annotated", words)
        output = " ".join(done.output.split())
        assert "annotated: liver, tumour; not annotated, so blank: right kidney, spleen" in output
        assert dscs(found.cases[0]) == {"liver": 1, TUMOUR: 0}

    def table(self, partly, **labels):
        rows = [{"case": case, "annotated": given, "other": 1} for case, given in labels.items()]
        path = partly / "cases.json"
        path.write_text(json.dumps({"schema": 1, "cases": rows}))
        return str(path)

    def test_a_table_says_it_case_by_case(self, partly):
        path = self.table(partly, a=[1, 3, 5], b=[1, "spleen", 4], c=[14])
        done, found = score(partly, "--annotated", path)
        assert done.exit_code == 0, done.output
        first, second = found.cases
        assert dscs(first) == {"liver": 1, "spleen": 1, "aorta": 0}
        assert dscs(second) == {"liver": 1, "spleen": 1, "pancreas": 1}
        assert found.means["dsc"]["aorta"].count == 1
        assert {"aorta", "pancreas"}.isdisjoint(found.unannotated)
        page = (partly / "out" / "report.html").read_text("utf-8")
        assert "pancreas: not annotated" in page
        assert "aorta: not annotated" in page

    def test_a_table_that_contradicts_a_truth_is_a_warning(self, partly):
        done, found = score(partly, "--annotated", self.table(partly, a=[1, 3], b=[1, 3]))
        assert done.exit_code == 1
        first, second = found.cases
        assert first.warning is None
        assert second.warning.startswith("the truth has pancreas, which ")
        assert dscs(second) == {"liver": 1, "spleen": 1}

    def test_a_case_that_the_table_lacks_is_a_row_and_the_others_are_scored(self, partly):
        done, found = score(partly, "--annotated", self.table(partly, a=[1, 3]))
        assert done.exit_code == 1
        first, second = found.cases
        assert (first.error, dscs(first)) == (None, {"liver": 1, "spleen": 1})
        assert second.labels == {}
        assert second.error.endswith("cases.json does not say what was annotated in it; add a row")

    @pytest.mark.parametrize("words", ["15", "0", "-1", "lung", "1,,3", "1.0", "", "all,1", "²"])
    def test_a_label_that_there_is_not_is_wrong_usage(self, partly, words):
        done, _ = score(partly, "--annotated", words)
        assert done.exit_code == 2
        assert "give numbers from 1 to 14, or of liver, right kidney" in done.output
        assert not (partly / "out").exists()

    @pytest.mark.parametrize(
        "text",
        ["", "{}", "[]", "1", '{"cases": [1]}', '{"cases": [{"case": "a"}]}', "[" * 100_000]
        + [
            f'{{"cases": [{{"case": "a", "annotated": {labels}}}]}}'
            for labels in ("1", "[15]", "[1.5]", "null")
        ],
    )
    def test_a_file_that_is_no_table_is_one_line(self, partly, text):
        (partly / "t.json").write_text(text)
        done, _ = score(partly, "--annotated", str(partly / "t.json"))
        assert done.exit_code == 1
        (line,) = done.output.strip().splitlines()
        assert line.startswith("Error: ")
        assert "t.json" in line

    def test_a_table_that_is_not_there_is_one_line(self, partly):
        done, _ = score(partly, "--annotated", str(partly / "gone.json"))
        assert done.exit_code == 1
        assert "gone.json: not a readable table" in done.output

    def test_the_cases_of_a_release_are_such_a_table(self, tmp_path):
        from train.data.release import Case, write_cases

        row = Case("a", "i/a_0000.nii.gz", "l/a.nii.gz", (1,), (1, 3), "partial")
        write_cases([row], tmp_path / "cases.json")
        found = read_annotated(str(tmp_path / "cases.json"))
        assert found.of("a", frozenset()) == {1, 3}
        assert found.of("b", frozenset({1})) is None


LABELS = st.frozensets(st.sampled_from(list(ORGANS.values())))
VALUES = st.one_of(st.none(), st.floats(0, 1))


@st.composite
def cases_and_tables(draw):
    """Cases with any scores, and what was annotated in each."""
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5, unique=True))
    cases, table = [], {}
    for name in names:
        labels = {organ: LabelScore(draw(VALUES), draw(VALUES)) for organ in ORGANS}
        lesions = tuple(Lesion(1.0, True, 1.0) for _ in range(draw(st.integers(0, 2))))
        present = tuple(sorted(draw(LABELS)))
        cases.append(
            CaseScores(
                name, labels, pred_lesions=lesions, true_lesions=lesions, truth_labels=present
            )
        )
        table[name] = draw(LABELS)
    return cases, table


@settings(max_examples=200, deadline=None)
@given(made=cases_and_tables())
def test_annotated_labels_keep_their_scores_and_no_other_has_any(made):
    cases, table = made
    annotated = AnnotatedLabels("a table", by_case=table)
    for case in cases:
        found = blank_unannotated(case, annotated)
        for organ, label in ORGANS.items():
            expected = (
                case.labels[organ] if label in table[case.case] else LabelScore(note=NOT_ANNOTATED)
            )
            assert found.labels[organ] == expected
        assert {ORGANS[organ] for organ in found.unannotated} == set(ORGANS.values()) - table[
            case.case
        ]
        kept = case.pred_lesions if ORGANS[TUMOUR] in table[case.case] else ()
        assert found.pred_lesions == found.true_lesions == kept
        contradicts = set(case.truth_labels) - table[case.case]
        assert bool(found.warning) == bool(contradicts)


@settings(max_examples=100, deadline=None)
@given(made=cases_and_tables())
def test_means_are_those_of_the_cases_in_which_it_was_annotated(made):
    cases, table = made
    if not any(table.values()):
        with pytest.raises(KitError, match="no label was annotated, by a table"):
            score_annotated(cases, AnnotatedLabels("a table", by_case=table))
        return
    found, _ = score_annotated(cases, AnnotatedLabels("a table", by_case=table))
    for rules in (official, fixed):
        means = rules.means(found)["dsc"]
        for organ, label in ORGANS.items():
            values = [
                case.labels[organ].dsc
                for case in cases
                if label in table[case.case] and case.labels[organ].dsc is not None
            ]
            assert means[organ].count == len(values)
            expected = pytest.approx(np.mean(values), abs=1e-4) if values else None
            assert means[organ].value == expected


@settings(max_examples=60, deadline=None)
@given(made=cases_and_tables())
def test_by_default_a_label_of_any_truth_was_annotated_in_every_case(made):
    cases, _ = made
    occurring = {label for case in cases for label in case.truth_labels}
    if not occurring:
        return
    found, source = score_annotated(cases, None)
    assert source == "what occurs in a truth"
    assert all(
        {ORGANS[o] for o in case.labels if o not in case.unannotated} == occurring for case in found
    )
    assert not any(case.warning for case in found)


@pytest.mark.parametrize("rules", ["official", "fixed"])
def test_what_is_predicted_for_an_unannotated_organ_changes_nothing(partly, rules):
    def measured():
        scoring = Scoring(partly / "truth", partly / "pred", rules)
        found = score_folder(scoring)
        return [case.labels for case in found.cases], found.means, found.detection

    with_more = measured()
    for name, labels in {"a": TRUTH, "b": TRUTH + PANCREAS}.items():
        write_map(labels, partly / "pred" / f"{name}.nii.gz")
    assert measured() == with_more


# ----- beside others ---------------------------------------------------------------------------


def unannotated(case, *organs):
    """A case of `scored` in which nobody annotated `organs`."""
    return blank_unannotated(
        case, AnnotatedLabels("x", frozenset(ORGANS[o] for o in ORGANS if o not in organs))
    )


def test_a_mean_over_fewer_organs_is_not_compared_with_thirteen(tmp_path):
    write_scores(
        tmp_path / "us", *(unannotated(scored(f"c{n}"), "spleen", TUMOUR) for n in range(50))
    )
    figures = load_measured(tmp_path / "us").figures["dsc_percent"]
    assert figures["organs"].flaw == "not annotated in every case: spleen"
    assert figures["liver"].flaw is None
    assert "spleen" not in figures
    assert TUMOUR not in figures
    write_scores(tmp_path / "few", *(unannotated(scored(f"c{n}"), *FOUR) for n in range(50)))
    figures = load_measured(tmp_path / "few").figures["dsc_percent"]
    assert figures["organs"].flaw == "not annotated in every case: 4 organs"


def test_a_tumour_that_nobody_drew_is_not_ranked(tmp_path):
    for team, dsc in {"a": 0.9, "b": 0.8}.items():
        cases = [unannotated(scored(name, (dsc, dsc)), TUMOUR) for name in ("x", "y")]
        write_scores(tmp_path / team, *cases)
    found = load_contest([tmp_path / "a", tmp_path / "b"])
    assert list(found.costs) == ["organ DSC", "organ NSD"]
    assert found.notes[0] == "not annotated, so all teams are equal there: tumour in 2 cases"


def test_a_tumour_that_was_not_annotated_in_one_case_ties_there_with_a_case_that_failed(tmp_path):
    write_scores(tmp_path / "a", unannotated(scored("x"), TUMOUR), scored("y", tumour=(0.7, 0.7)))
    write_scores(tmp_path / "b", failed("x"), scored("y", tumour=(0.6, 0.6)))
    costs = load_contest([tmp_path / "a", tmp_path / "b"]).costs["tumour DSC"]
    np.testing.assert_array_equal(costs, [[0, -0.7], [0, -0.6]])


def test_teams_scored_on_different_organs_are_not_ranked(tmp_path):
    write_scores(tmp_path / "a", unannotated(scored("x"), TUMOUR))
    write_scores(tmp_path / "b", scored("x"))
    with pytest.raises(KitError, match=r"a and b were not scored on the same.*--annotated: x"):
        load_contest([tmp_path / "a", tmp_path / "b"])


def test_scores_of_an_earlier_kit_are_of_all_labels(tmp_path):
    write_scores(tmp_path, scored("x"))
    table = json.loads((tmp_path / "scores.json").read_text())
    del table["annotated"], table["cases"][0]["truth_labels"]
    (tmp_path / "scores.json").write_text(json.dumps(table))
    found = load_scores(tmp_path / "scores.json")
    assert (found.annotated, found.unannotated, found.cases[0].truth_labels) == (ALL, (), ())


def test_scores_with_the_former_key_are_one_line(tmp_path):
    write_scores(tmp_path, scored("x"))
    path = tmp_path / "scores.json"
    path.write_text(path.read_text().replace('"annotated"', '"drawn"'))
    with pytest.raises(KitError, match=r"unknown keys: drawn; score again with this kit$"):
        load_scores(path)


def test_a_table_with_the_former_key_is_one_line(partly):
    (partly / "t.json").write_text('{"cases": [{"case": "a", "drawn": [1]}]}')
    done, _ = score(partly, "--annotated", str(partly / "t.json"))
    assert done.exit_code == 1
    (line,) = done.output.strip().splitlines()
    assert "not a readable table of what was annotated ('annotated'); give" in line
