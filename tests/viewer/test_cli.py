import re

import numpy as np
import pytest
from click.testing import CliRunner

from imaging.volumes import read_volume
from tests.evaluation.maps import write_map
from tests.viewer.cases import SPACING_MM, write_case
from viewer.cli import main


def view(*words):
    return CliRunner().invoke(main, ["view", *map(str, words)])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two cases, one of them without a truth, and one whose map is missing."""
    root = tmp_path_factory.mktemp("cases")
    write_case(root, "a")
    write_case(root, "b & c", truth=False)
    write_case(root, "lost", truth=False)[1].unlink()
    return root


def test_files(root, tmp_path):
    page = tmp_path / "new" / "page.html"
    done = view(root / "a_0000.nii.gz", root / "pred/a.nii.gz", "-o", page)
    assert done.exit_code == 0, done.output
    assert re.search(r"page\.html: 1\.\d MB", done.output)
    assert '"maps":["prediction"]' in page.read_text("utf-8")


def test_files_with_a_truth(root, tmp_path):
    files = (root / "a_0000.nii.gz", root / "pred/a.nii.gz", "--truth", root / "truth/a.nii.gz")
    assert view(*files, "-o", tmp_path / "page.html").exit_code == 0
    assert '"maps":["prediction","truth"]' in (tmp_path / "page.html").read_text("utf-8")


def test_folders(root, tmp_path):
    done = view(root, root / "pred", "--truth", root / "truth", "-o", tmp_path / "pages")
    assert done.exit_code == 1
    assert "1 of 3 cases cannot be shown: lost: label map" in done.output
    assert re.search(r"b & c: .*truth/b & c\.nii\.gz is missing; shown without", done.output)
    names = sorted(path.name for path in (tmp_path / "pages").iterdir())
    assert names == ["a.html", "b & c.html", "index.html"]
    index = (tmp_path / "pages" / "index.html").read_text("utf-8")
    assert '<a href="a.html">a</a>' in index
    assert '<a href="b%20%26%20c.html">b &amp; c</a>' in index
    assert "<li>lost: label map" in index


def test_a_file_and_a_folder(root, tmp_path):
    truth = ("--truth", root / "truth")
    done = view(root / "a_0000.nii.gz", root / "pred/a.nii.gz", *truth, "-o", tmp_path / "a.html")
    assert done.exit_code == 1
    assert "give two files or two folders" in done.output
    assert list(tmp_path.iterdir()) == []


def test_one_of_several_cts(root, tmp_path):
    done = view(root, root / "pred/a.nii.gz", "-o", tmp_path / "page.html")
    assert done.exit_code == 1
    assert "holds 3 CTs (a, b & c, lost); give one of them" in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_is_a_folder(root, tmp_path):
    done = view(root / "a_0000.nii.gz", root / "pred/a.nii.gz", "-o", tmp_path)
    assert done.exit_code == 1
    assert "is a folder; name the page" in done.output


def test_a_ct_that_is_missing(root, tmp_path):
    done = view(tmp_path / "none.nii.gz", root / "pred/a.nii.gz", "-o", tmp_path / "page.html")
    assert done.exit_code == 1
    assert "none.nii.gz: there is no such file" in done.output
    assert "Traceback" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_limit_that_is_too_small(root, tmp_path):
    files = (root / "a_0000.nii.gz", root / "pred/a.nii.gz")
    assert view(*files, "-o", tmp_path / "page.html", "--most-mb", "1").exit_code == 2


def test_warnings_are_shown(root, tmp_path):
    hu = read_volume(root / "a_0000.nii.gz").hu
    write_map((hu + 1024).astype(np.int16), tmp_path / "a_0000.nii.gz", SPACING_MM)
    done = view(tmp_path / "a_0000.nii.gz", root / "pred/a.nii.gz", "-o", tmp_path / "page.html")
    assert done.exit_code == 0
    assert re.search(r"^a: .*HU", done.output, re.MULTILINE)
