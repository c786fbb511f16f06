"""The parts of the export: what is kept from the plans, what is refused, and the ONNX graph."""

import copy
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest

from imaging.errors import KitError
from inference.manifest import Intensity

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("nnunetv2")

PATCH = (8, 16, 24)


def planned(folder):
    from train.export.network import resolved_configuration
    from train.export.plans import planned_model

    name = folder.checkpoint["init_args"]["configuration"]
    resolved = resolved_configuration(copy.deepcopy(folder.plans), name)
    return planned_model(folder.plans, folder.dataset, name, resolved)


def built(folder, axes_in_network=(0, 1, 2)):
    from train.export.network import build_network

    model = planned(folder)
    weights = folder.checkpoint["network_weights"]
    return build_network(model.architecture, model.outputs, weights, axes_in_network)


def run_onnx(path, patches):
    return onnxruntime.InferenceSession(str(path)).run(None, {"patches": patches})[0]


def noise(shape):
    return np.random.default_rng(0).normal(size=(1, 1, *shape)).astype(np.float32)


def test_numbers_of_the_plans_are_kept(model_folder):
    model = planned(model_folder())
    assert (model.patch, model.spacing_mm) == (PATCH, (5.0, 2.0, 1.5))
    assert model.intensity == Intensity((-150.0, 250.0), 80.0, 100.0)
    assert model.orientation is None
    assert model.warnings == ()


def test_ignore_label_is_not_an_output(model_folder):
    model = planned(model_folder())
    assert model.labels == {"liver": 1, "tumour": 2}
    assert model.outputs == 3


def test_a_label_in_a_list_of_one_is_no_region(model_folder):
    folder = model_folder()
    folder.dataset["labels"] = {"background": 0, "tumour": [2], "liver": [1]}
    assert list(planned(folder).labels.items()) == [("liver", 1), ("tumour", 2)]


def test_inherited_configuration_is_resolved(model_folder):
    folder = model_folder()
    folder.checkpoint["init_args"]["configuration"] = "child"
    assert planned(folder).spacing_mm == (4.0, 2.0, 2.0)
    assert planned(folder).patch == PATCH


def test_transposed_plans_are_given_in_image_axes(model_folder):
    folder = model_folder()
    # Axis 0 of the network is the image's X, so its patch of 8 voxels lies along X.
    folder.plans["transpose_forward"] = [2, 0, 1]
    model = planned(folder)
    assert model.axes_in_network == (2, 0, 1)
    assert model.patch == (16, 24, 8)
    assert model.spacing_mm == (2.0, 1.5, 5.0)


@pytest.mark.parametrize(
    ("in_plans", "in_dataset", "orientation", "warned"),
    [
        ("NibabelIO", None, None, 0),
        ("NibabelIOWithReorient", None, "RAS", 0),
        ("NibabelIOWithReorient", "NibabelIOWithReorient", "RAS", 0),
        ("SimpleITKIO", "None", None, 0),
        (None, "NibabelIOWithReorient", "RAS", 0),
        ("SimpleITKIO", "NibabelIOWithReorient", None, 1),  # nnU-Net predicts with the plans'
    ],
)
def test_reader_decides_the_orientation(model_folder, in_plans, in_dataset, orientation, warned):
    folder = model_folder()
    folder.plans["image_reader_writer"] = in_plans
    if in_dataset:
        folder.dataset["overwrite_image_reader_writer"] = in_dataset
    assert planned(folder).orientation == orientation
    assert len(planned(folder).warnings) == warned


def test_nnunet_default_resampling_is_accepted_with_warnings(model_folder):
    folder = model_folder()
    default = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    folder.fullres["resampling_fn_data_kwargs"] = default
    order, z_apart = planned(folder).warnings
    assert order == "data: trained with order 3; inference resamples linearly"
    assert "z apart where spacing is anisotropic" in z_apart


def test_torch_resampling_is_linear(model_folder):
    folder = model_folder()
    folder.fullres["resampling_fn_data"] = "resample_torch_fornnunet"
    folder.fullres["resampling_fn_data_kwargs"] = {"is_seg": False, "force_separate_z": False}
    assert planned(folder).warnings == ()


REFUSED = {
    "2-D": (lambda f: f.fullres.update(patch_size=[16, 16]), "is 2-D"),
    "cascade": (lambda f: f.fullres.update(previous_stage="3d_lowres"), "'3d_lowres'"),
    "preprocessor": (lambda f: f.fullres.update(preprocessor_name="Mine"), "'Mine'"),
    "label manager": (lambda f: f.plans.update(label_manager="Mine"), "'Mine'"),
    "no configuration": (lambda f: f.plans["configurations"].clear(), "'3d_fullres'"),
    "no patch": (lambda f: f.fullres.pop("patch_size"), "'patch_size'"),
    "reader": (lambda f: f.plans.update(image_reader_writer="Tiff3DIO"), "'Tiff3DIO'"),
    "resampling": (lambda f: f.fullres.update(resampling_fn_data="none_at_all"), "'none_at_all'"),
    "axes": (lambda f: f.plans.update(transpose_forward=[0, 0, 1]), "permutation"),
    "network": (
        lambda f: f.fullres["architecture"].update(network_class_name="monai.SwinUNETR"),
        "monai.SwinUNETR",
    ),
    "channels": (
        lambda f: f.dataset.update(channel_names={"0": "CT", "1": "PET"}),
        "2 channels (CT, PET)",
    ),
    "z-score": (
        lambda f: f.fullres.update(normalization_schemes=["ZScoreNormalization"]),
        "ZScoreNormalization",
    ),
    "regions": (
        lambda f: f.dataset.update(labels={"background": 0, "organ": [1, 2], "tumour": 2}),
        "'organ' is a region",
    ),
    "odd patch": (
        lambda f: f.fullres.update(patch_size=[7, 15, 23]),
        "patch_size [7, 15, 23] is not a multiple of [2, 4, 4]",
    ),
    "equal percentiles": (
        lambda f: f.intensities.update(percentile_00_5=10.0, percentile_99_5=10.0),
        "percentile_00_5 10.0, percentile_99_5 10.0",
    ),
    "percentiles that change places": (
        lambda f: f.intensities.update(percentile_00_5=10.0, percentile_99_5=-10.0),
        "percentile_00_5 10.0, percentile_99_5 -10.0",
    ),
    "no mean": (lambda f: f.intensities.update(mean=float("nan")), "mean nan"),
    "no deviation": (lambda f: f.intensities.update(std=float("nan")), "std nan"),
    "infinite percentile": (
        lambda f: f.intensities.update(percentile_99_5=float("inf")),
        "percentile_99_5 inf",
    ),
    "labels of v1": (
        lambda f: f.dataset.update(labels={"0": "background", "1": "liver"}),
        "dataset.json gives its labels as nnU-Net v1 did",
    ),
    "no channels": (lambda f: f.dataset.pop("channel_names"), "dataset.json lacks or garble"),
    "no labels": (lambda f: f.dataset.pop("labels"), "dataset.json lacks or garble 'labels'"),
    "gap in labels": (
        lambda f: f.dataset.update(labels={"background": 0, "liver": 1, "tumour": 3}),
        "without a gap",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_unsupported_settings_are_refused_in_one_line(model_folder, what):
    bend, words = REFUSED[what]
    folder = model_folder()
    bend(folder)
    with pytest.raises(KitError) as refusal:
        planned(folder)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def leaves(table, path=()):
    """Yield the way to everything in a table of tables and lists."""
    rows = table.items() if isinstance(table, dict) else enumerate(table)
    for key, value in rows:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))


@pytest.mark.parametrize("file", ["plans", "dataset"])
@pytest.mark.parametrize("value", [None, "x", -1, float("nan")], ids=repr)
def test_whatever_is_wrong_in_a_result_folder_is_said_in_one_line(model_folder, file, value):
    folder = model_folder()
    whole = getattr(folder, file)
    refused = 0
    for *parents, last in leaves(whole):
        table = bent = copy.deepcopy(whole)
        for key in parents:
            table = table[key]
        table[last] = value
        try:
            built(replace(folder, **{file: bent}))
        except KitError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused >= 3


def test_modality_of_v1_is_read_as_nnunet_does(model_folder):
    folder = model_folder()
    folder.dataset["modality"] = folder.dataset.pop("channel_names")
    assert planned(folder).labels == {"liver": 1, "tumour": 2}


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."]
)
def test_checkpoint_is_read_without_unpickling(model_folder, prefix):
    from train.export.checkpoint import load_checkpoint

    folder = model_folder()
    weights = folder.checkpoint["network_weights"]
    folder.checkpoint["network_weights"] = {f"{prefix}{k}": w for k, w in weights.items()}
    checkpoint = load_checkpoint(folder.write() / "fold_all/checkpoint_final.pth")
    assert checkpoint.weights.keys() == weights.keys()
    assert (checkpoint.epochs, checkpoint.mirror_axes) == (12, (1, 2))
    assert len(checkpoint.sha256) == 64


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, -1])
def test_weights_that_are_no_numbers_are_named(model_folder, place, value):
    from train.export.checkpoint import load_checkpoint

    folder = model_folder()
    name, weight = list(folder.checkpoint["network_weights"].items())[place]
    weight.view(-1)[-1] = value
    path = folder.write() / "fold_all/checkpoint_final.pth"
    with pytest.raises(KitError, match=f"weight {name} holds NaN or infinity") as refusal:
        load_checkpoint(path)
    assert "onnxruntime" not in str(refusal.value)


def test_a_patch_that_the_layers_do_not_take_is_refused(model_folder):
    from train.export.onnx_graph import exported_program

    folder = model_folder()
    folder.fullres["patch_size"] = [2, 4, 4]  # one voxel in the deepest stage: no norm of it
    with pytest.raises(KitError, match=r"the network takes no patch of \(2, 4, 4\): ") as refusal:
        exported_program(built(folder), planned(folder).patch)
    assert "\n" not in str(refusal.value)


def test_no_mirroring_is_no_axes(model_folder):
    from train.export.checkpoint import load_checkpoint

    folder = model_folder()
    folder.checkpoint["inference_allowed_mirroring_axes"] = None
    assert load_checkpoint(folder.write() / "fold_all/checkpoint_final.pth").mirror_axes == ()


class Stranger:
    """An object that only unpickling can load."""


def test_checkpoint_with_strange_objects_needs_trust(model_folder):
    from train.export.checkpoint import load_checkpoint

    folder = model_folder()
    folder.checkpoint["init_args"]["extra"] = pickle.PickleError("strange")
    path = folder.write() / "fold_all/checkpoint_final.pth"
    with pytest.raises(KitError, match="--trust-checkpoint"):
        load_checkpoint(path)
    assert load_checkpoint(path, trusted=True).epochs == 12


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 truncated"])
def test_damaged_checkpoint_is_said_in_one_line(tmp_path, content):
    from train.export.checkpoint import load_checkpoint

    path = tmp_path / "checkpoint_final.pth"
    path.write_bytes(content)
    with pytest.raises(KitError, match="checkpoint_final"):
        load_checkpoint(path)


def test_weights_of_another_network_are_refused(model_folder):
    folder = model_folder()
    folder.fullres["architecture"]["arch_kwargs"]["features_per_stage"] = [8, 16, 24]
    with pytest.raises(KitError, match="not of the plans' network"):
        built(folder)


@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_onnx_says_what_torch_says(model_folder, tmp_path, network):
    from train.export.onnx_graph import exported_program, write_onnx

    network = built(model_folder(network))
    path = tmp_path / "network.onnx"
    write_onnx(exported_program(network, PATCH), path, f16_storage=False)
    patches = noise(PATCH)
    with torch.inference_mode():
        expected = network(torch.from_numpy(patches)).numpy()
    assert expected.shape == (1, 3, *PATCH)
    # float32 sums in another order: 1e-5 of logits around 1
    np.testing.assert_allclose(run_onnx(path, patches), expected, atol=1e-5)


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("network", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_what_is_exported_can_be_built_for_a_gpu(model_folder, tmp_path, network, axes):
    from inference.builders.half_graph import half_graph
    from train.export.onnx_graph import exported_program, write_onnx

    trt = pytest.importorskip("tensorrt_rtx_bindings")
    path = tmp_path / "network.onnx"
    write_onnx(exported_program(built(model_folder(network), axes), PATCH), path, f16_storage=False)
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    typed = builder.create_network(0)
    parser = trt.OnnxParser(typed, trt.Logger(trt.Logger.ERROR))
    assert parser.parse(half_graph(path)), parser.get_error(0).desc()
    layers = [typed.get_layer(number) for number in range(typed.num_layers)]
    kinds = {(layer.type.name, layer.get_output(0).dtype.name) for layer in layers}
    assert {("CONVOLUTION", "HALF"), ("NORMALIZATION", "FLOAT")} <= kinds
    assert not {("CONVOLUTION", "FLOAT"), ("NORMALIZATION", "HALF")} & kinds
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    assert builder.build_serialized_network(typed, config).nbytes > 1000


def test_onnx_holds_no_paths_and_no_unused_heads_and_is_repeatable(model_folder, tmp_path):
    from train.export.onnx_graph import exported_program, write_onnx

    program = exported_program(built(model_folder()), PATCH)
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    write_onnx(program, first, f16_storage=False)
    write_onnx(program, second, f16_storage=False)
    content = first.read_bytes()
    assert content == second.read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content
    heads = [t.name for t in onnx.load(first).graph.initializer if "seg_layers" in t.name]
    assert {name.split(".")[-2] for name in heads} == {"1"}  # of two, the full-resolution one


def test_f16_storage_is_the_rounded_network_exactly(model_folder, tmp_path):
    from train.export.network import round_to_f16
    from train.export.onnx_graph import exported_program, write_onnx

    network = built(model_folder())
    full, half = tmp_path / "full.onnx", tmp_path / "half.onnx"
    round_to_f16(network)
    program = exported_program(network, PATCH)
    write_onnx(program, full, f16_storage=False)
    write_onnx(program, half, f16_storage=True)
    kinds = {t.data_type for t in onnx.load(half).graph.initializer}
    assert kinds == {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
    assert half.stat().st_size < 0.7 * full.stat().st_size
    np.testing.assert_array_equal(run_onnx(half, noise(PATCH)), run_onnx(full, noise(PATCH)))


def test_weights_too_large_for_f16_are_refused(model_folder):
    from train.export.network import round_to_f16

    network = built(model_folder())
    with torch.no_grad():
        max(network.parameters(), key=torch.numel)[0] = 1e5
    with pytest.raises(KitError, match="--storage f32"):
        round_to_f16(network)


@pytest.mark.parametrize("axes", [(2, 0, 1), (1, 0, 2)])
def test_transposed_network_takes_image_axes(model_folder, axes):
    folder = model_folder()
    in_network = noise(PATCH)
    with torch.inference_mode():
        expected = built(folder)(torch.from_numpy(in_network)).numpy()
        back = [2 + axes.index(axis) for axis in range(3)]
        in_image = torch.from_numpy(in_network.transpose(0, 1, *back).copy())
        logits = built(folder, axes)(in_image).numpy()
    np.testing.assert_array_equal(logits.transpose(0, 1, *(2 + axis for axis in axes)), expected)


def test_importing_the_export_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        import train.export.network  # noqa: F401
