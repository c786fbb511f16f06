"""The torch engine runs the ONNX file, on the CPU; tests/gpu/ has a real card."""

import logging
from functools import partial

import numpy as np
import pytest

from imaging.errors import EngineError
from imaging.label_maps import read_label_map
from inference.builders.tensorrt_parity import fullest_patch, logit_errors
from inference.engines import EngineOptions, blended_logits, infer_many, open_engine
from inference.lattices import logit_slabs
from inference.manifest import load_manifest
from inference.pipeline import predict_folder
from inference.predictor import Predictor
from inference.settings import Settings
from inference.shipped import DEFAULT_MANIFEST
from inference.sliding_window import Window
from tests.conftest import weights_file
from tests.inference.tiny_logits import PATCH, patches, worked_out

onnx = pytest.importorskip("onnx")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

from inference.engines import torch_engine  # noqa: E402
from inference.engines.torch_network import TorchNetwork  # noqa: E402

ONE_THREAD = EngineOptions(threads=1, precision="f32")
FLOAT = onnx.TensorProto.FLOAT


def weights(*shape):
    return np.random.default_rng(sum(shape)).normal(0, 0.3, shape).astype(np.float32)


def write_network(path, nodes, arrays, channels, patch=PATCH):
    """Write an ONNX network of `nodes` from "patches" to "logits"."""
    made = onnx.helper.make_graph(
        [onnx.helper.make_node(op, inputs, [output], **rest) for op, inputs, output, rest in nodes],
        "small",
        [onnx.helper.make_tensor_value_info("patches", FLOAT, patch)],
        [onnx.helper.make_tensor_value_info("logits", FLOAT, (1, channels, *patch[2:]))],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(made, opset_imports=opset, ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def unet(path, pool="AveragePool"):
    """A network with every operator that is known, its first weights stored as float16."""
    nodes = [
        ("Cast", ["a_f16"], "a", {"to": FLOAT}),
        ("Transpose", ["patches"], "turned", {"perm": [0, 1, 4, 3, 2]}),
        ("Conv", ["turned", "a", "a_bias"], "c1", {"pads": [1, 0, 1] * 2, "strides": [1, 1, 1]}),
        ("InstanceNormalization", ["c1", "scale", "shift"], "n1", {"epsilon": 1e-3}),
        ("LeakyRelu", ["n1"], "r1", {"alpha": 0.2}),
        (pool, ["r1"], "mean", {"kernel_shape": [2, 1, 2], "strides": [2, 1, 2]}),
        ("MaxPool", ["r1"], "most", {"kernel_shape": [2, 1, 2], "strides": [2, 1, 2]}),
        ("Add", ["mean", "most"], "sum", {}),
        ("Conv", ["sum", "b"], "c2", {"dilations": [1, 2, 1], "pads": [1, 2, 1] * 2, "group": 2}),
        ("Relu", ["c2"], "r2", {}),
        ("ConvTranspose", ["r2", "up", "up_bias"], "big", {"strides": [2, 1, 2]}),
        ("Concat", ["big", "r1"], "both", {"axis": 1}),
        ("Conv", ["both", "last"], "found", {}),
        ("Transpose", ["found"], "back", {"perm": [0, 1, 4, 3, 2]}),
        ("Identity", ["back"], "logits", {}),
    ]
    arrays = {
        "a_f16": weights(4, 1, 3, 1, 3).astype(np.float16),
        "a_bias": weights(4),
        "scale": weights(4) + 1,
        "shift": weights(4),
        "b": weights(4, 2, 3, 3, 3),
        "up": weights(4, 2, 2, 1, 2),
        "up_bias": weights(2),
        "last": weights(3, 6, 1, 1, 1),
    }
    return write_network(path, nodes, arrays, 3)


def test_every_known_operator_gives_onnx_runtimes_numbers(network, tmp_path):
    manifest = network()
    unet(manifest.weights("onnx"))
    manifest = network(files={"onnx": weights_file(manifest.weights("onnx"))})
    with open_engine("onnxruntime", manifest, ONE_THREAD) as engine:
        expected = engine.infer(patches(1)[0]).copy()
    with open_engine("torch", manifest, ONE_THREAD) as engine:
        # sums of at most 54 products of about 0.3
        np.testing.assert_allclose(engine.infer(patches(1)[0]), expected, atol=2e-6)


def test_float16_is_float16_but_for_norms(tmp_path):
    path = unet(tmp_path / "unet.onnx", "MaxPool")  # torch's CPU has no other in float16
    given = torch.from_numpy(patches(1)[0])
    half, whole = TorchNetwork(path, half=True), TorchNetwork(path, half=False)
    kinds = {len(weight): weight.dtype for weight in half.buffers() if weight.ndim == 1}
    assert kinds[2] == torch.float16  # a bias
    assert [weight.dtype for weight in half.buffers()].count(torch.float32) == 2  # of the norm
    assert all(weight.dtype == torch.float32 for weight in whole.buffers())
    found, expected = half(given), whole(given)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    # float16 has 11 bits: 5e-4 of each number, and a few layers
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(
    ("node", "told"),
    [
        (("Sigmoid", ["patches"], "logits", {}), "operator Sigmoid is not known to it"),
        (("Conv", ["patches", "w"], "logits", {"pads": [0, 0, 0, 1, 1, 1]}), "Conv with pads"),
        (("Conv", ["patches", "w"], "logits", {"auto_pad": "SAME_UPPER"}), "Conv with auto_pad"),
        (
            ("MaxPool", ["patches"], "logits", {"kernel_shape": [1, 1, 1], "ceil_mode": 1}),
            "MaxPool with ceil_mode 1",
        ),
        (
            ("ConvTranspose", ["patches", "w"], "logits", {"output_shape": [4, 5, 6]}),
            r"ConvTranspose with output_shape \[4, 5, 6\]",
        ),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path, node, told):
    path = write_network(tmp_path / "odd.onnx", [node], {"w": weights(1, 1, 1, 1, 1)}, 1)
    with pytest.raises(EngineError, match=rf"torch cannot run odd.onnx: {told}.*--engine openvino"):
        TorchNetwork(path, half=False)


def test_weights_beyond_float16_are_refused(tmp_path):
    node = ("Conv", ["patches", "w"], "logits", {})
    array = np.full((1, 1, 1, 1, 1), 1e5, np.float32)
    path = write_network(tmp_path / "large.onnx", [node], {"w": array}, 1)
    with pytest.raises(EngineError, match=r"w has weights beyond torch.float16; use --precision"):
        TorchNetwork(path, half=True)
    assert TorchNetwork(path, half=False)(torch.ones(PATCH)).max() == 1e5


WINDOWS = [
    Window((4, 5, 6), 0.5, "gaussian", ((),)),
    Window((4, 5, 6), 0.7, "constant", ((), (2,), (0, 1))),
]


@pytest.mark.parametrize("window", WINDOWS, ids=["gaussian", "flips"])
@pytest.mark.parametrize("shape", [(9, 11, 13), (3, 5, 9), (4, 5, 6), (17, 4, 7)])
def test_windows_blended_by_torch_are_those_blended_by_numpy(network, shape, window):
    (image,) = patches(1, shape)
    counts = [], []
    with open_engine("torch", network(), ONE_THREAD) as engine:
        infer = partial(infer_many, engine)
        expected = [
            slab.copy() for slab in logit_slabs(image, infer, window, lambda: counts[0].append(1))
        ]
        slabs = blended_logits(engine, image, window, lambda: counts[1].append(1))
        found = [slab.copy() for slab in slabs]
    assert [slab.shape for slab in found] == [slab.shape for slab in expected]
    assert len(counts[0]) == len(counts[1]) > 0
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_default_weights_are_those_of_openvino_in_float32():
    manifest = load_manifest(DEFAULT_MANIFEST)
    with open_engine("openvino", manifest, EngineOptions(precision="f32")) as engine:
        patch = fullest_patch(Predictor(manifest, engine, Settings()), manifest, None)
        expected = engine.infer(patch).copy()
    found = TorchNetwork(manifest.weights("onnx"), half=False)(torch.from_numpy(patch)).numpy()
    assert len(np.unique(expected.argmax(axis=1))) > 5  # it shows organs
    rms, _, agreement = logit_errors(expected, found)
    assert rms < 5e-4  # OpenVINO's own distance from ONNX Runtime is up to 2e-4
    assert agreement >= 0.999


def test_a_case_gets_its_labels(network, boxes, write_ct, tmp_path):
    hu, labels = boxes
    cases = {"boxes": write_ct(tmp_path / "in" / "boxes_0000.nii.gz", hu)}
    settings = Settings(engine="torch", threads=1, tta="full")
    report = predict_folder(cases, tmp_path / "out", network(), settings)
    assert not report.failed
    assert (report.engine["device"], report.engine["precision"]) == ("cpu", "f32")
    found = read_label_map(tmp_path / "out" / "boxes.nii.gz").labels
    np.testing.assert_array_equal(found, labels)


@pytest.fixture
def engine_of(network):
    """An engine whose card is the CPU; call it with what records computations."""

    def make(record):
        path, words = network().weights("onnx"), {"name": "torch", "precision": "f16"}
        made = TorchNetwork(path, half=False)
        return torch_engine.TorchEngine(made, PATCH[2:], 3, torch.device("cpu"), words, record)

    return make


def test_a_recorded_computation_is_replayed_at_fixed_addresses(engine_of):
    recorded, replayed = [], []

    def record(compute):
        answer = torch.empty((1, 3, *PATCH[2:]))
        recorded.append(compute)

        def replay():
            replayed.append(answer.data_ptr())
            return answer.copy_(compute())

        return replay

    engine = engine_of(record)
    for _ in range(2):  # two cases
        for patch, answer in zip(patches(3), engine.infer_many(patches(3)), strict=True):
            np.testing.assert_allclose(answer, worked_out(patch), atol=1e-5)
    assert len(recorded) == 2
    assert len(replayed) == 6
    assert len(set(replayed)) == 2


def test_what_cannot_be_recorded_runs_without_and_says_so_once(engine_of, caplog):
    def record(compute):
        raise RuntimeError("operation not permitted\n  when stream is capturing")

    engine = engine_of(record)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            for patch, answer in zip(patches(2), engine.infer_many(patches(2)), strict=True):
                np.testing.assert_allclose(answer, worked_out(patch), atol=1e-5)
    assert caplog.messages == [
        "torch runs without a CUDA graph, a little slower: "
        "operation not permitted when stream is capturing"
    ]


def ends_of_memory(compute):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n 2.00 GiB.")


def test_memory_that_ends_is_an_engine_error_of_one_line(engine_of):
    engine = engine_of(ends_of_memory)
    told = r"shape \(1, 1, 4, 5, 6\): CUDA out of memory. Tried to allocate 2.00 GiB."
    with pytest.raises(EngineError, match=told):
        engine.infer(patches(1)[0])
    with pytest.raises(EngineError, match=told):
        list(engine.logit_slabs(patches(1, (9, 9, 9))[0], WINDOWS[0], lambda: None))
    assert engine._given is None


def test_an_error_of_whoever_takes_the_slabs_stays_what_it_is(engine_of):
    engine = engine_of(None)
    with pytest.raises(RuntimeError, match="mine"):
        for _ in engine.logit_slabs(patches(1, (9, 9, 9))[0], WINDOWS[0], lambda: None):
            raise RuntimeError("mine")


def test_float32_is_float32(network, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with open_engine("torch", network(), ONE_THREAD):
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.allow_tf32
