"""Engines are chosen by name, say why one is passed over, and agree."""

import logging
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from imaging.errors import EngineError, KitError, ManifestError
from imaging.extras import how_to_install
from inference import engines
from inference.engines import EngineOptions, infer_many, open_engine
from inference.manifest import load_manifest
from tests.conftest import weights_file

for needed in ("onnx", "onnxruntime", "openvino", "torch"):
    pytest.importorskip(needed)

ROOT = Path(__file__).parents[2]
PATCH = (4, 5, 6)
CENTERS = np.array([0.0, 1.0, 2.0], dtype=np.float32)
ONE_THREAD = EngineOptions(threads=1, precision="f32")


def patches():
    return np.random.default_rng(0).normal(1, 1, (1, 1, *PATCH)).astype(np.float32)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_logits_are_those_worked_out(network, name):
    with open_engine(name, network(), ONE_THREAD) as engine:
        logits = engine.infer(patches())
        expected = CENTERS.reshape(3, 1, 1, 1) * patches()[0] - CENTERS.reshape(3, 1, 1, 1) ** 2 / 2
        # one multiplication and one addition in float32, values up to about 10
        np.testing.assert_allclose(logits[0], expected, atol=1e-5)
        assert logits.dtype == np.float32
        assert logits.shape == (1, 3, *PATCH)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("threads", [1, 2])
def test_patches_come_in_their_order(network, threads, count):
    given = [patches() + number for number in range(count)]
    with open_engine("openvino", network(), EngineOptions(threads, "f32")) as engine:
        several = [logits.copy() for logits in infer_many(engine, iter(given))]
        one_by_one = [engine.infer(patch).copy() for patch in given]
    assert len(several) == count
    centers = CENTERS.reshape(3, 1, 1, 1)
    for many, one, patch in zip(several, one_by_one, given, strict=True):
        np.testing.assert_array_equal(many, one)
        np.testing.assert_allclose(many[0], centers * patch[0] - centers**2 / 2, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_threads_give_the_same_bytes(threads):
    manifest = load_manifest(ROOT / "weights_manifest.json")
    given = np.random.default_rng(0).normal(0, 1, (1, 1, *manifest.window.patch))
    given = given.astype(np.float32)
    found = []
    for _ in range(2):
        with open_engine("openvino", manifest, EngineOptions(threads, "f32")) as engine:
            found.append(engine.infer(given).copy())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_description_says_what_ran(network, name):
    with open_engine(name, network(), ONE_THREAD) as engine:
        table = engine.description
    assert sorted(table) == ["device", "name", "precision", "threads", "version"]
    assert (table["name"], table["precision"], table["threads"]) == (name, "f32", 1)
    assert table["version"]


def test_auto_is_openvino_where_it_runs(network, caplog):
    with open_engine("auto", network(), ONE_THREAD) as engine:
        assert engine.description["name"] == "openvino"
    assert caplog.records == []


def test_auto_passes_over_an_engine_that_is_not_installed_and_says_so(network, monkeypatch, caplog):
    def without_openvino(name):
        if name == "inference.engines.openvino_engine":
            raise ModuleNotFoundError("No module named 'openvino'", name="openvino")
        return import_module(name)

    monkeypatch.setattr(engines, "import_module", without_openvino)
    with (
        caplog.at_level(logging.WARNING),
        open_engine("auto", network(), ONE_THREAD) as engine,
    ):
        assert engine.description["name"] == "onnxruntime"
    (record,) = caplog.records
    assert record.getMessage() == (
        "engine openvino passed over: engine 'openvino' cannot be imported "
        f"(No module named 'openvino'); {how_to_install('')}"
    )


def test_no_engine_at_all_gives_every_reason(network, monkeypatch):
    def nothing(name):
        raise ModuleNotFoundError(f"No module named {name.split('.')[-1]!r}")

    monkeypatch.setattr(engines, "import_module", nothing)
    with (
        pytest.raises(EngineError, match=r"no engine can run here: .*openvino.*; .*onnxruntime"),
        open_engine("auto", network(), ONE_THREAD),
    ):
        pass


def test_unknown_engine(network):
    message = "unknown engine 'abacus'; choose from auto, onnxruntime, openvino, tensorrt"
    with pytest.raises(EngineError, match=message), open_engine("abacus", network(), ONE_THREAD):
        pass


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch", "auto"])
@pytest.mark.parametrize("content", [b"", b"no network"], ids=["nothing", "text"])
def test_a_file_that_is_no_network_is_named(network, name, content):
    path = network().weights("onnx")
    path.write_bytes(content)
    manifest = network(files={"onnx": weights_file(path)})
    with pytest.raises(KitError) as caught, open_engine(name, manifest, ONE_THREAD):
        pass
    assert "\n" not in str(caught.value)
    assert "tiny" in str(caught.value)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_a_patch_that_the_network_does_not_take_is_an_engine_error(network, name):
    with (
        open_engine(name, network(), ONE_THREAD) as engine,
        pytest.raises(
            EngineError, match=r"cannot run a patch of shape \(1, 1, 4, 4, 4\)"
        ) as caught,
    ):
        engine.infer(np.zeros((1, 1, 4, 4, 4), dtype=np.float32))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("name", ["onnxruntime", "torch"])
def test_a_precision_is_refused_where_it_is_not_done(network, name, precision):
    options = EngineOptions(threads=1, precision=precision)
    with (
        pytest.raises(EngineError, match="use --precision f32 or auto"),
        open_engine(name, network(), options),
    ):
        pass


@pytest.mark.parametrize(
    ("requested", "capabilities", "flags", "has_int8", "expected"),
    [
        ("auto", ["FP32", "BF16", "INT8"], {"avx512_vnni", "avx512_bf16"}, True, "int8"),
        ("auto", ["FP32", "BF16", "INT8"], {"amx_int8", "amx_bf16"}, True, "bf16"),  # as fast
        ("auto", ["FP32", "INT8"], {"amx_int8", "amx_bf16"}, True, "int8"),
        ("auto", ["FP32", "INT8"], {"avx_vnni"}, True, "int8"),
        ("auto", ["FP32", "INT8"], {"avx512_vnni"}, False, "f32"),  # no such weights
        ("auto", ["FP32", "BF16", "INT8"], {"avx512_bf16"}, True, "bf16"),  # int8 is emulated
        ("f32", ["FP32", "INT8"], {"avx_vnni"}, True, "f32"),
        ("int8", ["FP32", "INT8"], {"amx_int8"}, True, "int8"),
        ("int8", ["FP32", "INT8"], {"avx2"}, True, None),
        ("f32", ["FP32", "BF16"], {"amx_bf16", "avx512_bf16"}, False, "f32"),
        ("auto", ["FP32", "BF16"], {"amx_bf16", "avx512_bf16"}, False, "bf16"),
        ("auto", ["FP32", "BF16"], {"avx512_bf16"}, False, "bf16"),
        ("auto", ["FP32", "BF16"], set(), False, "f32"),  # emulated
        ("auto", ["FP32"], {"amx_bf16"}, False, "f32"),
        ("bf16", ["FP32", "BF16"], {"avx512_bf16"}, False, "bf16"),
        ("bf16", ["FP32", "BF16"], {"amx_bf16"}, False, "bf16"),
        ("bf16", ["FP32", "BF16"], {"avx512f"}, False, None),
        ("bf16", ["FP32"], {"amx_bf16"}, False, None),
    ],
)
def test_precision_table(requested, capabilities, flags, has_int8, expected):
    from inference.engines.openvino_engine import chosen_precision

    if expected is None:
        with pytest.raises(EngineError, match=f"{requested} was requested, but this CPU has none"):
            chosen_precision(requested, capabilities, flags, has_int8)
    else:
        assert chosen_precision(requested, capabilities, flags, has_int8) == expected


@pytest.mark.parametrize(
    ("capabilities", "flags", "expected"),
    [
        (["FP32", "BF16", "INT8"], {"amx_bf16", "amx_int8", "avx512_vnni"}, "bf16"),
        (["FP32", "BF16", "INT8"], {"avx512_bf16", "avx512_vnni"}, "f32"),  # not measured there
        (["FP32", "INT8"], {"amx_bf16", "avx512_vnni"}, "f32"),
    ],
)
def test_what_an_int8_network_does_not_compute_with_integers(capabilities, flags, expected):
    from inference.engines.openvino_engine import beside_int8

    assert beside_int8(capabilities, flags) == expected


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "torch"])
def test_an_engine_checks_the_weights_that_it_opens(network, name):
    manifest = network()
    path = manifest.weights("onnx")
    path.write_bytes(path.read_bytes()[::-1])
    with (
        pytest.raises(ManifestError, match=r"tiny\.onnx: sha256 "),
        open_engine(name, manifest, ONE_THREAD),
    ):
        pass


def test_an_engine_checks_no_weights_that_it_does_not_open(network, monkeypatch):
    import inference.engines.openvino_engine as module

    if "INT8" not in module.ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU computes nothing in 8-bit integers")
    monkeypatch.setattr(module, "cpu_flags", lambda: {"avx512_vnni"})
    onnx = network().files["onnx"]
    damaged = replace(onnx, sha256="0" * 64)
    manifest = network(files={"onnx": onnx, "int8": damaged, "int8_weights": damaged})
    with open_engine("openvino", manifest, EngineOptions(1, "f32")) as engine:
        assert engine.description["precision"] == "f32"
    with (
        pytest.raises(ManifestError, match=f"the manifest says {damaged.sha256}"),
        open_engine("openvino", manifest, EngineOptions(1, "int8")),
    ):
        pass


def test_int8_without_its_weights_says_how_to_make_them(network):
    options = EngineOptions(threads=1, precision="int8")
    with (
        pytest.raises(EngineError, match="no such weights; make them with `python -m train quan"),
        open_engine("openvino", network(), options),
    ):
        pass


def test_threads_are_all_that_this_process_may_use_unless_given(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 3, 5})
    assert EngineOptions().pinned_threads == 3
    assert EngineOptions(threads=2).pinned_threads == 2


def test_torch_gets_its_threads_back(network):
    import torch

    before = torch.get_num_threads()
    with open_engine("torch", network(), ONE_THREAD):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
