"""NiiVue is the file that npm has, and its licences are beside it."""

import base64
import gzip
import hashlib
import re

import pytest

import viewer.library
from imaging.errors import KitError
from viewer.library import FOLDER, licences, packed_library, version


def test_the_script_is_the_pinned_one():
    script = gzip.decompress(packed_library())
    assert hashlib.sha256(script).hexdigest() == version()["sha256"]
    assert version()["sha256"].startswith("47b896b77ec4a5be")
    assert len(script) == 2_284_381


def test_the_package_is_named_with_the_digest_that_npm_gives():
    found = version()
    assert (found["package"], found["version"]) == ("@niivue/niivue", "0.69.0")
    assert found["tarball"].endswith(f"/niivue-{found['version']}.tgz")
    kind, _, digest = found["integrity"].partition("-")
    assert (kind, len(base64.b64decode(digest))) == ("sha512", 64)


def test_the_script_cannot_end_the_element_that_it_is_run_in():
    assert b"</script" not in gzip.decompress(packed_library()).lower()


def test_the_licences_are_those_of_all_that_the_build_contains():
    text = licences()
    assert text.startswith("NiiVue 0.69.0")
    assert "Copyright (c) 2021, Niivue" in text
    assert re.findall(r"^-{80}\n\n(\S+) [\d.]+$", text, re.MULTILINE) == [
        "gl-matrix", "@lukeed/uuid", "array-equal", "fflate", "nifti-reader-js", "zarrita",
        "@zarrita/storage", "numcodecs", "@ungap/structured-clone",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"alert(1)", mtime=0), "sha256 .*, version.json says 47b896b7"),
        (b"no gzip", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_another_script_is_refused(content, message, tmp_path, monkeypatch):
    (tmp_path / "version.json").write_bytes((FOLDER / "version.json").read_bytes())
    if content is not None:
        (tmp_path / "niivue.umd.js.gz").write_bytes(content)
    monkeypatch.setattr(viewer.library, "FOLDER", tmp_path)
    with pytest.raises(KitError, match=f"{message}.*install the kit again"):
        packed_library()
