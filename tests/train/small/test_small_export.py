"""What `train small fit` writes: the export and nnU-Net's own predictor read it alike."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from click.testing import CliRunner

from inference.manifest import load_manifest
from inference.pipeline import find_cases, predict_folder
from inference.settings import Settings
from tests.imaging.bad_files import write_ct
from tests.train.small.small_training import write_prepared, write_recipe
from train.network.naming import CONFIGURATION, DATASET, PLANS, TRAINER
from train.network.nnunet import environment
from train.small.compact import ORIENTATION
from train.synthesis.phantom import phantom

pytestmark = pytest.mark.slow


@pytest.fixture
def work(tmp_path):
    """A folder with results of one step, and weights of which every class has a part."""
    from train.network.checkpoints import write_checkpoint
    from train.small.fit import FINAL, fit

    prepared = write_prepared(tmp_path / "prepared", steps=1)
    model = fit(prepared, tmp_path / "results")
    path = model / "fold_all" / FINAL
    content = torch.load(path, weights_only=True)
    weights, generator = content["network_weights"], torch.Generator().manual_seed(0)
    for name, weight in weights.items():
        if name.startswith("decoder.seg_layers"):
            weights[name] = torch.randn(weight.shape, generator=generator)
    write_checkpoint(content, path)
    shutil.rmtree(prepared)
    hu, _ = phantom(5, (27, 40, 44), (8.0, 7.5, 7.5))
    write_ct(tmp_path / "inputs" / "case_0000.nii.gz", hu, (8.0, 7.5, 7.5))
    return tmp_path, model


def nnunets(work):
    """Return nnU-Net's labels."""
    command = [
        str(Path(sys.executable).parent / "nnUNetv2_predict"), "-d", str(DATASET),
        "-c", CONFIGURATION, "-p", PLANS, "-tr", TRAINER, "-f", "all", "-device", "cpu",
        "-i", str(work / "inputs"), "-o", str(work / "theirs"),
        "-npp", "0", "-nps", "0", "--disable_tta",
    ]  # fmt: skip
    done = subprocess.run(command, env=environment(work), capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return sitk.GetArrayFromImage(sitk.ReadImage(str(work / "theirs" / "case.nii.gz")))


def kits(work, model):
    """Return the kit's labels, with what it exported."""
    from train.export.bundle import ExportRequest, export_bundle

    cases = find_cases(work / "inputs")
    done = export_bundle(ExportRequest(model, work / "bundle", parity_cases=(cases["case"],)))
    assert load_manifest(done.manifest).orientation == ORIENTATION
    settings = Settings(precision="f32", step=0.5, tta="none", clean=False)
    report = predict_folder(cases, work / "ours", load_manifest(done.manifest), settings)
    assert not report.failed
    return sitk.GetArrayFromImage(sitk.ReadImage(str(work / "ours" / "case.nii.gz")))


def test_the_export_and_nnunets_predictor_draw_the_same_labels(work):
    ours, theirs = kits(*work), nnunets(work[0])
    assert np.count_nonzero(np.bincount(theirs.ravel()) > 100) >= 3, "nothing to compare"
    # nnU-Net sums logits in float16: voxels with nearly tied classes may differ
    assert np.mean(ours != theirs) < 0.005


def test_an_export_goes_back_to_what_nnunet_reads(work):
    from train.network.checkpoints import write_checkpoint
    from train.small.cli import small
    from train.small.fit import FINAL

    folder, model = work
    content = torch.load(model / "fold_all" / FINAL, weights_only=True)
    for number, weight in enumerate(content["network_weights"].values()):
        weight += 0.01 * number  # an export has weights that are all alike once
    write_checkpoint(content, model / "fold_all" / FINAL)
    kits(*work)
    (onnx,) = (folder / "bundle").rglob("*.onnx")
    recipe = write_recipe(folder / "recipe.toml", steps=1)
    words = ["nnunet", str(recipe), "--weights", str(onnx), "--work", str(folder / "again")]
    done = CliRunner().invoke(small, words)
    assert done.exit_code == 0, done.output
    again = Path(done.output.strip())
    assert again == folder / "again" / "results" / model.parent.name / model.name
    for name in ("plans.json", "dataset.json"):
        assert (again / name).read_bytes() == (model / name).read_bytes()
    stored, back = (
        torch.load(of / "fold_all" / FINAL, weights_only=True)["network_weights"]
        for of in (model, again)
    )
    assert stored.keys() == back.keys()
    finest = max(name for name in stored if "seg_layers" in name).removesuffix("weight")
    for name, weight in stored.items():
        if "seg_layers" not in name or name.startswith(finest):
            np.testing.assert_array_equal(back[name], weight, err_msg=name)
