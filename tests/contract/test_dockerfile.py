"""What the image is made of, read from the Dockerfile: tests/image builds it."""

import re
from pathlib import Path

import pytest

from train.package.context import KIT, MANIFEST, WEIGHTS
from train.package.request import TARGETS

ROOT = Path(__file__).parents[2]
NOT_COPIED = {"Dockerfile", ".dockerignore"}
LISTING = {"LICENSE", "train/inventory"}
"""What the builder alone gets: it lists what the image holds."""
FINAL = {"imaging/", "inference/", "weights/", "predict.sh", "weights_manifest.json"}


@pytest.fixture(scope="module")
def stages():
    """Lines of each stage by its name, continued lines joined, comments left out."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    parts = re.split(r"^FROM (\S+) AS (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[2::3], [part.strip().splitlines() for part in parts[3::3]], strict=True))


def test_cpu_is_the_default_and_differs_from_gpu_in_the_lock_and_the_driver_only(stages):
    assert list(stages) == ["builder", "runtime", "gpu", "cpu"]
    assert stages["cpu"] == []
    assert [line.split()[0] for line in stages["gpu"]] == ["ENV"]


def test_the_final_stage_gets_what_predicts_and_runs_nothing(stages):
    from_context, from_builder = set(), set()
    for line in stages["runtime"]:
        assert not line.startswith(("RUN", "ADD", "USER"))
        if line.startswith("COPY"):
            words = line.split()[1:-1]
            if words[0] == "--from=builder":
                from_builder |= set(words[1:])
            else:
                from_context |= set(words)
    assert from_context == FINAL
    assert from_builder == {"/opt/venv", "/opt/pycache", "/opt/inventory/"}


def test_the_labels_claim_no_licence_for_what_is_not_the_kits(stages):
    [line] = [line for line in stages["runtime"] if line.startswith("LABEL ")]
    assert re.findall(r"([\w.]+)=", line) == [
        "org.opencontainers.image.title",
        "org.opencontainers.image.version",
        "org.opencontainers.image.revision",
        "flare23.manifest.sha256",
    ]


def test_packages_come_from_a_lock_file_with_digests(stages):
    locked, asked_for = [x for x in stages["builder"] if " pip " in x and "install" in x]
    assert "--require-hashes" in locked
    assert asked_for.startswith('RUN [ -z "$TENSORRT" ] || ')  # never unless somebody asks
    assert (ROOT / "locks/inference.txt").is_file()
    assert "ARG LOCK=locks/inference.txt" in stages["builder"]


def test_byte_code_depends_on_neither_dates_nor_the_order_of_sets(stages):
    [line] = [line for line in stages["builder"] if "compileall" in line]
    assert line.startswith("RUN PYTHONHASHSEED=0 ")
    assert " compileall -f -q " in line
    assert " --invalidation-mode unchecked-hash " in line


def test_the_list_of_what_it_holds_is_made_where_everything_is_there(stages):
    lines = stages["builder"]
    [listed] = [place for place, line in enumerate(lines) if "-m train.inventory" in line]
    assert listed == len(lines) - 1
    assert "ARG SOURCE_DATE_EPOCH" in lines


def test_the_build_context_is_an_allow_list():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert allowed == {name.rstrip("/") for name in FINAL} | LISTING | {"locks/*.txt"}


def test_a_package_brings_to_the_build_what_the_final_stage_copies():
    brought = {*KIT} - NOT_COPIED | {WEIGHTS, MANIFEST}
    assert brought == {name.rstrip("/") for name in FINAL} | LISTING
    assert {*TARGETS.values()} == {"locks/inference.txt", "locks/gpu.txt"}
