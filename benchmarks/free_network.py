"""A network that costs nothing, one convolution of one voxel, in a bundle for `inference`."""

from pathlib import Path

import numpy as np

from imaging.geometry import Shape, SpacingMm
from imaging.organs import ORGANS
from inference.manifest import Intensity, Manifest, WeightsFile, WindowSpec

_FIRST_HU, _STEP_HU = -1000.0, 90.0
"""Background's intensity, and what lies between those of two classes."""


def write_free_network(folder: Path, patch: Shape, spacing_mm: SpacingMm) -> None:
    """Write a bundle whose network gives a voxel the class with the nearest intensity.

    With c the classes' intensities, logit k is c x - c² / 2 = (x² - (x - c)²) / 2: largest where x
    is nearest.

    Args:
        folder: Must exist.
        patch: Voxels (Z, Y, X) of a window.
        spacing_mm: Of the working grid.

    Raises:
        KitError: A file cannot be written.
    """
    import onnx

    count = len(ORGANS) + 1
    centers = (np.arange(count, dtype=np.float32) * _STEP_HU + _FIRST_HU) / 100
    tensors = {"weight": centers.reshape(-1, 1, 1, 1, 1), "bias": -(centers**2) / 2}
    shapes = {"patches": [1, 1, *patch], "logits": [1, count, *patch]}
    given, made = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    node = onnx.helper.make_node("Conv", ["patches", "weight", "bias"], ["logits"])
    values = [onnx.numpy_helper.from_array(array, name) for name, array in tensors.items()]
    graph = onnx.helper.make_graph([node], "free", [given], [made], values)
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    path = folder / "weights.onnx"
    path.write_bytes(model.SerializeToString())
    Manifest(
        name="free",
        files={"onnx": WeightsFile.of(path, path.name)},
        orientation="LPS",
        spacing_mm=spacing_mm,
        crop="body",
        intensity=Intensity((-1000.0, 400.0), 0.0, 100.0),
        window=WindowSpec(patch, 0.5, "gaussian", "none", (0, 1, 2)),
        labels=ORGANS,
        postprocess=(),
        provenance={"what": "a network that costs nothing, to measure all else"},
    ).write(folder / "weights_manifest.json")
