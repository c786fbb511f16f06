"""The golden case: equal labels pass, another network does not, and another CPU is explained."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from imaging.errors import EngineError, KitError
from imaging.overlap import label_counts
from inference.cli import main
from inference.manifest import WeightsFile, WindowSpec, load_manifest
from inference.shipped import DEFAULT_MANIFEST, GOLDEN
from inference.tools import golden as module
from inference.tools.golden import (
    LIMITS,
    GoldenComparison,
    golden_labels,
    read_golden,
    run_again,
)

KNOWN = read_golden()
MAPS = {(made.engine, made.precision): made for made in KNOWN.maps}
ONE = MAPS["openvino", "f32"]


def verify(*words):
    return CliRunner().invoke(main, ["verify", *map(str, words)])


def test_there_is_a_map_of_every_engine_and_each_is_of_the_default_weights():
    default = load_manifest(DEFAULT_MANIFEST)
    assert KNOWN.weights == {kind: file.sha256 for kind, file in default.files.items()}, (
        "run `flare23 claims --new-weights`"
    )
    assert {("openvino", "f32"), ("openvino", "bf16"), ("torch", "f32")} <= MAPS.keys()
    assert {made.file for made in KNOWN.maps} == {path.name for path in GOLDEN.glob("*.nii.gz")}
    for made in KNOWN.maps:
        counts = label_counts(golden_labels(made))
        assert {name: counts[value] for name, value in default.labels.items()} == made.voxels


def test_the_sample_is_labelled_as_its_golden_map():
    found = run_again(ONE, load_manifest(DEFAULT_MANIFEST), threads=1)
    assert found.verdict in ("equal", "expected"), found
    assert found.verdict == "equal" or found.unlike


def with_one_weight_changed(folder):
    """The default network with one weight of its last layer changed; its manifest says so."""
    onnx = pytest.importorskip("onnx")
    described = load_manifest(DEFAULT_MANIFEST)
    graph = onnx.load(described.weights("onnx"))
    (bias,) = (
        array
        for array in graph.graph.initializer
        if tuple(array.dims) == (len(described.labels) + 1,)
        and array.name in graph.graph.node[-1].input
    )
    values = onnx.numpy_helper.to_array(bias).copy()
    values[described.labels["liver"]] += 2
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    file = folder / "changed.onnx"
    onnx.save(graph, file)
    files = {"onnx": WeightsFile.of(file, file.name)}
    changed = replace(described, folder=folder, files=files, localiser=None)
    changed.write(folder / "changed.json")
    return folder / "changed.json"


def test_one_changed_weight_is_found(tmp_path):
    path = with_one_weight_changed(tmp_path)
    done = verify(path, "--run", "--precision", "bf16" if can("bf16") else "f32")
    assert done.exit_code == 1
    assert "onnx weights: sha256" in done.stderr
    assert "give those, or make the maps again with `flare23 claims --new-weights`" in done.stderr
    assert "voxels differ, not expected on this CPU" in done.stderr
    assert "→ liver" in done.stdout


def can(precision):
    return module.INSTRUCTIONS[precision][-1] in module.cpu_flags()


def test_a_weight_that_changed_under_its_manifest_is_found_before_anything_runs(tmp_path):
    shutil.copy(with_one_weight_changed(tmp_path).with_suffix(".onnx"), tmp_path / "a.onnx")
    described = load_manifest(DEFAULT_MANIFEST)
    files = {"onnx": replace(described.files["onnx"], path="a.onnx")}
    replace(described, files=files, localiser=None).write(tmp_path / "a.json")
    done = verify(tmp_path / "a.json", "--run")
    assert done.exit_code == 1
    assert "the manifest says" in done.stderr


def test_instructions_that_are_left_out_are_another_instruction_set():
    if "amx_int8" not in module.cpu_flags():
        pytest.skip("this CPU has no better instructions than those that are left")
    words = [sys.executable, "-m", "inference", "verify", "--run", "--precision", "int8"]
    chosen = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}
    done = subprocess.run(words, env=chosen, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "expected" in done.stdout
    assert "another instruction set" in done.stdout


def compared(differ, **changed):
    return GoldenComparison(ONE, 1.0, differ, (), ONE.unlike(replace(ONE, **changed)))


@pytest.mark.parametrize(
    ("changed", "unlike"),
    [
        ({}, ()),
        ({"device": "another"}, ("another device",)),
        ({"instructions": "avx2"}, ("another instruction set",)),
        ({"engine_version": "1"}, ("another version of openvino",)),
        ({"threads": 1}, ("1 thread",)),
        ({"threads": 8}, ("8 threads",)),
    ],
)
def test_what_may_differ_is_explained_by_the_circumstances(changed, unlike):
    # 80,000 labelled voxels or so: one voxel is far below the limit of float32, a tenth far above
    assert ONE.unlike(replace(ONE, **changed)) == unlike
    assert compared(0, **changed).verdict == "equal"
    assert compared(1, **changed).verdict == ("expected" if unlike else "not expected")
    assert compared(ONE.labelled // 10, **changed).verdict == "not expected"


def test_the_share_is_of_the_labelled_voxels():
    made = replace(ONE, voxels={"liver": 5000, "spleen": 5000})
    at_limit = GoldenComparison(made, 1.0, 5, (), ("another device",))
    assert at_limit.share == 5 / 10_000 == LIMITS["f32"]
    assert at_limit.verdict == "expected"
    assert replace(at_limit, differ=6).verdict == "not expected"


def test_voxels_that_differ_are_named(monkeypatch):
    changed = golden_labels(ONE).copy()
    changed[3, 4, 5] = 2
    (z, y, x) = np.argwhere(changed == 1)[0].tolist()
    changed[z, y, x] = 3
    made = replace(ONE, device="another")

    def labelled(*_):
        report = type("Report", (), {"seconds": {"total": 1.0}})
        return type("Segmentation", (), {"labels": changed, "report": report}), made

    monkeypatch.setattr(module, "_labelled", labelled)
    found = run_again(ONE, load_manifest(DEFAULT_MANIFEST))
    assert found.differ == 2
    assert set(found.first) == {
        "(3, 4, 5) background → right kidney", f"{(z, y, x)} liver → spleen",
    }  # fmt: skip
    assert found.verdict == "expected"


def test_a_damaged_golden_map_is_refused(tmp_path):
    copy = tmp_path / "golden"
    shutil.copytree(GOLDEN, copy)
    shutil.copy(copy / MAPS["openvino", "bf16"].file, copy / ONE.file)
    with pytest.raises(KitError, match=r"golden\.json says"):
        golden_labels(ONE, copy)


def test_golden_maps_of_another_ct_and_none_at_all_are_refused(tmp_path):
    with pytest.raises(KitError, match="no golden maps here"):
        read_golden(tmp_path)
    text = (GOLDEN / "golden.json").read_text()
    (tmp_path / "golden.json").write_text(text.replace(KNOWN.ct, "0" * 64))
    with pytest.raises(KitError, match="the golden maps are of 0000"):
        read_golden(tmp_path)


def test_what_there_is_no_map_of_is_said():
    done = verify("--run", "--engine", "torch", "--precision", "int8")
    assert done.exit_code == 1
    assert "no golden map of torch int8; there are: openvino f32" in done.stderr


def test_what_cannot_run_here_is_said(monkeypatch):
    def refuse(*_):
        raise EngineError("bf16 was requested, but this CPU has none")

    monkeypatch.setattr("inference.tools.golden_screen.run_again", refuse)
    done = verify("--run", "--precision", "bf16")
    assert done.exit_code == 1
    assert "openvino bf16: not compared: bf16 was requested, but this CPU has none" in done.stderr
    assert "no golden map can be compared here" in done.stderr


def test_maps_are_written_as_they_are_read(tmp_path, network, monkeypatch):
    monkeypatch.setattr(module, "_MADE", (("openvino", "f32"), ("openvino", "int8")))
    folder = tmp_path / "golden"
    folder.mkdir()
    (folder / "openvino_bf16.nii.gz").touch()
    window = WindowSpec((96, 96, 96), 0.5, "gaussian", "none", ())
    described = network(patch=window.patch, window=window)
    golden = module.write_golden(described, folder)
    assert [made.precision for made in golden.maps] == ["f32"]  # no 8-bit weights
    assert read_golden(folder) == golden
    assert {path.name for path in folder.iterdir()} == {"golden.json", "openvino_f32.nii.gz"}
    assert run_again(golden.maps[0], described, folder=folder).verdict == "equal"
