"""8-bit weights on the way to the archive; the bundle that was given stays as it was."""

import json
from pathlib import Path

import pytest

from tests.train.package.test_package import fake, files_in, package, refused

pytest.importorskip("nncf")
pytest.importorskip("torch")

from tests.train.export.test_int8 import bundle
from train.export import int8

__all__ = ["bundle", "fake"]  # fixtures

pytestmark = pytest.mark.slow


def words(folder):
    images = folder / "images"
    data = ("--calibrate", images / "a_0000.nii.gz", "--images", images, "--truth")
    return folder, "-o", "team.tar.gz", *data, folder / "truth"


def test_the_image_gets_both(fake, bundle, monkeypatch):
    monkeypatch.setattr(int8, "MOST_LOST", 0.05)  # of random weights
    given = (bundle / "weights_manifest.json").read_bytes()
    done = package(*words(bundle))
    assert done.exit_code == 0, done.output
    assert files_in(fake / "context/weights") == {"small.onnx", "small_int8.bin", "small_int8.xml"}
    step = json.loads(Path("team_package/package.json").read_text())["steps"][1]
    assert (step["name"], step["outcome"]) == ("quantize", "done")
    assert step["found"].endswith("1.0000 before, on 1 CT")
    assert (bundle / "weights_manifest.json").read_bytes() == given


def test_where_they_lose_too_much_nothing_is_built(fake, bundle, monkeypatch):
    monkeypatch.setattr(int8, "MOST_LOST", -0.5)
    assert refused(*words(bundle)).startswith("int8 loses ")
    assert not (fake / "context").exists()
