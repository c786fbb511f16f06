"""An ONNX network as a torch module: its nodes in their order, without nnU-Net."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper
from torch.nn import functional

from imaging.errors import EngineError

Tensor = torch.Tensor
Call = Callable[..., Tensor]
NORM = "InstanceNormalization"


@dataclass(frozen=True)
class _Step:
    """One node: a function, the names of what it takes and gives, and what is not needed after."""

    call: Call
    inputs: tuple[str, ...]
    output: str
    done: tuple[str, ...]


class TorchNetwork(torch.nn.Module):
    """Maps float32 [N, 1, Z, Y, X] to float32 logits [N, K, Z, Y, X].

    In half precision everything is float16 but the weights and the sums of the norms, as under
    nnU-Net's autocast.
    """

    def __init__(self, path: Path, *, half: bool) -> None:
        """Read the network at `path`.

        Raises:
            EngineError: It is no ONNX network, has operators that are not known here, or weights
                that float16 cannot hold.
        """
        super().__init__()
        graph = _graph_of(path)
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._dtype = torch.float16 if half else torch.float32
        self._weights: dict[str, str] = {}
        nodes, stored = _without_casts(graph)
        norms = {name for node in nodes if node.op_type == NORM for name in node.input[1:]}
        for number, (name, values) in enumerate(stored.items()):
            dtype = torch.float32 if name in norms else self._dtype
            self._weights[name] = f"weight_{number}"
            self.register_buffer(self._weights[name], _converted(values, dtype, name))
        try:
            self._steps = list(_steps(nodes, self._output))
        except EngineError as error:
            message = f"torch cannot run {path.name}: {error}; use --engine openvino"
            raise EngineError(message) from error

    def forward(self, patches: Tensor) -> Tensor:
        """Map float32 [N, 1, Z, Y, X] to float32 logits [N, K, Z, Y, X]."""
        values = {name: getattr(self, buffer) for name, buffer in self._weights.items()}
        values[self._input] = patches.to(self._dtype)
        for step in self._steps:
            values[step.output] = step.call(*(values[name] for name in step.inputs))
            for name in step.done:
                del values[name]
        logits: Tensor = values[self._output].float()
        return logits


def _graph_of(path: Path) -> onnx.GraphProto:
    try:
        graph = onnx.load(path).graph
    except (OSError, DecodeError) as error:
        raise EngineError(f"torch cannot load {path.name}: it is no ONNX network") from error
    if len(graph.input) != 1 or len(graph.output) != 1:
        found = f"{len(graph.input)} in, {len(graph.output)} out"
        raise EngineError(f"torch cannot load {path.name}: {found}; one patch in, logits out")
    return graph


def _without_casts(graph: onnx.GraphProto) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """Return the nodes that compute, and the weights under the names that these use."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]]
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    return nodes, {name: values for name, values in stored.items() if name in used}


def _converted(values: "np.ndarray[Any, Any]", dtype: torch.dtype, name: str) -> Tensor:
    weight = torch.from_numpy(np.array(values)).to(dtype)
    if not torch.isfinite(weight).all():
        raise EngineError(f"{name} has weights beyond {dtype}; use --precision f32")
    return weight


def _steps(nodes: list[onnx.NodeProto], output: str) -> Iterator[_Step]:
    """Yield the nodes as calls; each result is let go after its last use."""
    made = {node.output[0] for node in nodes} - {output}
    last = {name: number for number, node in enumerate(nodes) for name in node.input}
    for number, node in enumerate(nodes):
        done = tuple(n for n in dict.fromkeys(node.input) if n in made and last[n] == number)
        yield _Step(_call(node), tuple(filter(None, node.input)), node.output[0], done)


def _call(node: onnx.NodeProto) -> Call:
    """Return the torch function of a node, with the node's attributes set."""
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if node.op_type not in _CALLS:
        raise EngineError(f"operator {node.op_type} is not known to it")
    call, given = _CALLS[node.op_type], _Attributes(node.op_type, attributes)
    made = call(given)
    given.refuse_unread()
    return made


class _Attributes:
    """A node's attributes; one that no one reads, or that torch cannot do, is refused."""

    def __init__(self, operator: str, values: dict[str, Any]) -> None:
        self._operator, self._left = operator, dict(values)

    def take(self, name: str, default: Any) -> Any:
        """Return an attribute, a list of numbers as a tuple."""
        value = self._left.pop(name, default)
        return tuple(value) if isinstance(value, list) else value

    def expect(self, name: str, *allowed: Any) -> None:
        """Check that an attribute, if it is there, has one of some values."""
        if (value := self.take(name, allowed[0])) not in allowed:
            raise EngineError(f"{self._operator} with {name} {value}")

    def padding(self) -> tuple[int, ...]:
        """Return how far each axis is padded, which must be the same at both ends."""
        self.expect("auto_pad", b"NOTSET", b"VALID")
        pads = self.take("pads", (0,) * 6)
        if pads[:3] != pads[3:]:
            raise EngineError(f"{self._operator} with pads {pads}")
        return tuple(pads[:3])

    def refuse_unread(self) -> None:
        """Check that nothing is left.

        Raises:
            EngineError: An attribute is not known here.
        """
        for name, value in self._left.items():
            raise EngineError(f"{self._operator} with {name} {value}")


def _strided(given: _Attributes) -> dict[str, Any]:
    given.take("kernel_shape", ())  # the weights have it
    return {
        "stride": given.take("strides", (1, 1, 1)),
        "padding": given.padding(),
        "dilation": given.take("dilations", (1, 1, 1)),
        "groups": given.take("group", 1),
    }


def _transposed_conv(given: _Attributes) -> Call:
    more = {"output_padding": given.take("output_padding", (0, 0, 0))}
    return partial(functional.conv_transpose3d, **_strided(given), **more)


def _norm(given: _Attributes) -> Call:
    eps = given.take("epsilon", 1e-5)
    return lambda x, weight, bias: functional.instance_norm(x, None, None, weight, bias, eps=eps)


def _pool(function: Call, **always: Any) -> Callable[[_Attributes], Call]:
    def call(given: _Attributes) -> Call:
        size = given.take("kernel_shape", ())
        given.expect("ceil_mode", 0)
        given.expect("storage_order", 0)
        given.expect("dilations", (1, 1, 1))
        given.take("count_include_pad", 0)  # there is no padding
        if any(given.padding()):
            raise EngineError("pooling with padding")
        return partial(function, kernel_size=size, stride=given.take("strides", size), **always)

    return call


def _concat(given: _Attributes) -> Call:
    axis = given.take("axis", 1)
    return lambda *parts: torch.cat(parts, axis)


_CALLS: dict[str, Callable[[_Attributes], Call]] = {
    "Add": lambda given: torch.add,
    "AveragePool": _pool(functional.avg_pool3d),
    "Concat": _concat,
    "Conv": lambda given: partial(functional.conv3d, **_strided(given)),
    "ConvTranspose": _transposed_conv,
    "Identity": lambda given: lambda x: x,
    NORM: _norm,
    "LeakyRelu": lambda given: partial(
        functional.leaky_relu, negative_slope=given.take("alpha", 0.01)
    ),
    "MaxPool": _pool(functional.max_pool3d),
    "Relu": lambda given: torch.relu,
    "Transpose": lambda given: partial(torch.permute, dims=given.take("perm", ())),
}
"""By ONNX operator: what makes the torch function of a node's attributes."""
