"""The tables of reported figures, and what their loader refuses."""

from decimal import Decimal

import pytest

from evaluation.comparison.reported import (
    METRICS,
    SPLITS,
    UNSPECIFIED,
    find_reported,
    load_reported,
    reported_names,
)
from imaging.errors import KitError
from imaging.organs import ORGANS, TUMOUR

GOOD = """
team = "us"
title = "How we did it"
reference = "arXiv 1"
[[results]]
split = "test"
source = "table 1"
verified = true
[results.dsc_percent]
organs = 90.50
"""


def read(tmp_path, text):
    path = tmp_path / "us.toml"
    path.write_text(text)
    return load_reported(path)


def test_a_table_is_read_with_its_digits(tmp_path):
    table = read(tmp_path, GOOD)
    [result] = table.results
    assert (table.name, table.team, result.split, result.verified) == ("us", "us", "test", True)
    assert str(result.figures["dsc_percent"]["organs"]) == "90.50"


BROKEN = {
    "not TOML": (GOOD + "= 1", "is not TOML"),
    "misspelt key of the team": (
        GOOD.replace("title", "titel"),
        "key: title, found 'titel'",
    ),
    "no results": (GOOD[: GOOD.index("[[")], "missing key: results"),
    "results that are none": (GOOD[: GOOD.index("[[")] + "results = []", "at least one"),
    "results of another kind": (
        GOOD[: GOOD.index("[[")] + "results = [1]",
        "results[0]: expected object, found 1",
    ),
    "misspelt key of a result": (
        GOOD.replace("verified", "verifed"),
        "[0]: missing key: verified",
    ),
    "no split": (GOOD.replace('split = "test"\n', ""), "missing key: split"),
    "no source": (GOOD.replace('source = "table 1"\n', ""), "missing key: source"),
    "empty source": (
        GOOD.replace('"table 1"', '""'),
        "source: expected str of length >= 1",
    ),
    "unknown split": (GOOD.replace('"test"', '"tests"'), "split: 'tests' is none of"),
    "verified as text": (
        GOOD.replace("true", '"true"'),
        "[0].verified: expected bool, found",
    ),
    "verified without a split": (GOOD.replace('"test"', '"unspecified"'), "verified: a figure"),
    "misspelt metric": (GOOD.replace("dsc_percent", "dsc"), "results[0]: unknown keys: dsc"),
    "no metric": (GOOD[: GOOD.index("[results.")], "no figures; give at least one of"),
    "empty metric": (GOOD.replace("organs = 90.50\n", ""), "dsc_percent: no figures"),
    "misspelt organ": (GOOD.replace("organs", "organ"), "dsc_percent.organ: none of"),
    "a fraction": (GOOD.replace("90.50", "0.905"), "0.905 is no percentage"),
    "more than all": (GOOD.replace("90.50", "100.1"), "100.1 is no percentage"),
    "a negative figure": (GOOD.replace("90.50", "-1"), "expected a number of %, found -1"),
    "NaN": (GOOD.replace("90.50", "nan"), "expected a number of %"),
    "a figure as text": (
        GOOD.replace("90.50", '"90"'),
        "organs: expected int | decimal, found",
    ),
    "a figure as truth": (
        GOOD.replace("90.50", "true"),
        "[0].dsc_percent.organs: expected int",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_not_exact_is_an_error(case, tmp_path):
    text, message = BROKEN[case]
    with pytest.raises(KitError) as error:
        read(tmp_path, text)
    assert message in str(error.value)
    assert str(tmp_path / "us.toml") in str(error.value)


def test_a_missing_file_and_an_unknown_name_are_errors(tmp_path):
    with pytest.raises(KitError, match=r"cannot read table of figures .*none\.toml: No such file"):
        find_reported(str(tmp_path / "none.toml"))
    with pytest.raises(KitError, match=r"no reported figures 'usst'; give one of aladdin5, .* ust"):
        find_reported("usst")


def test_a_table_of_ones_own_is_found_by_its_path(tmp_path):
    (tmp_path / "us.toml").write_text(GOOD)
    assert find_reported(str(tmp_path / "us.toml")).team == "us"


def test_the_kit_has_the_tables_that_it_names():
    assert reported_names() == [
        "aladdin5", "blackbean", "lyy1", "omnilesion", "panther", "stmt", "ust",
        "voxelintelligence", "winner",
    ]  # fmt: skip


@pytest.mark.parametrize("name", reported_names())
def test_every_figure_has_a_split_a_unit_and_a_source(name):
    table = find_reported(name)
    assert table.reference
    for result in table.results:
        assert result.split in SPLITS
        assert len(result.source) > 10
        assert result.verified == (result.split != UNSPECIFIED)
        assert all(METRICS[metric].unit for metric in result.figures)


def figures(name, split, metric):
    """Every figure of a split in the table's order."""
    results = [r for r in find_reported(name).results if r.split == split]
    return [r.figures[metric] for r in results if metric in r.figures]


def test_the_papers_two_pairs_are_kept_apart():
    [first] = figures("ust", "online validation", "dsc_percent")
    [second] = figures("ust", UNSPECIFIED, "dsc_percent")
    assert first == {"organs": Decimal("89.63"), "tumour": Decimal("46.07")}
    assert second == {"organs": Decimal("90.07"), "tumour": Decimal("37.85")}


@pytest.mark.parametrize(
    ("split", "metric", "mean"),
    [
        # 97.23 + 95.10 + 97.91 + 90.74 + 97.76 + 92.96 + 87.52 + 89.40 + 83.96 + 89.55 + 94.99
        # + 88.01 + 94.32 = 1199.45; / 13 = 92.265
        ("test", "dsc_percent", "92.27"),
        # 98.13 + 95.15 + 99.07 + 97.11 + 99.75 + 93.86 + 96.27 + 96.67 + 86.24 + 97.24 + 97.38
        # + 96.11 + 94.86 = 1247.84; / 13 = 95.988
        ("test", "nsd_percent", "95.99"),
        # 98.40 + 95.07 + 98.24 + 87.93 + 97.35 + 93.30 + 89.98 + 89.03 + 85.80 + 84.74 + 94.36
        # + 83.76 + 95.61 = 1193.57; / 13 = 91.813
        ("public validation", "dsc_percent", "91.81"),
    ],
)
def test_aladdin5s_organs_have_the_mean_that_the_table_says(split, metric, mean):
    by_organ = figures("aladdin5", split, metric)[0]
    organs = [by_organ[organ] for organ in ORGANS if organ != TUMOUR]
    assert round(sum(organs) / 13, 2) == Decimal(mean)
    assert Decimal(mean) in [table["organs"] for table in figures("aladdin5", split, metric)]


def test_blackbeans_stages_add_up_to_their_totals():
    # 1.83 + 0.96 + 1.65 + 0.73 + 7.67 + 13.4 + 54 + 0.58 + 7.6 + 0.1 + 4.0 = 92.52, and after the
    # changes 1.83 + 0.96 + 1.65 + 0 + 0.02 + 2.0 + 0.06 + 0 + 1.3 + 0.1 + 4.0 = 11.92
    totals = [dict(stages) for stages in figures("blackbean", UNSPECIFIED, "stage_seconds")]
    printed = [stages.pop("total") for stages in totals]
    assert printed == [sum(stages.values()) for stages in totals]
    assert printed == [Decimal("92.52"), Decimal("11.92")]
