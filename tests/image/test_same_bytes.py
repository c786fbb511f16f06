"""The archive's bytes, and what it says that it holds, on a real Docker engine."""

import gzip
import json
import subprocess
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from evaluation.submission.archive import MANIFEST, SBOM, check_inventory
from evaluation.submission.contents import read_contents
from imaging.digest import file_sha256

ROOT = Path(__file__).parents[2]
WEIGHTS = "weights/flare23_default.onnx"
LICENCES = "workspace/licences.txt.gz"

pytestmark = pytest.mark.docker


@pytest.mark.slow
def test_two_bases_made_anew_give_the_same_bytes(archive, archive_again):
    told = check_inventory(archive_again, archive)
    assert {rule: it.status for rule, it in told.items()} == dict.fromkeys(told, "passed"), told
    assert file_sha256(archive_again) == file_sha256(archive)


def test_one_byte_of_the_weights_is_another_archive(archive, tmp_path):
    content = bytearray((ROOT / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (tmp_path / "weights").write_bytes(content)
    (tmp_path / "Dockerfile").write_text(f"FROM flare23kit:latest\nCOPY weights {WEIGHTS}\n")
    changed = tmp_path / "changedkit.tar.gz"
    try:
        build = ["docker", "build", "-t", "changedkit:latest", tmp_path]
        subprocess.run(build, check=True, capture_output=True)
        with changed.open("wb") as stream:
            subprocess.run(["docker", "save", "changedkit:latest"], stdout=stream, check=True)
    finally:
        subprocess.run(["docker", "rmi", "-f", "changedkit:latest"], capture_output=True)
    told = check_inventory(changed, archive)
    assert {rule: it.status for rule, it in told.items()} == dict.fromkeys(told, "failed")
    for it in told.values():
        assert f"/workspace/{WEIGHTS}" in it.reason
    assert told["same"].reason == (
        f"1 difference from flare23kit.tar.gz: /workspace/{WEIGHTS} differs"
    )


def test_what_it_lists_is_valid_and_beside_it(archive):
    contents = read_contents(archive, (SBOM, LICENCES, MANIFEST))
    text = contents.kept[SBOM].decode("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert (archive.with_name("flare23kit.cdx.json")).read_text(encoding="utf-8") == text
    licences = gzip.decompress(contents.kept[LICENCES])
    assert archive.with_name("flare23kit.licences.txt").read_bytes() == licences


def test_it_lists_the_packages_of_the_lock_and_no_others(archive):
    components = json.loads(archive.with_name("flare23kit.cdx.json").read_text())["components"]
    found = {
        f"{row['name']}=={row['version']}"
        for row in components
        if row.get("purl", "").startswith("pkg:pypi/")
    }
    lock = (ROOT / "locks/inference.txt").read_text(encoding="utf-8").splitlines()
    locked = {line.split()[0] for line in lock if line[:1].isalpha()}
    deleted = {name for name in locked if name.startswith("openvino-telemetry==")}
    assert found == locked - deleted
    assert len(deleted) == 1


def test_no_byte_code_is_compared_with_the_date_of_its_source(archive):
    """The archive's files have another date than those that were compiled."""
    code = (
        "import pathlib; found = pathlib.Path('/opt/pycache').rglob('*.pyc'); "
        "print(sorted({path.read_bytes()[4:8].hex() for path in found}))"
    )
    words = ["docker", "run", "--rm", "--network", "none", "flare23kit", "python", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "['01000000']\n"  # PEP 552: by hash, not checked


def test_docker_loads_the_image_that_the_record_names(archive):
    record = json.loads((archive.parent / "flare23kit_package/package.json").read_text())
    command = ["docker", "image", "inspect", "--format", "{{.Id}}", "flare23kit:latest"]
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert record["image"]["id"] == seen
    assert record["archive"]["sha256"] == file_sha256(archive)
