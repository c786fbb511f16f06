"""CSV files, whole or not at all."""

import pytest

from imaging.errors import KitError
from imaging.tables import write_csv


def test_a_table_is_written_with_its_head(tmp_path):
    write_csv(tmp_path / "t.csv", ["case", "ml"], [["a,b", 1.5], ["c", None]])
    assert (tmp_path / "t.csv").read_bytes() == b'case,ml\r\n"a,b",1.5\r\nc,\r\n'


def test_a_name_that_is_no_utf_8_is_written_with_a_backslash(tmp_path):
    write_csv(tmp_path / "t.csv", ["case"], [["a\udcff"]], line_end="\n")
    assert (tmp_path / "t.csv").read_bytes() == b"case\na\\udcff\n"


def test_a_table_that_ends_early_leaves_the_old_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("old")

    def rows():
        yield ["a"]
        raise KitError("no more")

    with pytest.raises(KitError, match="no more"):
        write_csv(path, ["case"], rows())
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]
