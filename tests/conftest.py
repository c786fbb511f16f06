"""What tests of every package share: real CTs, a network worked out by hand, and small CTs."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from inference.manifest import Intensity, Manifest, WeightsFile, WindowSpec
from tests.imaging import bad_files

# No deadline: other work may share the cores. Always the same examples: failures repeat.
settings.register_profile("kit", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("kit")

ROOT = Path(__file__).parents[1]
PATCH = (4, 5, 6)
CENTERS = (0.0, 1.0, 2.0)
"""Class k wins where the normalized intensity is closest to CENTERS[k]; ties go to the lower."""


def tiny_onnx(path, patch=PATCH):
    """Write a network of one 1x1x1 convolution: logit k = c x - c² / 2 with c = CENTERS[k].

    x c - c² / 2 = (x² - (x - c)²) / 2: the largest is the class with the closest center.
    """
    onnx = pytest.importorskip("onnx")
    centers = np.array(CENTERS, dtype=np.float32)
    names = {"weight": centers.reshape(-1, 1, 1, 1, 1), "bias": -(centers**2) / 2}
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["patches", "weight", "bias"], ["logits"])],
        "tiny",
        [onnx.helper.make_tensor_value_info("patches", float32, [1, 1, *patch])],
        [onnx.helper.make_tensor_value_info("logits", float32, [1, len(CENTERS), *patch])],
        [onnx.numpy_helper.from_array(array, name) for name, array in names.items()],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    path.write_bytes(model.SerializeToString())


def weights_file(path):
    content = path.read_bytes()
    return WeightsFile(path.name, hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def network(tmp_path):
    """The manifest of the tiny network, read from disk: 0, 100, 200 HU are nothing, liver, tumour.

    Call it with fields of Manifest to change some, and with the `patch` that the ONNX file takes.
    Working grid 2 mm, stored axes, no crop.
    """
    from inference.manifest import load_manifest

    folder = tmp_path / "network"
    folder.mkdir()
    tiny_onnx(folder / "tiny.onnx")
    made = Manifest(
        name="tiny",
        files={"onnx": weights_file(folder / "tiny.onnx")},
        orientation=None,
        spacing_mm=(2.0, 2.0, 2.0),
        crop="none",
        intensity=Intensity((-1000.0, 400.0), 0.0, 100.0),
        window=WindowSpec(PATCH, 0.5, "gaussian", "none", (0, 1, 2)),
        labels={"liver": 1, "tumour": 2},
        postprocess=(),
        provenance={"what": "a network for tests"},
    )

    def written(patch=PATCH, **changes):
        if patch != PATCH:
            tiny_onnx(folder / "tiny.onnx", patch)
            changes["files"] = {"onnx": weights_file(folder / "tiny.onnx")}
        path = folder / "weights_manifest.json"
        replace(made, **changes).write(path)
        return load_manifest(path)

    return written


@pytest.fixture
def manifest_path(network):
    return network().folder / "weights_manifest.json"


@pytest.fixture
def write_ct():
    """Write an array [Z, Y, X] as NIfTI; spacing (Z, Y, X) in mm, direction as SimpleITK has it."""
    return bad_files.write_ct


@pytest.fixture
def boxes():
    """A CT of 6 x 7 x 8 voxels: air, 24 voxels of liver (100 HU), 4 of them tumour (200 HU).

    Labels are what `tiny` says of it: liver 20 voxels, tumour 4.
    """
    hu = np.full((6, 7, 8), -1000, dtype=np.int16)
    labels = np.zeros(hu.shape, dtype=np.uint8)
    hu[1:3, 2:5, 1:5], labels[1:3, 2:5, 1:5] = 100, 1
    hu[1, 2:4, 1:3], labels[1, 2:4, 1:3] = 200, 2
    return hu, labels


@pytest.fixture(scope="session")
def data_dir():
    """Folder of the real CTs: FLARE23_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("FLARE23_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "ct").is_dir():
        pytest.skip(f"no real CTs in {folder}; set FLARE23_DATA")
    return folder
