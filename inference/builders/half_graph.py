"""Convert a float32 ONNX network to float16, with its norms in float32.

TensorRT 11 supports only strongly typed networks: the graph sets the precision. A norm in float16
overflows if a channel's variance does; the network then returns background or NaN.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from imaging.errors import EngineError

HALF = frozenset(
    {
        "Add", "AveragePool", "Concat", "Conv", "ConvTranspose", "Identity", "LeakyRelu",
        "MaxPool", "Relu", "Transpose",
    }
)  # fmt: skip
"""Operators that run in float16; none has an input that must be float32."""
NORM = "InstanceNormalization"


def half_graph(path: Path) -> bytes:
    """Return the float32 network at `path` as a float16 one; the same bytes for the same bytes.

    Input and output stay float32, with a cast at either end. Weights are rounded to float16. Every
    instance norm has a cast to float32 before it and one to float16 behind it, and keeps its own
    weights as they are.

    Returns:
        A serialized ONNX model.

    Raises:
        EngineError: The file is not such a network, or a weight is out of float16's range.
    """
    try:
        model = onnx.load(path)
    except (OSError, DecodeError) as error:
        raise EngineError(f"{path.name} is no ONNX network that can be read: {error}") from error
    graph = model.graph
    unknown = {node.op_type for node in _computing(graph)} - HALF - {NORM}
    if unknown or len(graph.input) != 1 or len(graph.output) != 1:
        found = ", ".join(sorted(unknown)) or f"{len(graph.input)} in, {len(graph.output)} out"
        raise EngineError(f"{path.name} cannot be made float16: {found}; one patch in, logits out")
    made = helper.make_model(
        helper.make_graph(
            list(_nodes(graph)), graph.name, graph.input, graph.output, list(_weights(graph))
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
    )
    onnx.checker.check_model(made, full_check=True)
    serialized: bytes = made.SerializeToString(deterministic=True)
    return serialized


def _stored_casts(graph: onnx.GraphProto) -> dict[str, str]:
    """Return the names of weights in the graph, by the names of their float16 copies."""
    names = {tensor.name for tensor in graph.initializer}
    casts = (node for node in graph.node if node.op_type == "Cast" and node.input[0] in names)
    return {node.input[0]: node.output[0] for node in casts}


def _computing(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    stored = set(_stored_casts(graph).values())
    return (node for node in graph.node if node.output[0] not in stored)


def _weights(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield weights under the names that the graph uses: a norm's float32, all others float16."""
    norms = {name for node in graph.node if node.op_type == NORM for name in node.input[1:]}
    casts = _stored_casts(graph)
    for tensor in graph.initializer:
        name, values = casts.get(tensor.name, tensor.name), numpy_helper.to_array(tensor)
        stored = values.astype(np.float32) if name in norms else _halved(values, name)
        yield numpy_helper.from_array(stored, name)


def _halved(values: NDArray[np.floating], name: str) -> NDArray[np.float16]:
    if not np.abs(values).max(initial=0) <= np.finfo(np.float16).max:
        raise EngineError(f"{name} has weights beyond float16's 65504; use --engine openvino")
    return values.astype(np.float16)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the graph's nodes with casts around those in float32."""
    patches, logits = graph.input[0].name, graph.output[0].name
    yield _cast(patches, f"{patches}_f16", TensorProto.FLOAT16)
    renamed = {patches: f"{patches}_f16", logits: f"{logits}_f16"}
    for node in _computing(graph):
        made = onnx.NodeProto()
        made.CopyFrom(node)
        made.input[:] = [renamed.get(name, name) for name in node.input]
        made.output[:] = [renamed.get(name, name) for name in node.output]
        if node.op_type != NORM:
            yield made
            continue
        before, behind = made.input[0], made.output[0]
        made.input[0], made.output[0] = f"{behind}_in_f32", f"{behind}_f32"
        yield _cast(before, made.input[0], TensorProto.FLOAT)
        yield made
        yield _cast(made.output[0], behind, TensorProto.FLOAT16)
    yield _cast(renamed[logits], logits, TensorProto.FLOAT)


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=to)
