"""Write a network as one ONNX file: static shapes, no trace of the exporting machine."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from imaging.errors import KitError
from inference.engines import one_line
from train.export.network import F16_MIN_ELEMENTS

INPUT = "patches"
OUTPUT = "logits"


def exported_program(
    network: torch.nn.Module, patch: tuple[int, int, int]
) -> torch.export.ExportedProgram:
    """Trace `network` for one float32 patch [1, 1, *patch].

    Raises:
        KitError: It does not take such a patch.
    """
    example = torch.zeros((1, 1, *patch))
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's own deprecations
            program = torch.export.export(network, (example,), strict=False)
    except Exception as error:  # whatever its layers raise
        raise KitError(f"the network takes no patch of {patch}: {one_line(error)[:300]}") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # holds the paths of this machine
    return program


def write_onnx(program: torch.export.ExportedProgram, path: Path, *, f16_storage: bool) -> int:
    """Write `program` to `path` as ONNX, its weights inside.

    Args:
        program: A traced network with one input and one output.
        path: The file to write.
        f16_storage: Store large weights that float16 holds exactly as float16, with a Cast to
            float32 before their use.

    Returns:
        The version of the ONNX operator set.
    """
    with _quiet_exporter():
        made = torch.onnx.export(
            program,
            dynamo=True,
            external_data=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    if made is None:
        raise KitError("torch's ONNX exporter gave nothing back")
    model: onnx.ModelProto = made.model_proto
    _strip_metadata(model)
    if f16_storage:
        _store_as_f16(model.graph)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return max(int(entry.version) for entry in model.opset_import if entry.domain == "")


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _strip_metadata(model: onnx.ModelProto) -> None:
    """Remove stack traces and module names: they hold paths, and make equal networks differ."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.initializer, *graph.value_info):
        item.doc_string = ""
        del item.metadata_props[:]
    for value in (*graph.input, *graph.output):
        value.doc_string = ""
        del value.metadata_props[:]


def _store_as_f16(graph: onnx.GraphProto) -> None:
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < F16_MIN_ELEMENTS:
            continue
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.array_equal(halves.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(halves, f"{name}_f16"))
        casts.append(helper.make_node("Cast", [f"{name}_f16"], [name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
