"""What is a figure on a page, and whether it is a value rounded."""

import pytest

from evaluation.claims.pages import headings, stated_figures
from evaluation.claims.table import as_number, is_rounding, rounded

LISTED = ("1.91", "2.83", "1.5", "3.5", "21")


def figures(text, page="a.md"):
    return [(one.text, one.unit) for one in stated_figures(page, text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It takes 1.3 s and 564 MiB.", [("1.3", "s"), ("564", "MiB")]),
        ("CHAOS_3 has 0.961, an EPYC 94.6 %.", [("0.961", ""), ("94.6", "%")]),
        ("1.91 and 2.83 s; 1.5, 3.5 and 21 s", [(n, "s") for n in LISTED]),
        ("1.26 s (1.24–1.36 s)", [("1.26", "s"), ("1.24", "s"), ("1.36", "s")]),
        ("1,266 voxels differ, .72 before", [("1,266", "voxels"), (".72", "")]),
        ("0.604 ± 0.012", [("0.604", ""), ("0.012", "")]),
        ("with an error of 2.3e-14", [("2.3e-14", "")]),
        ("**9.5** s", [("9.5", "s")]),
        ("three\nlines with 12\nseconds", [("12", "s")]),
    ],
)  # fmt: skip
def test_what_is_a_figure(text, expected):
    assert figures(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "# 1.25 s in a heading",
        "512×512×78 voxels, 0.75 mm, 1.5 × 2.50 mm",
        "nnU-Net 2.8.1 on 2026-11-28, Python 3.11, arXiv 2310.01159",
        "`--time-limit 15 s` and [this](a/1.25.md)",
        "```sh\nsleep 3 s\n```",
        "two cores, step 0.5, 13 organs, label 14, 8-bit integers, FLARE23, CT2",
        "<!-- 1.25 s -->",
        "the code of 946e420 and 007ca3c, which are commits",
    ],
)
def test_what_is_none(text):
    assert figures(text) == []


TABLE = """
| case | DSC | seconds | peak MiB | remark |
| --- | --- | --- | --- | --- |
| one, 12 | 0.96 | 1.3 (1.2 to 1.4) | **564** | 3 cores, 7 s |
| | 5 | | not yet measured | |
"""


def test_the_figures_of_a_table():
    found = [(one.text, one.unit, one.where) for one in stated_figures("a.md", TABLE)]
    label = "one, 12 cores,  s"
    assert found == [
        ("0.96", "", f"{label} | DSC"),
        *((n, "s", f"{label} | seconds") for n in ("1.3", "1.2", "1.4")),
        ("564", "MiB", f"{label} | peak MiB"),
        ("7", "s", f"{label} | remark"),
        ("5", "", "one, 12 | DSC"),
    ]
    assert {one.line for one in stated_figures("a.md", TABLE)} == {4, 5}


@pytest.mark.parametrize(
    ("text", "value", "right"),
    [
        ("0.961", 0.96083, True),
        ("0.960", 0.96083, False),
        ("0.060", 0.059488, False),
        ("1,266", 1266.0, True),
        ("564", 564.5, True),
        ("564", 564.51, False),
        ("0.496", -0.4959, True),
        ("1.2e-05", 1.21e-05, True),
        ("1.2e-05", 1.4e-05, False),
    ],
)
def test_a_figure_is_its_value_rounded(text, value, right):
    assert is_rounding(text, value) is right


@pytest.mark.parametrize(
    ("value", "like", "text"),
    [(0.9514, "0.961", "0.951"), (1234.6, "1,266", "1,235"), (1234.6, "564", "1,235"),
     (1234.6, "1266", "1235"), (0.7, ".72", ".70"), (1.31e-5, "2.3e-14", "1.3e-05")],
)  # fmt: skip
def test_a_value_is_written_as_the_figure_was(value, like, text):
    assert rounded(value, like) == text
    assert as_number(text) == pytest.approx(value, rel=0.05)


def test_headings_are_not_comments_of_commands():
    assert headings("# One\n```sh\n# no heading\n```\n## Two") == {1: "# One", 5: "## Two"}
