"""Every table of the kit on 80 columns, with long names: no line is longer, no name is cut."""

import ast
import re
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.agreement import screen as agreement_screen
from evaluation.agreement.label_maps import CaseAgreement, LabelAgreement
from evaluation.comparison import compare_screen, ranking_screen
from evaluation.comparison.compare import Comparison
from evaluation.comparison.measured import Figure, TeamResults
from evaluation.comparison.ranking import RankCorrelation, Ranking, Standing
from evaluation.efficiency.results import (
    ChallengeLimits,
    Efficiency,
    EfficiencyRun,
    Load,
    case_efficiency,
)
from evaluation.efficiency.screen import SHOWN, efficiency_table
from evaluation.scoring.scores import CaseScores, Detection, LabelScore, Mean, Scores
from evaluation.scoring.tables import show_scores
from evaluation.submission.rules import RULES, RuleResult, Submission
from evaluation.submission.screen import rules_table
from imaging.fitted_tables import fitted, show_table
from imaging.organs import ORGANS
from inference.report import CaseReport, RunReport
from inference.results_table import show_results, volumes_table

ROOT = Path(__file__).parents[2]
PACKAGES = ("imaging", "inference", "evaluation", "train", "benchmarks")
WIDTH = 80
NAMES = tuple(f"FLARE23Ts_centre_number_{n:02}_{n:05}" for n in range(3))
LONG_REASON = "the map of this case lies elsewhere than its CT and cannot be compared with it"
PATH = "/home/somebody/a_folder_without_any_space_in_its_name/predictions/of_the_team.nii.gz"


def columns_of(text):
    """The text of every column of a printed table: folded lines of a cell put together."""
    found = {}
    for line in text.splitlines():
        parts = re.split("[│┃]", line)
        cells = parts[1:-1] if len(parts) > 2 else re.split(r"\s{2,}", line.strip())
        for place, part in enumerate(cells):
            found[place] = found.get(place, "") + re.sub(r"\s", "", part)
    return list(found.values())


def printed(console, text, names):
    """Check what a table printed: its width, and that each name is whole, folded perhaps."""
    assert text, console
    assert max(map(len, text.splitlines())) <= WIDTH, text
    assert "…" not in text, text
    columns = columns_of(text)
    for name in names:
        bare = re.sub(r"\s", "", name)
        assert any(bare in column for column in columns), f"{name} is cut:\n{text}"


def volumes(console, count):
    cases = [
        CaseReport(
            NAMES[n],
            "done",
            volumes_ml={organ: 1234.5 * (label + 1) for organ, label in ORGANS.items()},
            removed_ml={"liver": 3.0},
            outside_ml=12.3,
        )
        for n in range(count)
    ]
    described = type("Described", (), {"labels": ORGANS})()
    report = RunReport("m", "0", {}, cases=cases, left_over=())
    show_results(console, report, described)
    return [*NAMES[:count], *(ORGANS if count == 1 else ("gallbladder", "tumour"))]


def one_volume(console):
    return volumes(console, 1)


def three_volumes(console):
    return volumes(console, 3)


def scores(console):
    means = {
        metric: {organ: Mean(value, 50, value / 2, value * 1.5) for organ in (*ORGANS, "organs")}
        for metric, value in (
            ("dsc", 0.91234), ("nsd", 0.8123), ("hd95_mm", 123.4), ("volume_error_ml", -1234.5),
        )
    }  # fmt: skip
    labels = dict.fromkeys(ORGANS, LabelScore(0.9, 0.9))
    cases = (CaseScores(NAMES[0], error=LONG_REASON), CaseScores(NAMES[1], labels, warning=PATH))
    sizes = (Detection("20 to 30 mm", 1000, 900, 1200, 800),)
    found = Scores(NAMES[2], None, "fixed", 0.2, "fail", cases, means, sizes)
    show_scores(found, console)
    return [*NAMES, LONG_REASON, PATH, "right adrenal gland", "20 to 30 mm"]


def agreements(console):
    label = LabelAgreement("right adrenal gland", 0.1234, 1234.5, 9876.5)
    cases = tuple(
        CaseAgreement(name, differ_voxels=12_345_678, differ_share=0.1234, labels=(label,))
        for name in NAMES
    )
    show_table(agreement_screen._table(cases), console)
    return [*NAMES, "12,345,678", "right adrenal gland"]


def ranking(console):
    metrics = ("organ DSC", "organ NSD", "tumour DSC", "tumour NSD", "seconds", "GPU MiB·s")
    standings = tuple(
        Standing(name, n + 1, 12.345, dict.fromkeys(metrics, 12.34), (0.1, 0.2, 0.7))
        for n, name in enumerate(NAMES)
    )
    weights = {metric: 0.5 for metric in metrics}
    correlation = RankCorrelation(0.9, 0.8, 1.0)
    found = Ranking(standings, NAMES, weights, 1000, 0, correlation, (LONG_REASON,))
    ranking_screen._show(found, console)
    return [*NAMES, "12.345"]


def efficiency(console):
    loads = {name.partition(".")[0]: Load(123_456.0, 9_876_543.0, 1.0) for name in SHOWN.values()}
    runs = tuple(EfficiencyRun(n, 123.45 + n, 0, None, loads=loads) for n in (1, 2))
    cases = tuple(
        case_efficiency(name, f"{name}.nii.gz", runs, ChallengeLimits()) for name in NAMES
    )
    found = Efficiency(NAMES[0], None, ("x",), None, {}, ChallengeLimits(), cases)
    show_table(efficiency_table(found), console)
    return [*NAMES, "9,876,543"]


def submission(console):
    results = {rule: RuleResult("failed", f"{NAMES[0]}: {PATH}") for rule in RULES}
    found = Submission(NAMES[1], None, NAMES, results)
    show_table(rules_table(found), console)
    return [NAMES[0], *RULES, *RULES.values()]


def measured(console):
    figures = {"dsc_percent": {"organs": Figure(Decimal("91.23"))}}
    teams = [TeamResults(f"{name}{n}", "public validation", figures)
             for n in range(2) for name in NAMES]  # fmt: skip
    show_table(compare_screen._measured(teams), console)
    return [team.team for team in teams]


def compared(console):
    rows = [
        Comparison(
            "aladdin5", "public validation", PATH, False, LONG_REASON, "dsc_percent",
            "right adrenal gland", Decimal("91.2"), team, None, Decimal("90.11"), difference, why,
        )
        for team, difference, why in (
            (NAMES[0], Decimal("-1.09"), None),
            (NAMES[1], None, "not annotated in every case: left adrenal gland, gallbladder"),
        )
    ]  # fmt: skip
    show_table(compare_screen._result(rows), console)
    return [*NAMES[:2], "right adrenal gland", "left adrenal gland, gallbladder"]


def estimate(console):
    from inference.limits import Choice, Costs, Estimate
    from inference.tools.estimate import _table

    choices = tuple(Choice("scales", step, 12_345, 12_345.6) for step in (0.5, 0.75, 1.0))
    found = Estimate(Costs(1.2, 0.34, 0.12, 0.5), 12_345.0, choices, choices[0], ())
    report = CaseReport(NAMES[0], input_shape=(512, 512, 1024), working_shape=(512, 512, 1024))
    show_table(_table(report, found, 15.0), console)
    return ["12345.6"]


def outside(console):
    from inference.tools.outside import _table

    rows = {
        organ: {"voxels": 123_456_789, "outside": 12_345, "outside_ml": 12_345.678}
        for organ in ORGANS
    }
    show_table(_table(f"{NAMES[0]}: region of interest is 12%", rows), console)
    return [*ORGANS, "123,456,789"]


def series(console):
    from imaging.dicom.series import Series
    from inference.series_table import show_series

    found = [
        Series(name, "1.2.3", 1234, f"ABDOMEN_WITH_CONTRAST_{n}", "CT", Path(PATH), (), None)
        for n, name in enumerate(NAMES)
    ]
    show_series(console, found, {found[0].name: found[0]})
    return [NAMES[0], "ABDOMEN_WITH_CONTRAST_2"]


def plans(console):
    from inference.builders.screen import _table
    from inference.engines.tensorrt_index import EnginePlan

    shared = ("plan", "0", 123_456_789, "0", "tensorrt-rtx", "1.2.0.54", "sm86")
    plan = EnginePlan(*shared, f"NVIDIA {NAMES[0]}", "f16", {}, 123.4, {}, LONG_REASON)
    request = type("Request", (), {"engine": "tensorrt-rtx", "folder": Path(PATH)})()
    request.manifest = type("Described", (), {"name": NAMES[1]})()
    show_table(_table([plan], request), console)
    return [NAMES[0], LONG_REASON]


def golden(console):
    from inference.tools.golden import GoldenComparison, read_golden
    from inference.tools.golden_screen import _table

    rows = [GoldenComparison(made, 1234.5, 1_234_567, (), ()) for made in read_golden().maps]
    described = type("Described", (), {"name": NAMES[0]})()
    show_table(_table(rows, 16, described), console)
    return ["onnxruntime", "1,234,567", "not expected"]


def claimed(console):
    from collections import Counter

    from evaluation.claims import screen
    from evaluation.claims.rerun import Repeated
    from evaluation.claims.table import Claim, ClaimedRun, ClaimsTable

    where = f"{NAMES[0]} | {LONG_REASON}"
    claim = Claim("docs/results/page.md", "12,345.67", NAMES[1], "/a", "GFLOP/s", where)
    runs = {NAMES[1]: ClaimedRun(LONG_REASON, NAMES[2], "2026-11-28", "0", seconds=12345)}
    table = ClaimsTable(runs=runs, claims=(claim,))
    show_table(screen._claims_table([claim]), console)
    show_table(screen._runs_table(table, ROOT, Counter({NAMES[1]: 12345})), console)
    show_table(screen._rerun_table([Repeated(claim, 12345.67, 76543.21)]), console)
    return []


TABLES = (golden, claimed, one_volume, three_volumes, scores, agreements, ranking, efficiency,
          submission, measured, compared, estimate, outside, series, plans)  # fmt: skip


@pytest.mark.parametrize("show", TABLES, ids=lambda show: show.__name__)
def test_a_table_fits(show):
    console = Console(width=WIDTH, markup=False, emoji=False)
    with console.capture() as captured:
        names = show(console)
    printed(console, captured.get(), names)


def data_table():
    from train.data.release import Case, Problem, Release
    from train.data.screen import _show

    annotated = tuple(label for label in ORGANS.values() if label % 2)
    case = Case(NAMES[0], "a", "b", annotated, annotated, "unlabelled", (LONG_REASON,))
    _show(Release((case,), (Problem(NAMES[1], PATH),)))
    return [*NAMES[:2], LONG_REASON, PATH]


def costs_table():
    from train.rounds.cost_screen import show_costs
    from train.rounds.recipe import load_rounds

    show_costs(load_rounds(ROOT / "train/recipes/flare23.toml"), None, None)
    return ["second_student", "3,999", "annotated_only"]


def ways_table():
    from train.pseudo_labels.ablation import Ways, show_rules, size_names

    sizes = {name: (123, 456) for name in size_names()}
    tumour = {"tumour": 0.123}
    way = Ways(tumour, tumour, tumour, 0.9123, sizes, 1234, 0.1234, 0.1234)
    rule = f"weighted, without {NAMES[0]}"
    show_rules({rule: way})
    return [rule, "123/456", "12.34%"]


def audit_table():
    from train.pseudo_labels.audit.measure import CaseMeasures
    from train.pseudo_labels.audit.page import _show
    from train.pseudo_labels.audit.ranking import Ranked

    reasons = (LONG_REASON, "right adrenal gland: 12.3 ml, others at most 4.5")
    _show([Ranked(CaseMeasures(NAMES[0]), 12.34, reasons, ())], "second_student")
    return [NAMES[0], LONG_REASON]


def kept_table():
    from train.pseudo_labels.calibration.thresholds import Kept, show_kept

    show_kept({"voxels of components": {"0.95": {NAMES[0]: Kept(0.5, 0.9, 0.8, 0.95)}}})
    return ["voxels of components", "0.950"]


def calibration_table():
    from train.pseudo_labels.calibration.cross_validation import (
        Calibration,
        CaseCalibration,
        show_calibration,
    )
    from train.pseudo_labels.calibration.temperature import Reliability

    one = Reliability((), 0.1234, 1.2345)
    cases = {name: CaseCalibration(123_456_789, 1.23, one, one) for name in NAMES}
    show_calibration(Calibration(NAMES[0], {}, 1.5, one, one, cases))
    return [*NAMES, "123,456,789", "0.1234"]


def confidence_table():
    from train.pseudo_labels.calibration.confidence import Confidence, Sureness
    from train.pseudo_labels.calibration.confidence_command import show_confidence

    sure = Sureness("right adrenal gland", 123_456.7, 0.9, 0.8, 1.2, 0.9)
    show_confidence({NAMES[0]: Confidence([sure], [sure])})
    return ["right adrenal gland", "123,456.7"]


def parity_table():
    from train.export.parity import LogitAgreement, show_agreements

    show_agreements([LogitAgreement("onnxruntime", "1.20.1", "f32", True, 1e-6, 1e-3, 0.99999)])
    return ["onnxruntime", "tolerance"]


def package_table():
    from train.package.request import Package, Step
    from train.package.screen import show_steps

    step = Step("quantize", "not asked for", 12345.6, f"{LONG_REASON}; {PATH}")
    show_steps(Package(Path("team.tar.gz"), (step,)))
    return ["not asked for", "12345.6", LONG_REASON, PATH]


def benchmark_augmentation():
    from benchmarks.augmentation import FAMILIES, WHOLE, _show

    _show({name: {"dice": dict.fromkeys(ORGANS, 0.9), "mean": 0.9} for name in (WHOLE, *FAMILIES)})
    return ["right adrenal gland"]


PRINTED = (data_table, costs_table, ways_table, audit_table, kept_table, calibration_table,
           confidence_table, parity_table, package_table, benchmark_augmentation)  # fmt: skip


@pytest.mark.parametrize("show", PRINTED, ids=lambda show: show.__name__)
def test_a_table_of_the_training_fits(show, capsys, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    names = show()
    told = capsys.readouterr()
    printed(show, told.out + told.err, names)


def test_pages_repeat_the_first_column_and_keep_every_other():
    table = Table("case", title=Text("many"), caption="seen once")
    for number in range(12):
        table.add_column(f"figure {number}", justify="right")
    for name in NAMES:
        table.add_row(Text(name), *(f"{number}12345.6" for number in range(12)))
    console = Console(width=WIDTH)
    pages = fitted(table, console)
    assert len(pages) > 1
    heads = [[str(column.header).replace("\n", " ") for column in page.columns] for page in pages]
    assert all(head[0] == "case" for head in heads)
    assert [name for head in heads for name in head[1:]] == [f"figure {n}" for n in range(12)]
    assert [page.caption for page in pages] == [None] * (len(pages) - 1) + ["seen once"]
    assert str(pages[0].title) == f"many (1 of {len(pages)})"


def test_a_table_that_fits_is_left_as_it_is():
    table = Table("case", "figure")
    table.add_row("a", "1")
    assert fitted(table, Console(width=WIDTH)) == [table]


def test_two_cases_have_their_organs_across():
    cases = [CaseReport(name, "done", volumes_ml={"liver": 1.0, "tumour": 0.0}, empty=("tumour",))
             for name in ("a", "b")]  # fmt: skip
    described = type("Described", (), {"labels": {"liver": 1, "tumour": 2}})()
    table = volumes_table(RunReport("m", "0", {}, cases=cases), described)
    assert [column.header for column in table.columns] == [
        "case", "liver", "tumour", "removed by rules", "outside the region",
    ]  # fmt: skip
    assert [list(column.cells) for column in table.columns[1:3]] == [["1.0"] * 2, ["empty"] * 2]


def modules():
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")


def test_every_table_is_printed_by_show_table():
    """A module that makes a table prints it so; the display of a run lives, and fits by itself."""
    for path in modules():
        text = path.read_text(encoding="utf-8")
        names = {
            alias.name
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        if "Table" in names and path.name not in ("fitted_tables.py", "display.py"):
            assert "show_table" in names or path.name.endswith("_table.py"), path
        assert not re.search(r"\.print\(\w*table\w*[()]", text), f"{path}: use show_table"
