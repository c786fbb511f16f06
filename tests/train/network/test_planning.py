import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("nnunetv2")

from imaging.errors import KitError
from tests.train.training import SPEC, varied
from train.network.planning import write_plans


def planned(spec, path):
    """Return plans as nnU-Net's planner leaves them, after the recipe went in."""
    configuration = {"patch_size": [32, 32, 32], "architecture": {"arch_kwargs": {"n_stages": 9}}}
    intensities = {"mean": 1.0, "std": 2.0, "percentile_00_5": 3.0, "percentile_99_5": 4.0}
    plans = {
        "configurations": {"3d_fullres": configuration, "2d": {}},
        "foreground_intensity_properties_per_channel": {"0": intensities},
    }
    path.write_text(json.dumps(plans))
    write_plans(spec, path)
    found = json.loads(path.read_text())
    assert list(found["configurations"]) == ["3d_fullres"]
    return found


def network(spec, path):
    return planned(spec, path)["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]


def test_the_papers_network_is_nnunets(tmp_path):
    # Patch and spacing of the paper's plan: z is 3 times coarser, so it is neither convolved nor
    # halved at first; 56 = 7 * 8 is halved three times, 160 and 192 five times.
    spec = replace(
        varied(patch=(56, 160, 192), features=(), decoder_convolutions=2),
        spacing_mm=(2.5, 0.8203125, 0.8203125),
    )
    assert network(spec, tmp_path / "plans.json") == {
        "n_stages": 6,
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]],
        "kernel_sizes": [[1, 3, 3]] + [[3, 3, 3]] * 5,
        "n_conv_per_stage": [2] * 6,
        "n_conv_per_stage_decoder": [2] * 5,
    }


def test_features_set_the_depth(tmp_path):
    found = network(varied(patch=(64, 64, 80), features=(4, 8, 16)), tmp_path / "plans.json")
    assert found["strides"] == [[1, 1, 1], [2, 2, 2], [2, 2, 2]]
    assert found["features_per_stage"] == [4, 8, 16]


def test_the_window_sets_the_network_and_the_plans_patch(tmp_path):
    # A patch of 16 allows two halvings, the window of 32 a third.
    spec = varied(patch=(16, 16, 16), window=(32, 32, 32), features=(4, 8, 8, 8))
    found = planned(spec, tmp_path / "plans.json")["configurations"]["3d_fullres"]
    assert found["patch_size"] == [32, 32, 32]
    assert found["architecture"]["arch_kwargs"]["strides"] == [[1, 1, 1]] + [[2, 2, 2]] * 3


def test_what_the_recipe_leaves_empty_is_the_planners(tmp_path):
    spec = varied(patch=(), features=(), clip_hu=())
    found = planned(spec, tmp_path / "plans.json")
    assert found["foreground_intensity_properties_per_channel"]["0"]["mean"] == 1.0
    assert found["configurations"]["3d_fullres"]["patch_size"] == [32, 32, 32]
    assert network(spec, tmp_path / "plans.json") == {"n_stages": 9}


def test_hu_range(tmp_path):
    found = planned(SPEC, tmp_path / "plans.json")["foreground_intensity_properties_per_channel"]
    assert found["0"] == {
        "mean": 50.0,
        "std": 80.0,
        "percentile_00_5": -200.0,
        "percentile_99_5": 300.0,
    }


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        # With 16 voxels an axis is halved twice, to no less than 4: three stages.
        ({"patch": (16, 16, 16), "features": (4, 8, 8, 8)}, "allows 3 to 3 stages"),
        ({"patch": (16, 16, 16), "features": (4, 8)}, "features are 2"),
        ({"patch": (18, 16, 16), "features": (4, 8, 8)}, r"multiple of \[4, 4, 4\]"),
        (
            {"patch": (18, 16, 16), "window": (16, 16, 16), "features": (4, 8, 8)},
            r"patch \(18, 16, 16\) is not a multiple",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused(tmp_path, changes, complaint):
    with pytest.raises(KitError, match=complaint):
        network(varied(**changes), tmp_path / "plans.json")


@pytest.mark.parametrize("name", ["flare23", "flare23_paper", "phantom"])
def test_feature_maps_are_counted_as_nnunet_counts_them(name):
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    from train.network.planning import _network, feature_map_voxels
    from train.rounds.recipe import load_rounds

    recipe = load_rounds(Path(__file__).parents[3] / "train" / "recipes" / f"{name}.toml")
    patch = recipe.training.patch
    kwargs = {
        **_network(recipe.training, recipe.spacing_mm, patch),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {},
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {},
    }
    network = get_network_from_plans(
        "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        kwargs, ("conv_op", "norm_op", "nonlin"), 1, 15, allow_init=False, deep_supervision=True,
    )  # fmt: skip
    counted = feature_map_voxels(recipe.training, recipe.spacing_mm, patch, 15)
    assert counted == network.compute_conv_feature_map_size(patch)
