"""The rounds on a real Slurm: equal to a local run, also after a labelling job was cancelled."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from train.rounds.records import RECORD, load_record
from train.rounds.verify import compare_runs

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SHARDS = 8
SHORTENED = {"shards": SHARDS, "epochs": 1, "iterations": 5, "unlabelled": 6, "validation": 2}


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    """Shorten the phantom recipe to a teacher and a student of five steps each."""
    text = (ROOT / "train" / "recipes" / "phantom.toml").read_text()
    for key, value in SHORTENED.items():
        text, count = re.subn(rf"(?m)^{key} = \d+", f"{key} = {value}", text)
        assert count == 1, key
    text = text[: text.rindex("[[rounds]]")]
    path = tmp_path_factory.mktemp("recipe") / "short.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="session")
def release(tmp_path_factory, recipe):
    folder = tmp_path_factory.mktemp("release") / "release"
    _train("phantoms", recipe, "-o", folder).check_returncode()
    return folder


def _command(*words):
    return [sys.executable, "-m", "train", *map(str, words)]


def _train(*words, **options):
    return subprocess.run(_command(*words), cwd=ROOT, capture_output=True, text=True, **options)


def _jobs(cluster):
    """Return (id, comment, state) of every job there was."""
    command = ["squeue", "--states=all", "--noheader", "--format=%i|%k|%T"]
    told = subprocess.run(command, env=cluster, capture_output=True, text=True, check=True).stdout
    return [tuple(row.split("|")) for row in told.splitlines()]


def _cancel_a_running_shard(cluster, running):
    """Cancel the first labelling job that runs; return its comment."""
    while running.poll() is None:
        for job, comment, state in _jobs(cluster):
            if "label" in comment and state == "RUNNING":
                time.sleep(4)  # Snakemake and then the stage are up
                subprocess.run(["scancel", job], env=cluster, check=True)
                return comment
        time.sleep(0.5)
    raise AssertionError(f"no labelling job was seen: {running.communicate()}")


def test_a_run_through_slurm_equals_a_local_run(cluster, recipe, release, tmp_path):
    options = ["--release", release, "--truth", release / "hidden"]
    local = _train("run", recipe, "--run", tmp_path / "local", *options)
    assert local.returncode == 0, local.stderr

    queued = ["--run", tmp_path / "queued", *options, "--executor", "slurm", "--retries", 2]
    running = subprocess.Popen(
        _command("run", recipe, *queued), cwd=ROOT, env=cluster,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    cancelled = _cancel_a_running_shard(cluster, running)
    told = running.communicate()[0]
    assert running.returncode == 0, told

    jobs = _jobs(cluster)
    states = [state for _, comment, state in jobs if comment == cancelled]
    assert sorted(states) == ["CANCELLED", "COMPLETED"]
    labelled = {comment for _, comment, state in jobs if "label" in comment}
    assert len(labelled) == SHARDS

    equal, difference = compare_runs(tmp_path / "local", tmp_path / "queued")
    assert difference is None
    # data; teacher and student: fuse, select, train, export, score; the teacher's labels in parts
    assert equal == 1 + 2 * 5 + SHARDS
    record = load_record(tmp_path / "queued" / "teacher" / "label" / "part000" / RECORD)
    assert record["outputs"]
