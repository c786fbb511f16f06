"""What a system holds: read from a small one made in the test, checked by CycloneDX's validator."""

import gzip
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from imaging.errors import KitError
from train.inventory.python_packages import interpreter
from train.inventory.writing import System, write_inventory

ROOT = Path(__file__).parents[3]
EPOCH_S = 1_000_000_000
DPKG = """\
Package: libssl3
Status: install ok installed
Architecture: amd64
Version: 3.0.17-1~deb12u2

Package: adduser
Status: install ok installed
Architecture: all
Version: 1:3.134+b1
Description: a line
 Version: of the text

Package: removed
Status: deinstall ok config-files
Architecture: all
Version: 1
"""
FORMAT = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
FILES = {
    "etc/os-release": 'PRETTY_NAME="Debian"\nID=debian\nVERSION_ID="12"\n',
    "var/lib/dpkg/status": DPKG,
    "usr/share/doc/libssl3/copyright": f"{FORMAT}\nFiles: *\nLicense: Apache-2.0\n text\n\n"
    "Files: a\nLicense: GPL-2+\n text\n\nLicense: Apache-2.0\n text\n",
    "usr/share/doc/adduser/copyright": "It may be copied.\nLicense: of the old kind\n",
    "usr/share/common-licenses/GPL-2": "the text of GPL-2",
    "site/Made_Up-1.5+cpu.dist-info/METADATA": "Metadata-Version: 2.4\nName: Made_Up\n"
    "Version: 1.5+cpu\nLicense-Expression: MIT AND BSD-3-Clause\n",
    "site/Made_Up-1.5+cpu.dist-info/RECORD": "made_up/__init__.py,,\nmade_up/tests/gone.py,,\n"
    "Made_Up-1.5+cpu.dist-info/licenses/LICENSE,,\nMade_Up-1.5+cpu.dist-info/RECORD,,\n"
    "made_up.libs/libmade.so.1,,\nmade_up/licenses.py,,\nmade_up/third-party-programs.txt,,\n",
    "site/Made_Up-1.5+cpu.dist-info/licenses/LICENSE": "do as you like\n",
    "site/made_up/__init__.py": "",
    "site/made_up/licenses.py": "no text",
    "site/made_up/third-party-programs.txt": "do as you like",
    "site/made_up.libs/libmade.so.1": "a library",
    "site/older-2.dist-info/METADATA": "Metadata-Version: 2.1\nName: older\nVersion: 2\n"
    "License: a long text\n        of several lines\n"
    "Classifier: License :: OSI Approved :: Apache Software License\n",
    "site/named-3.dist-info/METADATA": "Metadata-Version: 2.1\nName: named\nVersion: 3\n"
    "License: ISC\n",
    "workspace/LICENSE": "the kit's licence",
    "workspace/weights_manifest.json": '{"name": "tiny", "provenance": {"license": "CC BY 4.0"}}',
    "workspace/weights/tiny.onnx": "weights",
}


@pytest.fixture
def system(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    root = tmp_path / "root"
    return System(root, root / "workspace", root / "site", root / "usr/lib/python3.11")


def listed(system, folder, epoch_s=EPOCH_S):
    write_inventory(system, folder, "1.2.3", "0123abcd", epoch_s)
    return json.loads((folder / "sbom.cdx.json").read_text(encoding="utf-8"))


def by_name(table):
    return {row["name"]: row for row in table["components"]}


def digest(text):
    return [{"alg": "SHA-256", "content": hashlib.sha256(text.encode()).hexdigest()}]


@pytest.mark.parametrize("epoch_s", [EPOCH_S, None])
def test_the_formats_own_validator_finds_nothing(system, tmp_path, epoch_s):
    listed(system, tmp_path / "out", epoch_s)
    text = (tmp_path / "out" / "sbom.cdx.json").read_text(encoding="utf-8")
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    spoilt = text.replace('"library"', '"a library"')
    assert validator.validate_str(spoilt) is not None  # it can fail


def test_every_component_of_the_system_and_no_other(system, tmp_path):
    table = listed(system, tmp_path / "out")
    assert [row["name"] for row in table["components"]] == [
        *("flare23-kit", "weights_manifest.json", "tiny.onnx"),
        *("made-up", "named", "older", "adduser", "libssl3"),
    ]
    assert table["metadata"]["timestamp"] == "2001-09-09T01:46:40Z"
    assert table["metadata"]["component"] == {
        "type": "container",
        "bom-ref": "image",
        "name": "flare23-kit image",
        "version": "1.2.3",
        "properties": [{"name": "flare23:revision", "value": "0123abcd"}],
    }


def test_debians_packages(system, tmp_path):
    rows = by_name(listed(system, tmp_path / "out"))
    names = [row["license"]["name"] for row in rows["libssl3"]["licenses"]]
    assert names == ["Apache-2.0", "GPL-2+"]
    assert "licenses" not in rows["adduser"]  # its file is not in the format that can be read
    assert rows["adduser"]["version"] == "1:3.134+b1"
    for name in ("adduser", "libssl3"):
        purl = PackageURL.from_string(rows[name]["purl"])
        assert (purl.type, purl.namespace, purl.name) == ("deb", "debian", name)
        assert purl.version == rows[name]["version"]
        assert purl.qualifiers["distro"] == "debian-12"


def test_pythons_packages_and_the_libraries_inside_them(system, tmp_path):
    rows = by_name(listed(system, tmp_path / "out"))
    assert rows["made-up"]["licenses"] == [{"expression": "MIT AND BSD-3-Clause"}]
    assert rows["older"]["licenses"] == [{"license": {"name": "Apache Software License"}}]
    assert rows["named"]["licenses"] == [{"license": {"name": "ISC"}}]
    assert PackageURL.from_string(rows["made-up"]["purl"]).version == "1.5+cpu"
    [part] = rows["made-up"]["components"]
    assert (part["name"], part["hashes"]) == ("libmade.so.1", digest("a library"))
    assert part["properties"] == [
        {"name": "flare23:path", "value": "site/made_up.libs/libmade.so.1"}
    ]


def test_the_weights_have_a_digest_and_what_is_said_of_their_licence(system, tmp_path):
    rows = by_name(listed(system, tmp_path / "out"))
    assert rows["tiny.onnx"] == {
        "type": "machine-learning-model",
        "bom-ref": "workspace/weights/tiny.onnx",
        "name": "tiny.onnx",
        "hashes": digest("weights"),
        "licenses": [{"license": {"name": "CC BY 4.0"}}],
        "properties": [{"name": "flare23:path", "value": "workspace/weights/tiny.onnx"}],
    }


def test_the_licences_are_one_file_with_every_text_once(system, tmp_path):
    listed(system, tmp_path / "out")
    text = gzip.decompress((tmp_path / "out" / "licences.txt.gz").read_bytes()).decode()
    titles = [part.strip().splitlines()[0] for part in text.split("=" * 80)[1:]]
    assert titles == [
        *("flare23-kit 1.2.3", "weights_manifest.json", "tiny.onnx"),
        *("made-up 1.5+cpu", "named 3", "older 2", "adduser 1:3.134+b1"),
        *("libssl3 3.0.17-1~deb12u2", "Texts that those above refer to"),
    ]
    assert text.count("do as you like") == 1
    first = "/site/Made_Up-1.5+cpu.dist-info/licenses/LICENSE"
    assert f"--- /site/made_up/third-party-programs.txt: the text of {first}" in text
    assert "named 3\nlicence: ISC\n\nNo text of a licence comes with it.\n" in text
    assert "no text" not in text
    assert text.endswith("--- /usr/share/common-licenses/GPL-2\n\nthe text of GPL-2\n")


def test_the_same_system_gives_the_same_bytes(system, tmp_path):
    listed(system, tmp_path / "one")
    listed(system, tmp_path / "two")
    for name in ("sbom.cdx.json", "licences.txt.gz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    (system.workspace / "weights/tiny.onnx").write_text("Weights")
    one, two = (listed(system, tmp_path / name) for name in ("three", "four"))
    assert one == two
    before = json.loads((tmp_path / "one" / "sbom.cdx.json").read_text())
    assert one["serialNumber"] != before["serialNumber"]


def test_python_itself_where_it_is_no_package_of_debians(tmp_path):
    stdlib = tmp_path / "usr/local/lib/python3.11"
    stdlib.mkdir(parents=True)
    (stdlib / "LICENSE.txt").write_text("its licence")
    [python] = interpreter(stdlib, tmp_path)
    assert python.purl.startswith("pkg:generic/python@3.")
    assert python.texts == (stdlib / "LICENSE.txt",)
    assert interpreter(tmp_path / "usr/lib/python3.11", tmp_path) == ()


def test_a_manifest_that_is_not_there(system, tmp_path):
    (system.workspace / "weights_manifest.json").unlink()
    with pytest.raises(KitError, match="cannot read manifest"):
        listed(system, tmp_path / "out")


def test_the_command_that_the_dockerfile_calls(tmp_path):
    words = ["-m", "train.inventory", ROOT, tmp_path, "--version", "1", "--epoch", ""]
    subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, check=True)
    table = json.loads((tmp_path / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert "timestamp" not in table["metadata"]
    assert {"click", "numpy", "flare23_default.onnx"} <= by_name(table).keys()
