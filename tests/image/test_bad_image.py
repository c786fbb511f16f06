"""`evaluation submission` on images made to break its rules, on a real Docker engine."""

import json
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from evaluation.cli import main

pytestmark = pytest.mark.docker

# a map of float32 on another grid, other bytes every time, a file outside, a crash
BAD_PREDICT = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
date +%N >/srv/log
exec "$FLARE23_PYTHON" -c '
import pathlib, time, numpy as np
from imaging.volumes import write_volume
for path in pathlib.Path("inputs").glob("*_0000.nii.gz"):
    labels = np.full((3, 4, 5), 15, np.int16)
    labels[0, 0, 0] = time.time_ns() % 100
    write_volume(labels, (1.0, 1.0, 1.0), pathlib.Path("outputs", path.name.replace("_0000", "")))
    path.read_bytes().decode("latin-1").index("\\x1f\\x8b")
'
"""
ELSEWHERE = "FROM flare23kit:latest\nWORKDIR /srv\n"
BAD = "FROM flare23kit:latest\nCOPY predict.sh /workspace/predict.sh\n"


@pytest.fixture
def cases(tmp_path, data_dir):
    (tmp_path / "in").mkdir()
    shutil.copy(data_dir / "ct" / "TS_example_0000.nii.gz", tmp_path / "in")
    return tmp_path / "in"


def build(folder, dockerfile, tag):
    folder.mkdir()
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "predict.sh").write_text(BAD_PREDICT)
    subprocess.run(["docker", "build", "-t", tag, folder], check=True, capture_output=True)


def verdicts(image, cases, output, *options):
    words = ["submission", image, "--cases", cases, "-o", output, *options]
    done = CliRunner().invoke(main, [str(word) for word in words])
    table = json.loads((output / "submission.json").read_text())
    failed = {row["rule"] for row in table["rules"] if row["status"] == "failed"}
    assert done.exit_code == (1 if failed else 0), done.output
    return failed, {row["rule"]: row["reason"] for row in table["rules"]}


def test_the_kits_own_image_breaks_no_rule(archive, cases, tmp_path):
    failed, reasons = verdicts(archive, cases, tmp_path / "out")
    assert failed == set(), {rule: reasons[rule] for rule in failed}


def test_an_image_that_breaks_the_rules_is_told_which(archive, cases, tmp_path):
    build(tmp_path / "bad", BAD, "badkit:latest")
    try:
        path = tmp_path / "BadKit.tar"
        subprocess.run(["docker", "save", "-o", path, "badkit:latest"], check=True)
        failed, reasons = verdicts(path, cases, tmp_path / "out", "--time-limit", 0.01)
    finally:
        subprocess.run(["docker", "rmi", "-f", "badkit:latest"], capture_output=True)
    assert failed == {
        "archive name",
        "runs",
        "geometry",
        "labels",
        "time",
        "repeats",
        "many",
        "inside",
        "any user",
        "broken input",
        "exit code",
    }
    assert reasons["inside"] == "/srv/log"
    assert "ValueError" in reasons["exit code"]


def test_an_image_whose_workdir_is_elsewhere_does_not_run(archive, cases, tmp_path):
    build(tmp_path / "elsewhere", ELSEWHERE, "elsewherekit:latest")
    try:
        failed, reasons = verdicts("elsewherekit", cases, tmp_path / "out")
    finally:
        subprocess.run(["docker", "rmi", "-f", "elsewherekit:latest"], capture_output=True)
    assert failed >= {"workdir", "runs", "names", "many", "any user", "broken input"}
    assert reasons["workdir"].startswith("WORKDIR is /srv, it holds no predict.sh")
