"""tests/gpu/run.sh runs what a card can prove, and writes it to a file named by the card."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.gpu.results import main

SCRIPT = Path(__file__).parents[1] / "gpu" / "run.sh"
PYTHON = """#!/bin/sh
# Stands in for Python: writes down its arguments, and the report that pytest would write.
echo "$*" >>"$RECORD"
case "$*" in
  *" pytest "*) for last; do :; done; echo "<xml/>" >"$last"; exit "${STATUS:-0}" ;;
esac
"""
CARD = "#!/bin/sh\necho 'NVIDIA RTX A6000, 580.1'\necho 'NVIDIA H200, 580.1'\n"
JUNIT = """<testsuites><testsuite>
<testcase classname="tests.gpu.test_torch_gpu" name="test_logits[f32]" time="1.5">
  <properties><property name="relative_rms" value="0.0001" /></properties>
</testcase>
<testcase classname="tests.gpu.test_torch_gpu" name="test_labels" time="2.0">
  <failure message="0.9 is&#10;  less">long</failure>
</testcase>
<testcase classname="tests.gpu.test_tensorrt_gpu" name="test_a_case" time="0">
  <skipped message="no plan for sm90">long</skipped>
</testcase>
</testsuite></testsuites>"""


@pytest.fixture
def run(tmp_path):
    """Run the script with what stands in for Python and for the driver's tool."""
    for name, text in (("python", PYTHON), ("nvidia-smi", CARD)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def started(*words, card=True, **variables):
        if not card:
            (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
        environment = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "PYTHON": str(tmp_path / "bin" / "python"),
            "RECORD": str(tmp_path / "record"),
            **variables,
        }
        return subprocess.run(
            ["sh", SCRIPT, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    return started


def test_without_a_folder_it_says_how_it_is_called(run):
    done = run()
    assert (done.returncode, done.stderr) == (2, "usage: sh tests/gpu/run.sh FOLDER [WHEELS]\n")


def test_without_a_card_it_says_so(run, tmp_path):
    done = run("found", card=False)
    assert (done.returncode, done.stderr) == (
        1, "no NVIDIA card here: nvidia-smi does not answer\n"
    )  # fmt: skip
    assert not (tmp_path / "record").exists()


@pytest.mark.parametrize("status", [0, 1])
def test_wheels_are_unpacked_and_results_written_also_where_a_test_fails(run, tmp_path, status):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a.whl").touch()
    done = run("found", "wheels", STATUS=str(status))
    assert done.returncode == status
    unpacked, tested, written = (tmp_path / "record").read_text().splitlines()
    assert unpacked.startswith("-m pip install --quiet --no-index --no-deps --target ")
    assert unpacked.endswith(" wheels/a.whl")
    assert tested.startswith("-m pytest -m gpu tests/gpu ")
    folder = tmp_path / "found"
    assert written.endswith(f"junit.xml NVIDIA RTX A6000 580.1 {folder}")
    assert folder.is_dir()


def test_the_results_say_what_was_found_and_what_was_not(tmp_path):
    (tmp_path / "junit.xml").write_text(JUNIT)
    path = main(tmp_path / "junit.xml", "NVIDIA RTX A6000", "580.1", tmp_path)
    assert path.name == "gpu_NVIDIA_RTX_A6000.json"
    table = json.loads(path.read_text())
    assert (table["card"], table["driver"]) == ("NVIDIA RTX A6000", "580.1")
    assert "numpy" in table["packages"]
    assert table["tests"] == [
        {
            "test": "test_torch_gpu::test_logits[f32]",
            "outcome": "passed",
            "seconds": 1.5,
            "figures": {"relative_rms": 0.0001},
        },
        {
            "test": "test_torch_gpu::test_labels",
            "outcome": "failure",
            "seconds": 2.0,
            "figures": {},
            "why": "0.9 is less",
        },
        {
            "test": "test_tensorrt_gpu::test_a_case",
            "outcome": "skipped",
            "seconds": 0.0,
            "figures": {},
            "why": "no plan for sm90",
        },
    ]
