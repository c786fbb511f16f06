"""A file appears whole or not at all."""

import pytest

from imaging.errors import KitError
from imaging.files import replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_block_that_succeeds_leaves_the_file(tmp_path):
    with replacing(tmp_path / "a.txt") as partial:
        partial.write_text("new")
        assert names(tmp_path) == [partial.name]
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_ctrl_c_leaves_no_half_of_a_file(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_missing_folder_is_a_kit_error(tmp_path):
    target = tmp_path / "none" / "a.txt"
    message = "cannot write .*a.txt: No such file or directory"
    with pytest.raises(KitError, match=message), replacing(target) as partial:
        partial.write_text("new")


def test_a_folder_in_the_way_is_a_kit_error(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(KitError, match="cannot write"), replacing(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_a_kit_error(tmp_path):
    with pytest.raises(KitError, match="No space left"), replacing(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []
