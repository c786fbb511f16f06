import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("nnunetv2")

from train.data.release import Case, write_cases
from train.network import nnunet
from train.rounds.graph import find_stage
from train.rounds.network import train_job
from train.rounds.recipe import load_rounds
from train.rounds.run import Run

PHANTOM = Path(__file__).parents[3] / "train" / "recipes" / "phantom.toml"
CASES = (
    Case("FLARE23_0001", "ct1.nii.gz", "1.nii.gz", (1, 3), (1, 2, 3), "partial"),
    Case("FLARE23_2201", "ct2.nii.gz", None, (), (), "unlabelled"),
    Case("FLARE23_2202", "ct3.nii.gz", None, (), (), "unlabelled"),  # was not selected
)


@pytest.fixture
def run(tmp_path):
    """A run whose second round is fused and selected; `ct` and map are one small file."""
    recipe = load_rounds(PHANTOM)
    marginal = replace(recipe, training=replace(recipe.training, undecided="marginal"))
    run = Run(marginal, tmp_path / "run", tmp_path / "release")
    labels = sitk.GetImageFromArray(np.full((2, 2, 2), 15, np.uint8))
    for case in CASES:
        for path in (run.release / case.image, run.fused(recipe.step("student"), case)):
            path.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(labels, str(path))
    for stage in ("data", "student/select"):
        (run.folder / stage).mkdir(parents=True)
    write_cases(CASES, run.folder / "data" / "cases.json")
    kept = {"kept": [case.case for case in CASES[:2]]}
    (run.folder / "student" / "select" / "cases.json").write_text(json.dumps(kept))
    return run


def test_what_was_annotated_goes_from_the_release_to_the_trainer(run, tmp_path, monkeypatch):
    def fit(work, _device):
        for name in nnunet.MODEL_FILES:
            path = nnunet.model_folder(spec, work) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    recipe = run.recipe
    spec = nnunet.TrainingSpec(recipe.name, recipe.seed, recipe.spacing_mm, recipe.training)
    monkeypatch.setattr(nnunet, "prepare", lambda *_: None)
    monkeypatch.setattr(nnunet, "fit", fit)
    job = train_job(run, find_stage(recipe, "student", "train", None))
    job.make(tmp_path / "made")
    raw = run.folder / "student" / "train.work" / "raw" / spec.dataset
    description = json.loads((raw / "dataset.json").read_text())
    assert description["annotated"] == {"FLARE23_0001": [1, 2, 3], "FLARE23_2201": []}
    assert job.inputs["run/data/cases.json"] == run.folder / "data" / "cases.json"
    assert all((tmp_path / "made" / name).is_file() for name in nnunet.MODEL_FILES)
