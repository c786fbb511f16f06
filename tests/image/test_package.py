"""A small network is trained, packaged, checked and run, on a real Docker engine."""

import json
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from imaging.label_maps import read_label_map
from imaging.volumes import read_header, read_place
from inference.manifest import load_manifest
from train.cli import main

pytest.importorskip("nnunetv2")

from tests.train.training import SPEC, write_cases
from train.network.nnunet import model_folder, train_round

pytestmark = [pytest.mark.docker, pytest.mark.slow]

INSIDE = "/etc/ssl/certs/ca-certificates.crt"
MANIFEST = "weights_manifest.json"


def docker(*words):
    return subprocess.run(["docker", *map(str, words)], capture_output=True, text=True, check=True)


@pytest.fixture
def index():
    """Where pip asks on this machine, for the build."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    found = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return ("--build-arg", f"PIP_INDEX_URL={found}") if found else ()


def test_from_a_training_to_an_archive_that_keeps_the_rules(
    base_images, index, tmp_path, record_property
):
    (tmp_path / "cts").mkdir()
    cts = write_cases(tmp_path / "cts")
    train_round(SPEC, cts, tmp_path / "training")
    for folder, case in (("checked", "p0"), ("inputs", "p1")):
        (tmp_path / folder).mkdir()
        shutil.copy(cts[case][0], tmp_path / folder)
    archive = tmp_path / "tinyteam.tar.gz"
    base, builder = base_images
    words = (
        *("package", model_folder(SPEC, tmp_path / "training"), "-o", archive),
        *("--base", base, "--build-arg", f"BUILDER_IMAGE={builder}", "--network", "host"),
        *("--build-arg", f"PIP_CERT={INSIDE}", *index),
        *("--cases", tmp_path / "checked"),
    )
    try:
        done = CliRunner().invoke(main, [str(word) for word in words])
        assert done.exit_code == 0, done.output
        work = tmp_path / "tinyteam_package"
        steps = {s["name"]: s for s in json.loads((work / "package.json").read_text())["steps"]}
        for name, step in steps.items():
            record_property(f"{name}_s", step["seconds"])
        record_property("archive_bytes", archive.stat().st_size)
        rules = json.loads((work / "check/submission.json").read_text())["rules"]
        not_seen = {row["rule"] for row in rules if row["status"] != "passed"}
        assert not_seen <= {"archive size", "same", "GPU memory", "RAM"}
        docker("rmi", "tinyteam:latest")
        assert "Loaded image: tinyteam:latest" in docker("load", "-i", archive).stdout
        is_what_was_exported(work / "bundle")
        runs_as_the_organisers_run_it(tmp_path)
    finally:
        subprocess.run(["docker", "rmi", "-f", "tinyteam:latest"], capture_output=True)


def is_what_was_exported(bundle):
    """The image's weights are these, and it has no others."""
    command = f"ls -1 weights; sha256sum {MANIFEST}"
    told = docker("run", "--rm", "--network", "none", "tinyteam", "sh", "-c", command).stdout
    manifest = load_manifest(bundle / MANIFEST)
    name = manifest.weights("onnx").name
    assert told.split() == [name, manifest.sha256, MANIFEST]
    assert name != "flare23_default.onnx"


def runs_as_the_organisers_run_it(folder):
    """A case that the check has not seen is labelled on its own voxels."""
    outputs = folder / "outputs"
    outputs.mkdir()
    docker(
        *("container", "run", "--shm-size=28gb", "-m", "28G", "--name", "tinyteam", "--rm"),
        *("-v", f"{folder / 'inputs'}/:/workspace/inputs/"),
        *("-v", f"{outputs}/:/workspace/outputs/"),
        *("tinyteam:latest", "/bin/bash", "-c", "sh predict.sh"),
    )
    ct = folder / "inputs" / "p1_0000.nii.gz"
    labels = read_label_map(outputs / "p1.nii.gz")
    assert labels.elsewhere_than(read_place(ct), read_header(ct).shape) is None
    report = json.loads((outputs / "run.json").read_text(encoding="utf-8"))
    assert [row["status"] for row in report["cases"]] == ["done"]
