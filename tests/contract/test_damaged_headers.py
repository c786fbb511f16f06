"""A damaged header costs its own case one line; the good case beside it is always done."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imaging.label_maps import read_label_map
from imaging.volumes import write_volume
from inference.manifest import WindowSpec
from tests.conftest import network  # noqa: F401  # a fixture
from train.synthesis.phantom import phantom

pytest.importorskip("onnx")
pytest.importorskip("openvino")

ROOT = Path(__file__).parents[2]
HEADER = 352
LATEST_S = 600  # far more than it needs: a hang ends here
GOOD = "good"


def damaged(content, rng):
    """Change one to four bytes of the header, or cut the file, or its stream."""
    raw = bytearray(content)
    kind = rng.integers(4)
    if kind == 0:
        return gzip.compress(bytes(raw[: rng.integers(len(raw))]), 1, mtime=0)
    if kind == 1 and rng.random() < 0.5:
        packed = gzip.compress(bytes(raw), 1, mtime=0)
        return packed[: rng.integers(len(packed))]
    for place in rng.integers(HEADER, size=rng.integers(1, 5)):
        raw[place] = rng.integers(256) if kind == 1 else raw[place] ^ (1 << rng.integers(8))
    return gzip.compress(bytes(raw), 1, mtime=0)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A small CT and its map, as they are stored before compression."""
    folder = tmp_path_factory.mktemp("originals")
    hu, labels = phantom(0, (16, 24, 28), (12.0, 11.0, 11.0))
    for name, voxels in (("ct", hu), ("labels", labels)):
        write_volume(voxels, (12.0, 11.0, 11.0), folder / f"{name}.nii.gz")
    return {
        name: gzip.decompress((folder / f"{name}.nii.gz").read_bytes()) for name in ("ct", "labels")
    }


def write(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def run(*words):
    """Run a command of the kit in a process of its own: an abort must not end the tests."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=LATEST_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    assert "please report it" not in done.stderr + done.stdout, done.stderr + done.stdout
    assert done.returncode in (0, 1), (done.returncode, done.stderr[-3000:])
    return done


def check_predict(folder, contents, manifest):
    """Predict damaged CTs; the good one has the labels that it has alone."""
    for name, content in contents.items():
        write(folder / "in", f"{name}_0000.nii.gz", content)
    words = ["--manifest", manifest.folder / "weights_manifest.json", "--threads", 1]
    run("inference", "predict", folder / "in", folder / "out", "--challenge", *words)
    told = json.loads((folder / "out/run.json").read_text())
    cases = {case["case"]: case for case in told["cases"]}
    assert cases.keys() == contents.keys()
    assert cases[GOOD]["status"] == "done"
    assert cases[GOOD]["warnings"] == []
    assert read_label_map(folder / "out" / f"{GOOD}.nii.gz").labels.any()
    for case in cases.values():
        assert case["status"] == "done" or "\n" not in case["error"]
        if case["status"] == "done":
            read_label_map(folder / "out" / f"{case['case']}.nii.gz")


def check_maps(folder, maps, good):
    """Score damaged truths and damaged predictions, and compare them; the good one is perfect."""
    for number, (name, content) in enumerate(maps.items()):
        for side in range(2):
            mended = good if number % 2 == side else content
            write(folder / ("truth", "pred")[side], f"{name}.nii.gz", mended)
    for rules in ("official", "fixed"):
        out = folder / rules
        both = ["--truth", folder / "truth", "--pred", folder / "pred"]
        run("evaluation", "score", *both, "-o", out, "--rules", rules)
        scores = json.loads((out / "scores.json").read_text())
        cases = {case["case"]: case for case in scores["cases"]}
        assert cases.keys() == maps.keys()
        assert cases[GOOD]["error"] is None
        assert cases[GOOD]["labels"]["liver"]["dsc"] == 1
    run("evaluation", "agree", folder / "truth", folder / "pred", "-o", folder / "agree")
    cases = json.loads((folder / "agree/agree.json").read_text())["cases"]
    (found,) = (case for case in cases if case["case"] == GOOD)
    assert (found["same_file"], found["differ_voxels"], found["error"]) == (True, 0, None)


def check_data(folder, contents, good):
    """Check a release of damaged CTs; the good case is used, and every other one told of."""
    for place in ("imagesTr2200", "labelsTr2200", "unlabeledTr1800", "imagesVal50"):
        (folder / place).mkdir(parents=True)
    for name, content in contents.items():
        write(folder / "imagesTr2200", f"{name}_0000.nii.gz", content)
        write(folder / "labelsTr2200", f"{name}.nii.gz", good)
    run("train", "data", folder, "-o", folder / "checked", "--deep")
    used = json.loads((folder / "checked/cases.json").read_text())["cases"]
    assert GOOD in {case["case"] for case in used}
    left_out = (folder / "checked/problems.csv").read_text().splitlines()[1:]
    assert len(used) + len(left_out) == len(contents)


def check_mutations(folder, originals, manifest, seed, count):
    rng = np.random.default_rng(seed)
    whole = {name: gzip.compress(content, 1, mtime=0) for name, content in originals.items()}
    broken = {
        kind: {GOOD: whole[kind]}
        | {f"m{i:03}": damaged(originals[kind], rng) for i in range(count)}
        for kind in whole
    }
    check_predict(folder / "predict", broken["ct"], manifest)
    check_maps(folder / "maps", broken["labels"], whole["labels"])
    check_data(folder / "data", broken["ct"], whole["labels"])
    shutil.rmtree(folder)


@pytest.fixture
def manifest(network):  # noqa: F811
    """The tiny network on few large patches: a damaged spacing may make a large grid."""
    return network(
        patch=(32, 32, 32),
        window=WindowSpec((32, 32, 32), 1.0, "constant", "none", (0, 1, 2)),
        orientation="RAS",
        spacing_mm=(12.0, 12.0, 12.0),
    )


def test_damaged_headers_cost_their_own_case(tmp_path, originals, manifest):
    check_mutations(tmp_path / "some", originals, manifest, 0, 24)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 11))
def test_500_damaged_headers(tmp_path, originals, manifest, seed):
    check_mutations(tmp_path / "many", originals, manifest, seed, 50)
