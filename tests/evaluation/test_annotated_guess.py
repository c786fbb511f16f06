"""Truths with other organs in each: what counts 0 by the guess is said, and `each` leaves it out.

Truths: liver in `a`, liver and spleen in `b`, liver, spleen and right kidney in `c`. Every
prediction has all three, and a tumour.
"""

import pytest
from click.testing import CliRunner

from evaluation.cli import main
from evaluation.scoring.scores import NOT_ANNOTATED, load_scores
from evaluation.scoring.strata import PARTLY
from tests.evaluation.maps import box, write_map

SHAPE = (10, 11, 12)
LIVER = box(SHAPE, (2, 8), (0, 4), (2, 8))
SPLEEN = box(SHAPE, (2, 8), (5, 8), (2, 8), 3)
KIDNEY = box(SHAPE, (2, 6), (9, 11), (2, 8), 2)
TUMOUR = box(SHAPE, (8, 10), (5, 8), (4, 8), 14)
TRUTHS = {"a": LIVER, "b": LIVER + SPLEEN, "c": LIVER + SPLEEN + KIDNEY}
DOUBT = (
    "Counted 0, for the truth has none and it is predicted: right kidney in 2 of 3 cases; spleen "
    "in 1 of 3 cases. Where nobody annotated these organs that is wrong: give --annotated each, "
    "or --annotated cases.json."
)


@pytest.fixture
def score(tmp_path):
    """Score the three cases by the command line; return the screen, in one line, and the scores."""
    for case, truth in TRUTHS.items():
        write_map(truth, tmp_path / "truth" / f"{case}.nii.gz")
        write_map(TRUTHS["c"] + TUMOUR, tmp_path / "pred" / f"{case}.nii.gz")

    def run(*options):
        words = ["--truth", tmp_path / "truth", "--pred", tmp_path / "pred", "-o", tmp_path / "out"]
        done = CliRunner().invoke(main, ["score", *map(str, words), *options])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return " ".join(done.output.split()), load_scores(tmp_path / "out" / "scores.json")

    return run


@pytest.mark.parametrize("rules", ["official", "fixed"])
def test_what_counts_0_by_a_guess_is_said(score, tmp_path, rules):
    screen, found = score("--rules", rules)
    assert DOUBT in screen
    assert DOUBT in (tmp_path / "out" / "report.html").read_text()
    means = found.means["dsc"]
    assert (means["right kidney"].value, means["right kidney"].count) == (
        pytest.approx(1 / 3, abs=1e-4),
        3,
    )
    assert means["spleen"].value == pytest.approx(2 / 3, abs=1e-4)


@pytest.mark.parametrize("rules", ["official", "fixed"])
def test_each_counts_what_each_truth_shows(score, rules):
    screen, found = score("--rules", rules, "--annotated", "each")
    assert "annotated: liver, right kidney, spleen (what each truth shows)" in screen
    assert "Counted 0" not in screen
    counts = {organ: (mean.value, mean.count) for organ, mean in found.means["dsc"].items()}
    assert [counts[o] for o in ("liver", "spleen", "right kidney")] == [(1, 3), (1, 2), (1, 1)]
    first = found.cases[0]
    assert {first.labels[o].note for o in ("spleen", "right kidney", "tumour")} == {NOT_ANNOTATED}
    assert (first.pred_lesions, first.false_tumour) == ((), None)


def test_each_works_with_labels_that_are_numbered_otherwise(score):
    screen, found = score("--annotated", "each", "--profile", "flare21")
    assert "(what each truth shows)" in screen
    assert found.annotated == "what each truth shows"


def test_what_was_said_to_be_annotated_is_no_guess(score):
    for annotated in ("all", "1,2,3"):
        assert "Counted 0" not in score("--annotated", annotated)[0]


def test_an_organ_that_is_rightly_absent_and_a_tumour_are_not_named(score, tmp_path):
    write_map(LIVER + SPLEEN, tmp_path / "pred" / "b.nii.gz")
    write_map(TRUTHS["c"] + TUMOUR, tmp_path / "truth" / "c.nii.gz")
    write_map(LIVER + TUMOUR, tmp_path / "pred" / "a.nii.gz")
    assert "Counted 0" not in score()[0]


def test_a_case_without_a_prediction_is_not_named(score, tmp_path):
    (tmp_path / "pred" / "a.nii.gz").unlink()
    screen, _ = score("--missing", "zero")
    assert "right kidney in 1 of 3 cases. Where nobody" in screen


def test_where_no_case_is_scored_nothing_is_said_of_labels(score, tmp_path):
    for case in TRUTHS:
        (tmp_path / "pred" / f"{case}.nii.gz").rename(tmp_path / "pred" / f"{case}_0000.nii.gz")
    screen, found = score()
    assert "annotated" not in screen
    assert "(what occurs in a truth)" not in (tmp_path / "out" / "report.html").read_text()
    assert "Scans without a tumour" not in screen
    assert "mean of" not in screen
    assert [case.error is not None for case in found.cases] == [True] * 3
    assert "a no label map" in screen.replace("│ ", "")


def test_strata_of_cases_with_other_organs_are_said_to_be_so(score, tmp_path):
    table = tmp_path / "strata.csv"
    table.write_text("case,vendor\na,GE\nb,Siemens\nc,Siemens\n")
    screen, _ = score("--annotated", "each", "--strata", str(table))
    assert PARTLY in screen
    assert PARTLY in (tmp_path / "out" / "report.html").read_text()
    screen, _ = score("--annotated", "liver", "--strata", str(table))
    assert PARTLY not in screen
