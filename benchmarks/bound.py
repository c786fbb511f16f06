"""The least time of one window: its work at the rate at which this CPU multiplies matrices."""

import math
import os
from pathlib import Path
from statistics import median
from timeit import repeat

import numpy as np
import onnx
import openvino as ov
from openvino import opset13 as ops
from rich.table import Table

from imaging.errors import EngineError
from imaging.fitted_tables import show_table
from imaging.machine import cpu_name
from imaging.records import write_json
from imaging.terminal import terminal
from inference.engines import EngineOptions, Precision, open_engine
from inference.limits import seconds_a_patch
from inference.manifest import Manifest, load_manifest

_SIDE = 4096
"""Of the matrices; large enough that two cores reach their rate."""
_RUNS = 7
_PRECISIONS: tuple[Precision, ...] = ("f32", "bf16", "int8")


def benchmark_bound(manifest: Path, output: Path) -> None:
    """Measure the matrix rate and one window by precision, print, and write `output` as JSON.

    Args:
        manifest: The network.
        output: JSON file.

    Raises:
        KitError: The network cannot be opened.
    """
    described = load_manifest(manifest)
    work = flop(described.weights("onnx"))
    rows = {}
    for precision in _PRECISIONS:
        try:
            window_s = _window_s(described, precision)
        except EngineError:
            continue  # no such instructions, or no such weights
        rate = _matrix_rate(precision)
        rows[precision] = {
            "matrix_gflop_s": round(rate / 1e9, 1),
            "bound_s": round(work / rate, 4),
            "window_s": round(window_s, 4),
            "share_of_bound": round(work / rate / window_s, 3),
        }
    result = {
        "cpu": cpu_name(),
        "threads": len(os.sched_getaffinity(0)),
        "network": described.name,
        "patch": described.window.patch,
        "window_gflop": round(work / 1e9, 1),
        "precisions": rows,
    }
    write_json(result, output, indent=2)
    title = f"{described.name}: {work / 1e9:.0f} GFLOP a window of {described.window.patch}"
    table = Table("precision", "matrices, GFLOP/s", "bound s", "window s", "reached", title=title)
    for precision, row in rows.items():
        cells = (f"{row['matrix_gflop_s']:.0f}", f"{row['bound_s']:.3f}", f"{row['window_s']:.3f}")
        table.add_row(precision, *cells, f"{row['share_of_bound']:.0%}")
    show_table(table, terminal())


def flop(path: Path) -> int:
    """Return the multiplications and additions of the convolutions of an ONNX network."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    shapes |= {w.name: list(w.dims) for w in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            # Weights are [out, in / groups, *kernel], so many for each output; or, transposed,
            # [in, out / groups, *kernel], so many for each input.
            counted = node.output[0] if node.op_type == "Conv" else node.input[0]
            total += 2 * math.prod(shapes[counted]) * math.prod(shapes[node.input[1]][1:])
    return total


def _window_s(manifest: Manifest, precision: Precision) -> float:
    patch = np.random.default_rng(0).normal(size=(1, 1, *manifest.window.patch))
    with open_engine("openvino", manifest, EngineOptions(precision=precision)) as engine:
        return seconds_a_patch(engine, patch.astype(np.float32), 2 * _RUNS)


def _matrix_rate(precision: Precision) -> float:
    """Return operations a second in the product of two square matrices."""
    left = ops.parameter([_SIDE, _SIDE], ov.Type.f32)
    right = np.random.default_rng(0).normal(size=(_SIDE, _SIDE)).astype(np.float32)
    model = ov.Model([ops.matmul(left, ops.constant(right), False, False)], [left])
    if precision == "int8":
        import nncf

        model = nncf.quantize(model, nncf.Dataset([right]), subset_size=1)
    threads = len(os.sched_getaffinity(0))
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": "f32" if precision == "int8" else precision,
    }
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    request.infer([right])  # the first call is slower than the rest
    seconds = repeat(lambda: request.infer([right], share_inputs=True), repeat=_RUNS, number=1)
    return 2 * _SIDE**3 / median(seconds)
