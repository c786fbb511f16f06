"""The report's page: self-contained, the same for the same scores, and saying what they say."""

import base64
import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.profiles.profile import FLARE23
from evaluation.report import write_report
from evaluation.report.scene import Folders
from evaluation.scoring.folders import Scoring, score_folder
from evaluation.scoring.scores import CaseScores, LabelScore
from imaging.errors import KitError
from imaging.organs import ORGANS
from tests.evaluation.maps import write_map
from tests.evaluation.sample_report import write_case

SHAPE, SPACING_MM = (48, 60, 64), (6.0, 6.0, 6.0)
HOSTILE = '<img src="http://x/y"> & "\'</script><script>alert(1)</script>'
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Four abdomens: predicted perfectly, moved by a voxel, moved by two, and not at all."""
    root = tmp_path_factory.mktemp("report")
    folders = Folders(root / "truth", root / "pred", root / "images")
    for number in range(4):

        def pred(labels, number=number):
            return np.roll(labels, number, 1) if number < 3 else None

        write_case(folders, f"case_{number}", number, pred, SHAPE, SPACING_MM)
    return folders


@pytest.fixture(scope="module", params=["official", "fixed"])
def scores(request, folders):
    return score_folder(
        Scoring(folders.truth, folders.pred, request.param, team=HOSTILE, split="test")
    )


@pytest.fixture(scope="module")
def shown(scores, folders, tmp_path_factory):
    return page(scores, folders, tmp_path_factory.mktemp("page") / "r.html")


class Page(HTMLParser):
    """What a page refers to, its tables and words, and whether its tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.links, self.images, self.tags, self.tables, self.open = [], [], set(), [], []
        self.text, self.words, self.heads_without_scope = text, "", 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.add(tag)
        names = ("src", "href", "xlink:href", "action", "data", "srcset", "poster")
        self.links += [found[name] for name in names if name in found]
        self.heads_without_scope += tag == "th" and "scope" not in found
        if tag == "img":
            self.images.append(found)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words += data
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += f"{data} "

    def table(self, first_heads):
        """Return the rows, without the heads, of the table that begins with these heads."""
        for rows in self.tables:
            if [head.strip() for head in rows[0]][: len(first_heads)] == first_heads:
                return {row[0].strip(): [cell.split() for cell in row[1:]] for row in rows[1:]}
        raise AssertionError(f"no table of {first_heads}")


def page(scores, folders, path, **options):
    write_report(scores, path, folders.truth, folders.pred, folders.images, **options)
    found = Page(path.read_text("utf-8"))
    assert found.open == []
    return found


def rounded(value, digits):
    return "–" if value is None else f"{value:.{digits}f}"


class TestFile:
    def test_it_needs_nothing_from_outside(self, shown):
        assert all(link.startswith(("data:image/png;base64,", "#")) for link in shown.links)
        assert shown.tags.isdisjoint({"script", "link", "iframe", "object", "embed", "base"})
        style = re.findall(r"<style[^>]*>(.*?)</style>", shown.text, re.DOTALL)
        assert not re.search(r"@import|url\((?![\"']?#)", " ".join(style))
        assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in shown.text

    def test_the_same_scores_give_the_same_bytes_in_another_process(
        self, shown, scores, folders, tmp_path
    ):
        (tmp_path / "a.html").write_text(shown.text, "utf-8")
        scores.write(tmp_path / "scores.json")
        code = (
            "import sys; from pathlib import Path\n"
            "from evaluation.report import write_report\n"
            "from evaluation.scoring.scores import load_scores\n"
            "scores, path, *folders = map(Path, sys.argv[1:])\n"
            "write_report(load_scores(scores), path, *folders)"
        )
        where = (folders.truth, folders.pred, folders.images)
        subprocess.run(
            [sys.executable, "-c", code, tmp_path / "scores.json", tmp_path / "b.html", *where],
            cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"}, check=True, timeout=120,
        )  # fmt: skip
        assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()

    def test_a_page_that_cannot_be_written(self, scores, folders, tmp_path):
        with pytest.raises(KitError, match="cannot write"):
            page(scores, folders, tmp_path / "none" / "r.html", worst=0)

    def test_screen_readers_are_served(self, shown):
        assert '<html lang="en">' in shown.text
        assert "<title>Scores of " in shown.text
        assert shown.heads_without_scope == 0
        assert shown.images and all(image["alt"] for image in shown.images)


class TestFigures:
    def test_means(self, shown, scores):
        rows = shown.table(["organ", "cases", "DSC", "NSD", "tolerance mm"])
        assert list(rows) == [*ORGANS, "mean of 13 organs"]
        for organ, name in zip([*ORGANS, "organs"], rows, strict=True):
            dsc, nsd = (scores.means[metric][organ] for metric in ("dsc", "nsd"))
            cells = rows[name]
            assert cells[0] == [str(dsc.count)]
            for cell, mean in ((cells[1], dsc), (cells[2], nsd)):
                interval = [rounded(mean.low, 3), "to", rounded(mean.high, 3)]
                assert cell == [rounded(mean.value, 4), *(interval if mean.low is not None else [])]
            assert cells[3] == ([f"{FLARE23.tolerances_mm[organ]:g}"] if organ in ORGANS else [])
            if scores.rules == "fixed":
                assert cells[4][0] == rounded(scores.means["hd95_mm"][organ].value, 1)
                volume = scores.means["volume_error_ml"][organ].value
                assert cells[5][0] == f"{volume:+.1f}".replace("-", "−")

    def test_headline(self, shown, scores):
        cards = re.findall(r'class="card"><span>(.*?)</span><b>(.*?)</b>', shown.text)
        assert cards == [
            (f"{title}, {metric.upper()}", rounded(scores.means[metric][of].value, 4))
            for title, of in (("Organs", "organs"), ("Tumour", "tumour"))
            for metric in ("dsc", "nsd")
        ]
        for words in (HOSTILE, "split: test", f"rules: {scores.rules}", "kit 0."):
            assert words in shown.words

    def test_cases_worst_first_after_those_without_scores(self, shown, scores):
        rows = shown.table(["case", "organ DSC"])
        assert list(rows) == ["case_3", "case_2", "case_1", "case_0"]
        by_name = {case.case: case for case in scores.cases}
        for name, cells in rows.items():
            case = by_name[name]
            tumour = case.labels.get("tumour", LabelScore())
            wanted = (
                case.value("organs", "dsc"),
                case.value("organs", "nsd"),
                tumour.dsc,
                tumour.nsd,
            )
            assert [cell[-1] for cell in cells[:4]] == [rounded(value, 3) for value in wanted]
        assert " ".join(rows["case_3"][4]).endswith("case_3.nii.gz is missing; run predict first")
        assert rows["case_0"][4] == []

    @pytest.mark.parametrize("place", [0, 1])
    def test_every_label(self, shown, scores, place):
        metric = ("dsc", "nsd")[place]
        tables = [t for t in shown.tables if [c.strip() for c in t[0]] == ["case", *ORGANS]]
        assert len(tables) == 2
        rows = {row[0].strip(): [cell.split()[-1] for cell in row[1:]] for row in tables[place][1:]}
        for case in scores.cases:
            labels = [case.labels.get(organ, LabelScore()) for organ in ORGANS]
            assert rows[case.case] == [rounded(getattr(label, metric), 3) for label in labels]

    def test_the_lowest_of_a_column_is_marked_without_colour(self, shown, scores):
        marked = re.findall(r'<td class="lowest"[^>]*>([\d.]+)', shown.text)
        columns = [
            [case.value("organs", metric) for case in scores.cases] for metric in ("dsc", "nsd")
        ]
        columns += [
            [getattr(case.labels.get(organ), metric, None) for case in scores.cases]
            for metric in ("dsc", "nsd")
            for organ in ("tumour", *ORGANS)
        ]
        values = [[v for v in column if v is not None] for column in columns]
        lowest = [rounded(min(found), 3) for found in values if min(found) < 1]
        assert sorted(set(marked)) == sorted(set(lowest))
        assert len(marked) >= len(lowest)  # equal ones are all marked
        assert ".lowest::before" in shown.text

    def test_a_column_of_ones_has_no_lowest(self, scores, folders, tmp_path):
        perfect = replace(scores, cases=scores.cases[:1])
        assert '<td class="lowest"' not in page(perfect, folders, tmp_path / "r.html").text

    def test_lesions(self, shown, scores):
        if scores.rules == "official":
            assert "Tumours one by one" not in shown.words
            return
        rows = shown.table(["size", "true", "found"])
        assert list(rows) == [row.size for row in scores.detection]
        all_sizes = scores.detection[0]
        assert rows["all"] == [
            [str(all_sizes.true)], [str(all_sizes.found)], [f"{all_sizes.sensitivity:.0%}"],
            [str(all_sizes.predicted)], [str(all_sizes.confirmed)], [f"{all_sizes.precision:.0%}"],
            [str(all_sizes.matched)], [str(all_sizes.false)],
        ]  # fmt: skip
        for size, cells in shown.table(["size", "cases", "DSC", "NSD"]).items():
            mean = scores.strata[size]["dsc"]
            assert (cells[0], cells[1][0]) == ([str(mean.count)], rounded(mean.value, 3))


class TestNotes:
    def noted(self, scores, folders, tmp_path, case):
        found = page(replace(scores, cases=(case,)), folders, tmp_path / "r.html", worst=0)
        return found, " ".join(found.table(["case", "organ DSC"])[case.case][4])

    def test_errors_and_warnings_are_distinguished(self, scores, folders, tmp_path):
        case = replace(scores.cases[1], warning="something is odd")
        found, notes = self.noted(scores, folders, tmp_path, case)
        assert "something is odd" in notes
        assert "Scored, but with a warning: case_1" in found.words
        assert "Not scored" not in found.words
        found, notes = self.noted(scores, folders, tmp_path, CaseScores("b", error="broken"))
        assert notes == "broken"
        assert "Not scored: b" in found.words

    def test_values_that_are_no_overlap_are_explained(self, scores, folders, tmp_path):
        labels = {organ: LabelScore(0.9, 0.9) for organ in ORGANS}
        for organ in ("spleen", "gallbladder"):
            labels[organ] = LabelScore(0.0, 0.0, note="not predicted")
        labels["aorta"] = LabelScore(note="one slice only")
        case = CaseScores("a", labels, warning="aorta is one slice only")
        _, notes = self.noted(scores, folders, tmp_path, case)
        assert notes == "aorta is one slice only spleen, gallbladder: not predicted"
        labels = {organ: LabelScore(0.0, 0.0, note="no usable prediction") for organ in ORGANS}
        _, notes = self.noted(scores, folders, tmp_path, CaseScores("a", labels))
        assert notes == "all labels: no usable prediction"

    def test_what_others_wrote_stays_text(self, scores, folders, tmp_path):
        cases = (
            replace(scores.cases[1], case=HOSTILE, warning=HOSTILE),
            CaseScores(HOSTILE + "2", error=HOSTILE),
        )
        found = page(replace(scores, cases=cases, split=HOSTILE), folders, tmp_path / "r.html")
        assert found.words.count(HOSTILE) >= 8
        assert found.tags.isdisjoint({"script", "img"})  # its files are not there: no picture
        assert "No picture" in found.words


class TestWorst:
    def test_the_worst_come_first_and_perfect_ones_not_at_all(self, shown):
        named = [image["alt"].partition(":")[0] for image in shown.images]
        planes = ("axial", "coronal", "sagittal")
        assert named == [f"{case}, {plane}" for case in ("case_2", "case_1") for plane in planes]
        for image in shown.images:
            picture = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
            assert picture.size == (int(image["width"]), int(image["height"]))

    @pytest.mark.parametrize(("worst", "count"), [(0, 0), (1, 3)])
    def test_no_more_than_wanted(self, scores, folders, tmp_path, worst, count):
        found = page(scores, folders, tmp_path / "r.html", worst=worst)
        assert len(found.images) == count
        assert ("The worst cases" in found.words) == bool(worst)

    def test_without_cts(self, scores, folders, tmp_path):
        found = page(scores, replace(folders, images=None), tmp_path / "r.html", worst=1)
        assert "No CTs were given" in found.words
        assert len(found.images) == 3

    def test_a_ct_that_is_missing_is_reported(self, scores, folders, tmp_path):
        found = page(scores, replace(folders, images=tmp_path), tmp_path / "r.html", worst=1)
        assert "Without the CT: case_2_0000.nii.gz: there is no such file" in found.words
        assert len(found.images) == 3

    def test_files_that_are_gone_are_reported(self, scores, folders, tmp_path):
        found = page(scores, replace(folders, pred=tmp_path), tmp_path / "r.html")
        assert found.words.count("No picture: label map") == 2
        assert not found.images

    @pytest.mark.parametrize("rules", ["official", "fixed"])
    def test_a_prediction_of_another_shape_that_counts_zero(self, folders, tmp_path, rules):
        truth = np.zeros((8, 9, 10), np.uint8)
        truth[2:6, 2:6, 2:6] = 1
        write_map(truth, tmp_path / "truth" / "a.nii.gz")
        write_map(truth[1:], tmp_path / "pred" / "a.nii.gz")
        where = Folders(tmp_path / "truth", tmp_path / "pred", None)
        found = page(
            score_folder(Scoring(where.truth, where.pred, rules, missing="zero")),
            where, tmp_path / "r.html",
        )  # fmt: skip
        assert "A case without a usable prediction counts 0." in found.words
        assert "No picture: a.nii.gz: the map has 10×9×7 voxels, not 10×9×8" in found.words
        assert " ".join(found.table(["case", "organ DSC"])["a"][4]).count("counts 0") == 1


class TestViewer:
    def test_each_of_the_worst_cases_has_a_page(self, scores, folders, tmp_path):
        found = page(scores, folders, tmp_path / "r.html", view=True)
        links = [link for link in found.links if not link.startswith(("data:", "#"))]
        assert links == ["view/case_2.html", "view/case_1.html"]
        for link in links:
            text = (tmp_path / link).read_text("utf-8")
            assert '"maps":["prediction","truth"]' in text
            assert len(text) <= 3_000_000

    def test_only_as_many_as_are_drawn_and_where_there_are_cts(self, scores, folders, tmp_path):
        page(scores, folders, tmp_path / "r.html", view=True, worst=1)
        assert [path.name for path in (tmp_path / "view").iterdir()] == ["case_2.html"]
        (tmp_path / "without").mkdir()
        page(scores, replace(folders, images=None), tmp_path / "without" / "r.html", view=True)
        assert [path.name for path in (tmp_path / "without").iterdir()] == ["r.html"]

    def test_why_there_is_none(self, scores, folders, tmp_path):
        where = replace(folders, images=tmp_path)
        found = page(scores, where, tmp_path / "r.html", view=True, worst=1)
        assert "No page in the viewer: case_2_0000.nii.gz: there is no such file" in found.words
        assert len(found.images) == 3


@pytest.mark.parametrize("rules", ["official", "fixed"])
class TestFewCases:
    def test_one(self, folders, tmp_path, rules):
        only = Folders(tmp_path / "truth", folders.pred, folders.images)
        only.truth.mkdir()
        (only.truth / "case_1.nii.gz").symlink_to(folders.truth / "case_1.nii.gz")
        scores = score_folder(Scoring(only.truth, only.pred, rules))
        found = page(scores, only, tmp_path / "r.html")
        assert list(found.table(["case", "organ DSC"])) == ["case_1"]
        assert len(found.images) == 3
        assert "1 case</span>" in found.text

    def test_none_of_them_scored(self, folders, tmp_path, rules):
        where = replace(folders, pred=tmp_path / "pred")
        where.pred.mkdir()
        scores = score_folder(Scoring(where.truth, where.pred, rules))
        found = page(scores, where, tmp_path / "r.html")
        rows = found.table(["case", "organ DSC"])
        assert all(cells[:4] == [["–"]] * 4 for cells in rows.values())
        assert all("is missing" in " ".join(cells[4]) for cells in rows.values())
        assert "The worst cases" not in found.words
        assert found.table(["organ", "cases"])["liver"][:3] == [["0"], ["–"], ["–"]]
