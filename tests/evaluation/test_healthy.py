"""Tumours that are predicted where there are none."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from evaluation.cli import main
from evaluation.profiles.profile import FLARE23, load_profile
from evaluation.scoring.healthy import false_tumour, healthy_line, healthy_scans
from evaluation.scoring.scores import CaseScores, FalseTumour, HealthyScans, LabelScore
from imaging.organs import TUMOUR
from tests.evaluation.maps import box, write_map

SHAPE = (10, 12, 14)
ORGAN = box(SHAPE, (0, 9), (0, 9), (0, 9))
# 8 voxels, and 2 that touch them at a corner only; 3 apart
FALSE = (
    box(SHAPE, (0, 2), (0, 2), (0, 2), 14)
    + box(SHAPE, (2, 3), (2, 3), (2, 4), 14)
    + box(SHAPE, (7, 8), (0, 3), (0, 1), 14)
)


def over(labels, more):
    return np.where(more > 0, more, labels).astype(np.uint8)


def test_pieces_and_millilitres():
    found = false_tumour(ORGAN, over(ORGAN, FALSE), 0.5, FLARE23)
    assert found == FalseTumour(pieces=2, ml=6.5)  # 13 voxels of half a millilitre
    assert false_tumour(ORGAN, ORGAN, 0.5, FLARE23) == FalseTumour(0, 0.0)


def test_a_scan_with_a_tumour_is_not_healthy():
    assert false_tumour(FALSE, FALSE, 1.0, FLARE23) is None
    assert false_tumour(ORGAN, FALSE, 1.0, load_profile("flare22")) is None


def test_all_scans_together():
    labels = {TUMOUR: LabelScore(0.0, 0.0)}
    tumours = (FalseTumour(2, 6.5), FalseTumour(0, 0.0), FalseTumour(1, 0.5), None)
    cases = [CaseScores(f"c{n}", labels, false_tumour=t) for n, t in enumerate(tumours)]
    found = healthy_scans(cases)
    assert found == HealthyScans(scans=3, with_tumour=2, pieces=3, ml=7.0, most_ml=6.5)
    assert healthy_line(found) == (
        "Scans without a tumour: 3; predicted in 2 (66.7%): "
        "pieces 3, 7.0 ml, at most 6.5 ml a scan."
    )
    assert healthy_line(HealthyScans(4, 0, 0, 0.0, 0.0)) == (
        "Scans without a tumour: 4; predicted in 0 (0.0%)."
    )
    assert healthy_scans(cases[3:]) is None


@pytest.mark.parametrize("rules", ["official", "fixed"])
@pytest.mark.parametrize("annotated", ["all", "1"])
def test_score_says_it_by_both_rules_where_the_tumour_was_annotated(tmp_path, rules, annotated):
    truths = {"ill": over(ORGAN, FALSE), "well": ORGAN, "spared": ORGAN}
    preds = {"ill": ORGAN, "well": over(ORGAN, FALSE), "spared": ORGAN}
    for name in truths:
        write_map(truths[name], tmp_path / "truth" / f"{name}.nii.gz", (10.0, 10.0, 5.0))
        write_map(preds[name], tmp_path / "pred" / f"{name}.nii.gz", (10.0, 10.0, 5.0))
    words = ["--truth", tmp_path / "truth", "--pred", tmp_path / "pred", "-o", tmp_path / "out",
             "--rules", rules, "--annotated", annotated]  # fmt: skip
    done = CliRunner().invoke(main, ["score", *map(str, words)])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    line = "Scans without a tumour: 2; predicted in 1 (50.0%): pieces 2, 6.5 ml"
    page = (tmp_path / "out" / "report.html").read_text()
    if annotated == "all":
        assert found["healthy"] == {"scans": 2, "with_tumour": 1, "pieces": 2, "ml": 6.5,
                                    "most_ml": 6.5}  # fmt: skip
        assert line in " ".join(done.output.split())
        assert line in page
    else:
        assert found["healthy"] is None
        assert "Scans without" not in done.output + page
