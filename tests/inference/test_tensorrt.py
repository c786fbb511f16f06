"""Plans for GPUs, built on a CPU, and the engine where there is none."""

import hashlib
import json
import logging
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from imaging.errors import EngineError
from imaging.extras import how_to_install
from inference.cli import main
from inference.engines import EngineOptions, open_engine, plan_folder
from inference.engines.tensorrt_index import (
    plans_of,
    read_plan,
)
from inference.engines.tensorrt_runtime import listener
from inference.manifest import WeightsFile, load_manifest
from tests.inference.normed_network import normed_network

onnx = pytest.importorskip("onnx")
ROOT = Path(__file__).parents[2]
RTX = "tensorrt-rtx"
TARGETS = ("sm75", "sm86", "sm89", "sm120")


@pytest.fixture
def normed(network):
    """The manifest of a network with a norm in it."""
    path = normed_network(network().folder / "normed.onnx")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return network(files={"onnx": WeightsFile(path.name, digest, path.stat().st_size)})


@pytest.fixture
def build(normed):
    def run(*options):
        manifest = str(normed.folder / "weights_manifest.json")
        return CliRunner().invoke(main, ["engine", "build", "--manifest", manifest, *options])

    return run


def test_plans_are_built_for_gpus_that_are_not_here(build, normed, monkeypatch):
    trt = pytest.importorskip("tensorrt_rtx_bindings")
    flags, set_flag = [], trt.IBuilderConfig.set_flag
    monkeypatch.setattr(
        trt.IBuilderConfig, "set_flag", lambda *given: (flags.append(given[1]), set_flag(*given))[1]
    )
    result = build("--engine", RTX, "--target", ",".join(TARGETS))
    assert result.exit_code == 0, result.output
    # without it no plan may be captured as a CUDA graph
    assert flags == [trt.BuilderFlag.REQUIRE_USER_ALLOCATION] * len(TARGETS)
    plans = plans_of(normed, RTX)
    assert sorted(p.target for p in plans) == sorted(TARGETS)
    for built in plans:
        assert len(read_plan(plan_folder(normed), built)) == built.bytes > 1000
        assert built.parity == "not checked: no GPU"
        assert built.flags["user_allocation"] == 1
        assert built.file.endswith("-u1.plan")
        layers = {name: n for name, n in built.layers.items() if not name.startswith("UNSQUEEZE")}
        assert layers == {
            "ACTIVATION HALF": 1, "CAST FLOAT": 2, "CAST HALF": 2, "CONVOLUTION HALF": 2,
            "NORMALIZATION FLOAT": 1,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        (("--engine", RTX, "--target", "sm99"), 1, "does not build for sm99; it knows sm75"),
        (("--engine", RTX), 1, "no --target is given and no GPU is here"),
        (("--engine", "tensorrt"), 1, "cannot be imported"),
        (("--engine", "openvino"), 2, "Invalid value"),
        (("--target", "sm86"), 2, "Missing option '--engine'"),
    ],
)
def test_what_cannot_be_built_is_reported_in_a_line(build, normed, options, code, complaint):
    pytest.importorskip("tensorrt_rtx_bindings")
    result = build(*options)
    assert result.exit_code == code
    assert complaint in result.output
    assert "Traceback" not in result.output
    assert not plan_folder(normed).exists()


def test_damaged_weights_build_nothing(build, normed):
    pytest.importorskip("tensorrt_rtx_bindings")
    (normed.folder / "normed.onnx").write_bytes(b"x")
    result = build("--engine", RTX, "--target", "sm86")
    assert result.exit_code == 1
    assert "the manifest says" in result.output


def test_without_onnx_it_says_what_to_install(build, normed, monkeypatch):
    pytest.importorskip("tensorrt_rtx_bindings")
    monkeypatch.delitem(sys.modules, "inference.builders.half_graph", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = build("--engine", RTX, "--target", "sm86")
    assert result.exit_code == 1
    assert how_to_install("tensorrt-build") in result.output
    assert not plan_folder(normed).exists()


def no_gpu():
    """Skip where there is a GPU; tests/gpu/ has what happens then."""
    cuda = pytest.importorskip("inference.engines.cuda")
    try:
        cuda.present_gpu()
    except EngineError:
        return
    pytest.skip("a GPU is here")


def test_without_a_driver_the_engine_says_so(normed):
    no_gpu()
    with (
        pytest.raises(EngineError, match="no NVIDIA driver; start the container with --gpus"),
        open_engine(RTX, normed, EngineOptions()),
    ):
        pass


def test_auto_takes_the_cpu_where_no_gpu_is_and_says_why(build, normed, caplog):
    no_gpu()
    pytest.importorskip("tensorrt_rtx_bindings")
    assert build("--engine", RTX, "--target", "sm86").exit_code == 0
    with (
        caplog.at_level(logging.WARNING),
        open_engine("auto", normed, EngineOptions()) as engine,
    ):
        assert engine.description["name"] == "openvino"
    [warning] = caplog.messages
    assert warning.startswith("engine tensorrt-rtx passed over: no NVIDIA driver")


def test_a_gpu_without_a_plan_is_named(normed, caplog, monkeypatch, tmp_path):
    monkeypatch.setattr("inference.engines._NVIDIA", tmp_path)
    with caplog.at_level(logging.WARNING), open_engine("auto", normed, EngineOptions()) as engine:
        assert engine.description["name"] == "openvino"
    [warning] = caplog.messages
    assert warning.startswith("the GPU is passed over: ")
    assert warning.endswith("`python -m inference engine build`, or use --engine torch")


def test_a_damaged_index_does_not_stop_the_cpu(normed, caplog):
    plan_folder(normed).mkdir()
    (plan_folder(normed) / "index.json").write_text("{")
    with caplog.at_level(logging.WARNING), open_engine("auto", normed, EngineOptions()) as engine:
        assert engine.description["name"] == "openvino"
    assert "plans passed over" in caplog.text


def test_plans_take_no_other_precision(normed):
    pytest.importorskip("cuda.bindings")
    with (
        pytest.raises(EngineError, match="plans are float16"),
        open_engine(RTX, normed, EngineOptions(precision="bf16")),
    ):
        pass


def compiled(messages):
    """(kind, types in, types out) of every compiled layer, as the builder lists them on request."""
    [listing] = [text for text in messages if text.startswith("Layers:")]
    row = r"LayerType: (\w+), Inputs: \[(.*?)\], Constants: .*?, Outputs: \[(.*?)\], TacticName"
    return [
        (kind, *(frozenset(re.findall(r"Datatype: (\w+)", side)) for side in sides))
        for kind, *sides in re.findall(row, listing)
    ]


@pytest.fixture
def output(monkeypatch):
    """Everything that the builder says while a test runs."""
    messages = []

    def talkative(trt):
        logger = listener(trt)

        class Talkative(trt.ILogger):
            errors = logger.errors

            def __init__(self):
                trt.ILogger.__init__(self)

            def log(self, severity, message):
                messages.append(message)
                logger.log(severity, message)

        return Talkative()

    monkeypatch.setattr("inference.builders.tensorrt_build.listener", talkative)
    return messages


CONVOLUTIONS, TRANSPOSED, NORMS = 23, 5, 22
"""Of 6 stages: 2 convolutions each down, 2 and a transposed one up, the head, which has no norm."""


@pytest.fixture(scope="module")
def default_size(tmp_path_factory):
    """PlainConvUNet 32…320, 15 classes, patch 48×128×160, from the exporter's ONNX."""
    pytest.importorskip("tensorrt_rtx_bindings")
    torch = pytest.importorskip("torch")
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    from train.export.onnx_graph import exported_program, write_onnx

    norm = {"norm_op": torch.nn.InstanceNorm3d, "norm_op_kwargs": {"affine": True}}
    strides = [1, (1, 2, 2), 2, 2, 2, 2]
    network = unet.PlainConvUNet(
        1, 6, [32, 64, 128, 256, 320, 320], torch.nn.Conv3d, 3, strides, 2, 15, 2,
        conv_bias=True, **norm, nonlin=torch.nn.LeakyReLU, deep_supervision=False,
    ).eval()  # fmt: skip
    path = tmp_path_factory.mktemp("default_size") / "net.onnx"
    write_onnx(exported_program(network, (48, 128, 160)), path, f16_storage=False)
    described = load_manifest(ROOT / "weights_manifest.json")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = WeightsFile(path.name, digest, path.stat().st_size)
    return replace(described, files={"onnx": file}, folder=path.parent)


def assert_types(layers):
    """Convolutions float16, norms float32, and no cast of its own that neither asks for."""
    half, floats, number = (frozenset({name}) for name in ("Half", "Float", "Int32"))
    counts = Counter(layers)
    of_weights = {key: n for key, n in counts.items() if key[0] in ("correlation", "deconv")}
    assert of_weights == {
        ("correlation", half, half): CONVOLUTIONS, ("deconv", half, half): TRANSPOSED
    }  # fmt: skip
    # a norm is a float32 function, or fused: its first kernel makes float32 of float16
    functions = counts["runtime_function", floats, floats]
    assert functions + counts["kgen", half | number, floats] == NORMS
    # a function needs a cast before it; behind every norm it goes with the activation
    assert counts["kgen", half, floats] == functions + 1  # and the logits'
    assert counts["kgen", floats, half] == NORMS + 1  # and the patch's


@pytest.mark.slow
def test_a_network_of_nnunets_default_size_is_built(
    default_size, tmp_path, output, record_property
):
    from inference.builders.tensorrt_build import Request, build_plans

    plans = []

    def check(plan):
        plans.append(plan)
        assert_types(compiled(output))
        output.clear()
        record_property(f"{plan.target}_mb", plan.bytes / 1e6)
        record_property(f"{plan.target}_s", plan.build_seconds)

    build_plans(Request(default_size, RTX, TARGETS, tmp_path / "plans"), check)
    assert [p.target for p in plans] == list(TARGETS)
    for built in plans:
        layers = {name: n for name, n in built.layers.items() if not name.startswith("UNSQUEEZE")}
        assert layers == {
            "ACTIVATION HALF": NORMS, "CAST FLOAT": NORMS + 1, "CAST HALF": NORMS + 1,
            "CONCATENATION HALF": TRANSPOSED, "CONVOLUTION HALF": CONVOLUTIONS,
            "DECONVOLUTION HALF": TRANSPOSED, "NORMALIZATION FLOAT": NORMS,
        }  # fmt: skip
        assert 60e6 < built.bytes < 90e6  # 31.2 million weights in float16


def cast_at_concatenations(serialized):
    """Let a float16 graph concatenate in float32, which nobody asks for."""
    from onnx import TensorProto, helper

    model = onnx.load_from_string(serialized)
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Concat":
            nodes.append(node)
            continue
        out, given = node.output[0], list(node.input)
        floats = [f"{name}_{out}_f32" for name in given]
        node.input[:], node.output[0] = floats, f"{out}_f32"
        for name, to in zip(given, floats, strict=True):
            nodes.append(helper.make_node("Cast", [name], [to], to=TensorProto.FLOAT))
        nodes.append(node)
        nodes.append(helper.make_node("Cast", [f"{out}_f32"], [out], to=TensorProto.FLOAT16))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["norms in float16", "convolutions in float32", "casts"])
def test_the_check_of_compiled_layers_can_fail(default_size, tmp_path, output, monkeypatch, wrong):
    from inference.builders import half_graph
    from inference.builders.tensorrt_build import Request, build_plans

    right = half_graph.half_graph
    if wrong == "casts":
        monkeypatch.setattr(half_graph, "half_graph", lambda p: cast_at_concatenations(right(p)))
    else:
        float32 = "Conv" if wrong == "convolutions in float32" else "nothing"
        monkeypatch.setattr(half_graph, "HALF", half_graph.HALF | {half_graph.NORM})
        monkeypatch.setattr(half_graph, "NORM", float32)
    build_plans(Request(default_size, RTX, ("sm86",), tmp_path / "plans"), lambda plan: None)
    with pytest.raises(AssertionError):
        assert_types(compiled(output))


def test_index_entries_are_json_that_people_can_read(build, normed):
    pytest.importorskip("tensorrt_rtx_bindings")
    assert build("--engine", RTX, "--target", "sm86").exit_code == 0
    [entry] = json.loads((plan_folder(normed) / "index.json").read_text())["plans"]
    assert entry["onnx_sha256"] == normed.files["onnx"].sha256
    assert entry["file"].startswith(f"{entry['onnx_sha256'][:16]}-tensorrt-rtx-{entry['version']}-")
