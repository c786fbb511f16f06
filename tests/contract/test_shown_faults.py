"""Every input that once gave a wrong map without a word, or ended a run: `shared/cases` makes them.

A row says what is typed, how it must end, and what a user must be told.
"""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from imaging.label_maps import read_label_map

ROOT = Path(__file__).parents[2]
CASES = ROOT.parent / "shared" / "cases"

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not there"),
]

MANIFEST = ("--manifest", str(ROOT / "weights_manifest.json"))
PREDICT = ("inference", "predict", "in", "out", "--challenge", *MANIFEST)
SCORE = ("evaluation", "score", "--truth", "truth", "--pred", "pred", "-o", "o", "--no-report")


@dataclass(frozen=True)
class Row:
    """One command on the files of one script."""

    script: str
    command: tuple[str, ...]
    exit_code: int
    told: tuple[str, ...]
    """Parts of what must be printed or written."""
    done: tuple[str, ...] = ()
    """Cases that must be done all the same."""


ROWS = (
    Row("01_sform_nan", PREDICT, 1, ("bad2: failed", "not finite"), ("aa", "zz")),
    Row("02_non_utf8_name", PREDICT, 0, (), ("aa", "zz")),
    Row("03_blank_slice", PREDICT, 0, ("1 of 112 slices shows nothing",), ("blank70",)),
    Row("04_pixdim_is_not_sform", PREDICT, 0, ("by the sform and 1 × 1 × 1 mm by pixdim",)),
    Row("04_pixdim_is_not_sform", SCORE, 1, ("voxels are 3 × 3 × 3 mm; scored with pixdim's 1",)),
    Row("05_qform_against_sform", PREDICT, 0, ("sform says RAS and the qform says LPS",)),
    Row("06_no_orientation", PREDICT, 0, ("the header says nothing of orientation",)),
    Row(
        "07_not_hounsfield",
        PREDICT,
        0,
        ("about +1,024 was added", "scaled to 0..1", "z-scores", "inverted"),
    ),
    Row("09_scaled_labels", SCORE, 1, ("has a slope of", "there is 257", "is off by")),
    Row(
        "09_scaled_labels",
        (*SCORE, "--rules", "fixed"),
        1,
        ("whole numbers from 0 to 255", "has a slope of"),
    ),
    Row(
        "10_ignored_files",
        PREDICT,
        0,
        ("UP_0000.NII.GZ", "no case's name", "noindex", "plain_0000.nii", "a further channel"),
        ("ok",),
    ),
    Row("11_units_micron", PREDICT, 0, ("3 × 3 × 3 were taken as millimetres",), ("micron",)),
    Row(
        "13_outputs_are_inputs",
        ("inference", "predict", "in", "in", "--challenge", *MANIFEST),
        1,
        ("another outputs",),
    ),
    Row("14_markup_in_names", PREDICT, 0, ("[bold]: done", "scan[red]1: done")),
    Row("15_largest_of_two_halves", PREDICT, 0, ("2 of 78 slices show nothing",), ("blank",)),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return what makes the files of a script, once."""
    folders = {}

    def make(script):
        if script not in folders:
            folder = tmp_path_factory.mktemp(script)
            ran(folder, CASES / f"{script}.py", str(folder)).check_returncode()
            folders[script] = folder
        return folders[script]

    return make


def ran(folder, *command):
    """Run Python in `folder`; the kit is the one that is tested."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", *map(str, command)],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True,
        errors="replace",
        timeout=300,
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.script}-{row.command[1]}")
def test_a_shown_fault_is_mended(made, row):
    folder = made(row.script)
    done = ran(folder, "-m", *row.command)
    printed = done.stdout + done.stderr
    for results in (*folder.glob("o/*.csv"), *folder.glob("out/run.json")):
        printed += results.read_text(encoding="utf-8")
    printed = re.sub(r"[\s│]+", " ", printed)  # tables wrap what is long
    assert done.returncode == row.exit_code, printed
    assert "Traceback" not in printed
    for part in row.told:
        assert part in printed
    if row.command[1] == "predict" and row.command[3] == "out":
        report = json.loads((folder / "out" / "run.json").read_text(encoding="utf-8"))
        states = {case["case"]: case["status"] for case in report["cases"]}
        assert {case: states[case] for case in row.done} == dict.fromkeys(row.done, "done")


@pytest.mark.parametrize(
    ("script", "odd", "right"),
    [
        ("03_blank_slice", "blank70", "whole"),
        ("04_pixdim_is_not_sform", "pixdim1_q0", "right"),
        ("05_qform_against_sform", "disagree", "right"),
        ("15_largest_of_two_halves", "blank", "whole"),
    ],
)
def test_the_map_is_the_right_one(made, script, odd, right):
    folder = made(script)
    if not (folder / "out").is_dir():
        ran(folder, "-m", *PREDICT)
    one, other = (read_label_map(folder / "out" / f"{case}.nii.gz") for case in (odd, right))
    shown = one.labels.any(axis=(1, 2)) | ~other.labels.any(axis=(1, 2))  # blank slices aside
    assert (~shown).sum() <= 2
    same = one.labels[shown] == other.labels[shown]
    assert np.mean(same) > 0.998


def test_a_map_of_an_earlier_run_is_not_left(made):
    folder = made("08_stale_output")
    assert ran(folder, "-m", *PREDICT).returncode == 0
    for file in (folder / "broken").iterdir():
        shutil.copy(file, folder / "in")
    assert ran(folder, "-m", *PREDICT).returncode == 1
    assert not (folder / "out" / "p1.nii.gz").exists()


@pytest.mark.parametrize(
    ("script", "told"), [("touch", "not a NIfTI-1 file"), ("wrong", "122×101×112 voxels")]
)
def test_efficiency_takes_maps_alone(made, script, told):
    folder = made("12_efficiency_takes_any_file")
    command = ("efficiency", "--inputs", "in", "-o", f"o_{script}", "--", "sh", f"{script}.sh")
    done = ran(folder, "-m", "evaluation", *command)
    assert done.returncode == 1
    assert told in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("odd_patch", "is not a multiple of"),
        ("equal_clip", "are not those of a CT"),
        ("nan_mean", "are not those of a CT"),
        ("nan_weights", "holds NaN or infinity"),
        ("v1_labels", "as nnU-Net v1 did"),
        ("no_channels", "channel_names"),
        ("ddp_prefix", None),
    ],
)
def test_a_model_folder_is_exported_or_refused_in_one_line(made, model, told):
    folder = made("16_export_model_folders")
    done = ran(folder, "-m", "train", "export", model, "-o", f"{model}_bundle")
    assert "Traceback" not in done.stderr
    assert done.returncode == (told is not None)
    assert told is None or told in done.stderr
