"""`benchmarks localiser`: what the box loses and leaves out, of CTs and generated bodies."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.cli import main
from inference.manifest import LOCALISER, Intensity, LocaliserSpec
from tests.conftest import PATCH, weights_file

pytest.importorskip("onnx")
pytest.importorskip("openvino")
SPEC = LocaliserSpec(
    spacing_mm=(8.0, 8.0, 8.0),
    intensity=Intensity((-1000.0, 400.0), 100.0, 10.0),
    patch=PATCH,
    step=1.0,
    margin_mm=8.0,
    least_certainty=0.6,
)


@pytest.fixture
def manifest(network):
    """The tiny network with itself as the localiser: an organ is what has 200 HU."""
    plain = network()
    onnx = weights_file(plain.weights("onnx"))
    path = plain.folder / "weights_manifest.json"
    replace(plain, files={"onnx": onnx, LOCALISER: onnx}, localiser=SPEC).write(path)
    return path


def test_the_table_has_what_is_lost_and_left_out(manifest, write_ct, tmp_path):
    hu = np.full((40, 40, 40), -1000, np.int16)
    hu[:, 4:36, 4:36] = 40
    hu[16:24, 16:24, 16:24] = 200
    labels = (hu == 200).astype(np.uint8)
    labels[38, 20, 20] = 1
    write_ct(tmp_path / "ct/a_0000.nii.gz", hu, spacing_mm=(4.0, 4.0, 4.0))
    write_ct(tmp_path / "truth/a.nii.gz", labels, spacing_mm=(4.0, 4.0, 4.0))
    arguments = ["localiser", tmp_path / "ct", tmp_path / "truth", "--manifest", manifest]
    arguments += ["--bodies", 0, "-o", tmp_path / "table.json"]
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["localiser"]["margin_mm"] == 8.0
    [case] = table["cases"]
    assert (case["case"], case["labels_of"], case["localiser"]) == ("a", "truth", "organs")
    # The body's box is 40 x 36 x 36 voxels, the organ's 8 and the margin of 2 on either side.
    assert case["share_of_body"] == round(12**3 / (40 * 36 * 36), 3)
    assert case["least_share"] == round(23 * 8 * 8 / (40 * 36 * 36), 3)
    assert case["lost_ml"] == 0.064
    assert case["cpu_ms"] > 0


def test_bodies_are_generated(manifest, tmp_path):
    coarse = replace(SPEC, spacing_mm=(48.0, 48.0, 48.0))
    table = json.loads(manifest.read_text())
    table["localiser"]["spacing_mm"] = list(coarse.spacing_mm)
    manifest.write_text(json.dumps(table))
    (tmp_path / "ct").mkdir()
    arguments = ["localiser", tmp_path / "ct", "--manifest", manifest, "--bodies", 1]
    arguments += ["-o", tmp_path / "table.json"]
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    [case] = json.loads((tmp_path / "table.json").read_text())["cases"]
    assert (case["case"], case["labels_of"]) == ("body 0", "generated")
