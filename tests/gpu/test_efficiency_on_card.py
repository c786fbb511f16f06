"""`evaluation efficiency` sees the memory of a process that holds a known amount."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluation.maps import write_both

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.gpu
HELD_MIB = 1500
HOLD = f"""
import shutil, time, torch
held = torch.zeros({HELD_MIB} << 18, device="cuda")
torch.cuda.synchronize()
time.sleep(3)
shutil.copy("inputs/a_0000.nii.gz", "outputs/a.nii.gz")
"""


def test_the_memory_of_a_process_is_seen(torch_on_card, tmp_path, record_property):
    pytest.importorskip("pynvml")
    pytest.importorskip("psutil")
    (tmp_path / "in").mkdir()
    write_both(tmp_path / "in" / "a_0000.nii.gz")
    arguments = ["efficiency", "--inputs", tmp_path / "in", "-o", tmp_path / "out", "--"]
    command = [sys.executable, "-m", "evaluation", *arguments, sys.executable, "-c", HOLD]
    subprocess.run(command, check=True, cwd=ROOT)
    (case,) = json.loads((tmp_path / "out" / "efficiency.json").read_text("utf-8"))["cases"]
    peak_mib = case["runs"][0]["loads"]["gpu_mib"]["peak"]
    record_property("peak_mib", peak_mib)
    # the context and the driver's own share come on top: 1,142 MiB on an H200
    assert HELD_MIB < peak_mib < HELD_MIB + 2500
