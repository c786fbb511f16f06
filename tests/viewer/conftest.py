"""A generated case and its page, one a module."""

import pytest

from tests.viewer.cases import write_case
from viewer.case import read_viewed
from viewer.page import write_page


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def page(paths):
    path = paths[0].parent / "page.html"
    write_page(read_viewed(*paths), path)
    return path
