"""The float16 network of which plans are made."""

from pathlib import Path

import numpy as np
import pytest

from imaging.errors import EngineError
from inference.manifest import load_manifest
from tests.inference.normed_network import normed_network

onnx = pytest.importorskip("onnx")
ROOT = Path(__file__).parents[2]


def half(path):
    from inference.builders.half_graph import half_graph

    return half_graph(path)


def operators(serialized):
    from onnx import TensorProto

    names = []
    for node in onnx.load_from_string(serialized).graph.node:
        to = [TensorProto.DataType.Name(entry.i) for entry in node.attribute if entry.name == "to"]
        names.append(" ".join([node.op_type, *to]))
    return names


@pytest.mark.parametrize("stored_as_f16", [False, True])
def test_norms_are_float32_between_casts_and_nothing_else_is(tmp_path, stored_as_f16):
    made = half(normed_network(tmp_path / "net.onnx", stored_as_f16=stored_as_f16))
    assert operators(made) == [
        "Cast FLOAT16",
        "Conv",
        "Cast FLOAT",
        "InstanceNormalization",
        "Cast FLOAT16",
        "LeakyRelu",
        "Conv",
        "Cast FLOAT",
    ]
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor)
               for tensor in onnx.load_from_string(made).graph.initializer}  # fmt: skip
    assert {name: array.dtype.name for name, array in weights.items()} == {
        "first": "float16", "last": "float16", "scale": "float32", "shift": "float32"
    }  # fmt: skip
    assert weights["shift"][1] == np.float32(-1e-5)  # float16 would make it -1.0014e-05


def test_the_same_network_gives_the_same_bytes(tmp_path):
    path = normed_network(tmp_path / "net.onnx")
    assert half(path) == half(path)


def test_the_default_weights_can_be_made_float16():
    manifest = load_manifest(ROOT / "weights_manifest.json")
    found = operators(half(manifest.weights("onnx")))
    norms = found.count("InstanceNormalization")
    assert norms > 10
    # one before and one behind every norm, one at either end; none of the storage's
    assert (found.count("Cast FLOAT"), found.count("Cast FLOAT16")) == (norms + 1, norms + 1)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"weight": 70000.0}, "first has weights beyond float16's 65504"),
        ({"weight": float("nan")}, "first has weights beyond float16's 65504"),
        ({"operator": "Softmax"}, "cannot be made float16: Softmax"),
    ],
)
def test_what_float16_cannot_do_is_refused(tmp_path, changes, complaint):
    with pytest.raises(EngineError, match=complaint):
        half(normed_network(tmp_path / "net.onnx", **changes))


def test_a_damaged_network_is_refused(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(EngineError, match=r"net\.onnx is no ONNX network"):
        half(path)
