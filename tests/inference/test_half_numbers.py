"""What float16 does to the logits, with every tensor rounded to the type that the graph gives it.

ONNX Runtime will not do for this: on a CPU it drops the casts and computes in float32 throughout.
"""

from pathlib import Path

import numpy as np
import pytest

from inference.builders.tensorrt_parity import fullest_patch, logit_errors
from inference.engines import EngineOptions, open_engine
from inference.manifest import load_manifest
from inference.predictor import Predictor
from inference.settings import Settings

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]
TYPES = {onnx.TensorProto.FLOAT: torch.float32, onnx.TensorProto.FLOAT16: torch.float16}


def computed(kind, given, attributes):
    """One operator in float32, as a GPU adds up products of float16."""
    f = torch.nn.functional
    if kind == "Conv":
        before, behind = attributes["pads"][:3], attributes["pads"][3:]
        around = [n for pair in zip(before[::-1], behind[::-1], strict=True) for n in pair]
        return f.conv3d(f.pad(given[0], around), *given[1:], stride=attributes["strides"])
    if kind == "ConvTranspose":
        return f.conv_transpose3d(*given, stride=attributes["strides"])
    if kind == "InstanceNormalization":
        image, scale, shift = given
        return f.instance_norm(image, weight=scale, bias=shift, eps=attributes["epsilon"])
    if kind == "LeakyRelu":
        return f.leaky_relu(given[0], attributes["alpha"])
    assert kind == "Concat"
    return torch.cat(given, attributes["axis"])


def run(serialized, patch):
    """Run a graph, float32 [1, 1, Z, Y, X] to float32 [1, K, Z, Y, X]; every tensor as declared."""
    graph = onnx.load_from_string(serialized).graph
    values = {
        tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        for tensor in graph.initializer
    }
    values[graph.input[0].name] = torch.from_numpy(patch)
    for node in graph.node:
        given = [values[name] for name in node.input]
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Cast":
            answer = given[0].to(TYPES[attributes["to"]])
        else:
            [kind] = {tensor.dtype for tensor in given}  # strongly typed: one type in, the same out
            floats = [tensor.float() for tensor in given]
            answer = computed(node.op_type, floats, attributes).to(kind)
        values[node.output[0]] = answer
    return values[graph.output[0].name].numpy()


@pytest.mark.data
@pytest.mark.slow
def test_float16_changes_one_label_in_ten_thousand_of_the_default_weights(data_dir):
    from inference.builders.half_graph import half_graph

    manifest = load_manifest(ROOT / "weights_manifest.json")
    with open_engine("openvino", manifest, EngineOptions(precision="f32")) as engine:
        case = data_dir / "ct" / "CHAOS_3_0000.nii.gz"
        patch = fullest_patch(Predictor(manifest, engine, Settings()), manifest, case)
        reference = engine.infer(patch).copy()
    with torch.inference_mode():
        rms, _, labels = logit_errors(reference, run(half_graph(manifest.weights("onnx")), patch))
    # measured: 3e-4 and 5e-5; a tenth of either is more than float32 alone can differ by
    assert 3e-5 < rms < 1e-3
    assert labels > 0.9998
    assert reference.argmax(axis=1).any()


def test_a_norm_in_float16_would_overflow_where_ours_does_not(tmp_path):
    """Values ±300 have a variance of 90,000, beyond float16's 65,504; normalized they are ±1."""
    from inference.builders.half_graph import half_graph

    helper, shape = onnx.helper, (1, 1, 2, 2, 2)
    graph = helper.make_graph(
        [helper.make_node("InstanceNormalization", ["patches", "scale", "shift"], ["logits"])],
        "norm",
        [helper.make_tensor_value_info("patches", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, shape)],
        [
            onnx.numpy_helper.from_array(np.float32([value]), name)
            for name, value in (("scale", 1), ("shift", 0))
        ],
    )
    graph.node[0].attribute.append(helper.make_attribute("epsilon", 1e-5))
    opset = [helper.make_opsetid("", 17)]
    path = tmp_path / "norm.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    )
    patch = np.where(np.arange(8).reshape(shape) % 2, 300, -300).astype(np.float32)
    assert 300**2 > float(np.finfo(np.float16).max)
    np.testing.assert_array_equal(run(half_graph(path), patch), np.sign(patch))
