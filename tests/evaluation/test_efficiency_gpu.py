"""GPU memory through the real nvidia-ml-py and a library that answers in the driver's place."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluation.maps import write_both

ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).with_name("fake_nvml.c")
# uses 5000 MiB for a while, then 1000; what it is allowed to see goes to the log
GPU_USER = (
    "echo 5000 >$FAKE_GPU_MIB; sleep 0.5; echo 1000 >$FAKE_GPU_MIB; sleep 0.3;"
    " echo $CUDA_VISIBLE_DEVICES; cp inputs/a_0000.nii.gz outputs/a.nii.gz"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Folder with a libnvidia-ml.so.1, which the loader finds before any other."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the library in the driver's place")
    folder = tmp_path_factory.mktemp("nvml")
    command = [compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", SOURCE]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture
def measure(library, tmp_path):
    """Run the command line on one case beside the fake library."""
    (tmp_path / "in").mkdir()
    write_both(tmp_path / "in" / "a_0000.nii.gz")
    (tmp_path / "mib").write_text("1000")

    def run(*options, command=GPU_USER, **variables):
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(library),
            "FAKE_GPU_MIB": str(tmp_path / "mib"),
            **variables,
        }
        arguments = ["efficiency", "--inputs", tmp_path / "in", "-o", tmp_path / "out", *options]
        return subprocess.run(
            [sys.executable, "-m", "evaluation", *arguments, "--", "sh", "-c", command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )

    return run


def report(tmp_path):
    return json.loads((tmp_path / "out" / "efficiency.json").read_text("utf-8"))


def test_the_memory_of_the_requested_card_over_time(measure, tmp_path):
    done = measure("--gpu-index", "1")
    assert done.returncode == 0, done.stderr
    assert "no GPU columns" not in done.stderr
    table = report(tmp_path)
    assert table["circumstances"]["gpu"] == "Fake card 1"
    assert table["circumstances"]["driver"] == "510.60.02"
    (case,) = table["cases"]
    assert case["verdict"] == "904 MiB over 4096 MiB of GPU memory"  # 5000 - 4096
    loads = case["runs"][0]["loads"]
    assert loads["gpu_mib"]["peak"] == 5000.0
    assert loads["gpu_over_mib"]["peak"] == 904.0
    with (tmp_path / "out" / "samples" / "a.csv").open(newline="") as stream:
        samples = [float(row["gpu_mib"]) for row in csv.DictReader(stream)]
    assert set(samples) <= {1000.0, 5000.0, 0.0}  # 0: between the shell's emptying and writing
    assert loads["gpu_mib"]["auc_official"] == pytest.approx(0.1 * sum(samples))
    seconds = case["runs"][0]["seconds"]
    assert 1000 * seconds < loads["gpu_mib"]["auc"] < 5000 * seconds
    assert case["runs"][0]["joules"]["gpu"] == pytest.approx(50 * seconds, rel=0.05)
    assert case["figures"]["gpu_joules"]["median"] == case["runs"][0]["joules"]["gpu"]
    row = (tmp_path / "out" / "efficiency.csv").read_text().splitlines()[1].split(",")
    assert row[2] == "5000.0"
    # as in the container, the command sees this card only
    assert (tmp_path / "out" / "logs" / "a_run1.stdout.txt").read_text() == "GPU-fake-1\n"


def test_by_default_the_first_card_is_watched(measure, tmp_path):
    assert measure().returncode == 0
    (case,) = report(tmp_path)["cases"]
    assert case["runs"][0]["loads"]["gpu_mib"]["peak"] == 10.0
    assert case["verdict"] == "within limits"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"FAKE_NVML_INIT": "9"}, "NVML tells of no GPU memory (Driver Not Loaded)"),
        ({"FAKE_NVML_COUNT": "0"}, "NVML finds no GPU"),
    ],
)
def test_without_a_gpu_the_columns_are_empty_and_it_says_so(measure, tmp_path, variables, message):
    done = measure(**variables)
    assert done.returncode == 0, done.stderr
    assert f"no GPU columns: {message}" in done.stderr
    table = report(tmp_path)
    assert table["circumstances"]["gpu"] is None
    assert message in table["circumstances"]["no_gpu"]
    assert "gpu_mib" not in table["cases"][0]["runs"][0]["loads"]
    row = (tmp_path / "out" / "efficiency.csv").read_text().splitlines()[1].split(",")
    assert row[2:4] == ["", ""]


def test_a_card_that_is_not_there(measure):
    done = measure("--gpu-index", "2")
    assert done.returncode == 1
    assert done.stderr == ("Error: GPU 2 was requested, NVML finds 2: give --gpu-index 0 to 1\n")


def test_a_card_that_is_lost_while_it_runs_fails_the_case(measure, tmp_path):
    done = measure("--gpu-index", "1", command="rm $FAKE_GPU_MIB; sleep 0.5")
    assert done.returncode == 1
    (case,) = report(tmp_path)["cases"]
    assert case["verdict"] == "failed: GPU 1 stopped answering: NVML says GPU is lost"
