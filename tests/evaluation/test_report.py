import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from evaluation.report import write_report
from evaluation.report.pictures import Folders, picture, worst_organs
from evaluation.scores import CaseScores, LabelScore
from evaluation.scoring import Scoring, score_folder
from inference.errors import KitError
from inference.organs import ORGANS
from inference.phantom import phantom
from tests.evaluation.maps import write_map

SPACING_MM = (6.0, 6.0, 6.0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three abdomens: one predicted perfectly, one shifted, one without a prediction."""
    root = tmp_path_factory.mktemp("report")
    for number in range(3):
        hu, truth = phantom(number, (48, 60, 64), SPACING_MM)
        name = f"case_{number}"
        write_map(hu, root / "images" / f"{name}_0000.nii.gz", SPACING_MM)
        write_map(truth, root / "truth" / f"{name}.nii.gz", SPACING_MM)
        if number < 2:
            pred = np.roll(truth, number, 1)
            write_map(pred, root / "pred" / f"{name}.nii.gz", SPACING_MM)
    return Folders(root / "truth", root / "pred", root / "images")


@pytest.fixture(scope="module")
def scores(folders):
    return {
        rules: score_folder(Scoring(folders.truth, folders.pred, rules, team="us & <them>"))
        for rules in ("official", "fixed")
    }


def page(scores, folders, path, images=True, **options):
    images = folders.images if images else None
    write_report(scores, path, folders.truth, folders.pred, images, **options)
    return path.read_text("utf-8")


class _Page(HTMLParser):
    """What a page refers to, its text, and whether its tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.links, self.images, self.words, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links += [
            found[key] for key in ("src", "href", "xlink:href", "action") if key in found
        ]
        if tag == "img":
            self.images.append(found)
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("rules", ["official", "fixed"])
class TestPage:
    def test_it_needs_nothing_from_outside(self, scores, folders, tmp_path, rules):
        text = page(scores[rules], folders, tmp_path / "r.html")
        found = _Page(text)
        assert found.open == []
        assert all(link.startswith(("data:image/png;base64,", "#")) for link in found.links)
        assert "<script" not in text
        assert not re.search(r"url\((?!#)", text)

    def test_the_same_scores_give_the_same_bytes(self, scores, folders, tmp_path, rules):
        first = page(scores[rules], folders, tmp_path / "a.html")
        assert page(scores[rules], folders, tmp_path / "b.html") == first

    def test_it_says_the_figures(self, scores, folders, tmp_path, rules):
        words = " ".join(_Page(page(scores[rules], folders, tmp_path / "r.html")).words)
        for metric in ("dsc", "nsd"):
            for organ in (*ORGANS, "organs"):
                assert f"{scores[rules].means[metric][organ].value:.4f}" in words
        assert ("HD95" in words) == (rules == "fixed")
        assert "▼" in page(scores[rules], folders, tmp_path / "r.html")

    def test_names_are_escaped_and_reasons_said(self, scores, folders, tmp_path, rules):
        text = page(scores[rules], folders, tmp_path / "r.html")
        assert "us &amp; &lt;them&gt;" in text
        assert "<them>" not in text
        assert "case_2.nii.gz is missing" in text

    def test_worst_case_comes_first_and_perfect_ones_are_not_shown(
        self, scores, folders, tmp_path, rules
    ):
        (image,) = _Page(page(scores[rules], folders, tmp_path / "r.html")).images
        assert image["alt"].startswith("Contours of truth and prediction of case_1")
        drawn = Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2])))
        assert drawn.width > 900

    def test_nobody_asked_for_pictures(self, scores, folders, tmp_path, rules):
        assert not _Page(page(scores[rules], folders, tmp_path / "r.html", worst=0)).images

    def test_without_cts(self, scores, folders, tmp_path, rules):
        text = page(scores[rules], folders, tmp_path / "r.html", images=False)
        assert "no CTs were given" in text
        assert len(_Page(text).images) == 1

    def test_a_ct_that_is_missing_is_said(self, scores, folders, tmp_path, rules):
        elsewhere = replace(folders, images=tmp_path)
        text = page(scores[rules], elsewhere, tmp_path / "r.html")
        assert "No picture: case_1_0000.nii.gz: cannot be read" in text

    def test_no_case_at_all_was_scored(self, scores, folders, tmp_path, rules):
        failed = tuple(CaseScores(case.case, error="broken") for case in scores[rules].cases)
        means = {
            metric: {
                organ: replace(mean, value=None, count=0, low=None, high=None)
                for organ, mean in row.items()
            }
            for metric, row in scores[rules].means.items()
        }
        text = page(replace(scores[rules], cases=failed, means=means), folders, tmp_path / "r.html")
        assert "The worst cases" not in text
        assert "–" in text


def test_lesions_are_shown_where_there_are_any(scores, folders, tmp_path):
    text = page(scores["fixed"], folders, tmp_path / "r.html")
    assert "Tumours one by one" in text
    assert "Tumours one by one" not in page(scores["official"], folders, tmp_path / "r.html")


def test_a_page_that_cannot_be_written(scores, folders, tmp_path):
    with pytest.raises(KitError, match="cannot write"):
        page(scores["fixed"], folders, tmp_path / "none" / "r.html")


class TestPictures:
    def test_worst_organs(self):
        labels = {
            "liver": LabelScore(0.5),
            "spleen": LabelScore(1.0),
            "aorta": LabelScore(0.2),
            "stomach": LabelScore(None),
            "pancreas": LabelScore(0.9),
            "duodenum": LabelScore(0.8),
        }
        assert worst_organs(CaseScores("a", labels)) == ["aorta", "liver", "duodenum"]
        assert worst_organs(CaseScores("a", {"liver": LabelScore(1.0)})) == []

    def test_both_outlines_are_there(self, folders, scores):
        case = scores["fixed"].cases[1]
        drawn = np.asarray(Image.open(io.BytesIO(picture(case, ["liver"], folders))).convert("RGB"))
        orange = (drawn[..., 0] > 200) & (abs(drawn[..., 1].astype(int) - 176) < 30)
        orange &= drawn[..., 2] < 60
        assert np.count_nonzero(orange) > 100

    def test_a_stored_flip_is_drawn_as_the_patient_lies(self, folders, scores, tmp_path):
        """The same patient stored with both in-plane axes reversed gives the same picture."""
        case = scores["fixed"].cases[1]
        flipped = Folders(tmp_path / "t", tmp_path / "p", tmp_path / "i")
        for source, target, suffix in zip(
            (folders.truth, folders.pred, folders.images),
            (flipped.truth, flipped.pred, flipped.images),
            (".nii.gz", ".nii.gz", "_0000.nii.gz"),
            strict=True,
        ):
            import SimpleITK as sitk

            array = sitk.GetArrayFromImage(sitk.ReadImage(str(source / f"case_1{suffix}")))
            write_map(
                np.ascontiguousarray(array[:, ::-1, ::-1]),
                target / f"case_1{suffix}",
                SPACING_MM,
                direction=(-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0),
            )
        assert picture(case, ["liver"], flipped) == picture(case, ["liver"], folders)
