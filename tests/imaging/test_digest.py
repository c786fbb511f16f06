"""The SHA-256 of FIPS 180-2's own examples."""

import io

import pytest

from imaging.digest import file_sha256, sha256
from imaging.errors import KitError

OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_of_bytes_and_of_a_stream():
    assert sha256(b"") == OF_NOTHING
    assert sha256(b"abc") == OF_ABC
    assert sha256(io.BytesIO(b"abc")) == OF_ABC


def test_of_a_file(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert file_sha256(path) == OF_ABC


def test_of_more_than_fits_a_buffer(tmp_path):
    path = tmp_path / "much"
    path.write_bytes(b"a" * 1_000_000)
    assert file_sha256(path) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def test_one_line_says_which_file_cannot_be_read(tmp_path):
    with pytest.raises(KitError, match=r"cannot read .*gone: No such file"):
        file_sha256(tmp_path / "gone")
    with pytest.raises(KitError, match="Is a directory"):
        file_sha256(tmp_path)
