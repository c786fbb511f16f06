"""An ONNX file's external data: found wherever a tensor can be, and refused by `verify`."""

import hashlib

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.errors import ManifestError
from inference.engines import EngineOptions, open_engine
from inference.manifest import WeightsFile, verify_files
from inference.onnx_file import other_files

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def tensor(location=None, name="weight"):
    """One weight of 27 numbers, in the file or beside it."""
    made = numpy_helper.from_array(np.arange(27, dtype=np.float32), name)
    if location is not None:
        made.ClearField("raw_data")
        made.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "108")):
            made.external_data.add(key=key, value=value)
    return made


def graph(*nodes, weights=(), sparse=()):
    values = helper.make_tensor_value_info("x", TensorProto.FLOAT, [27])
    return helper.make_graph(nodes, "g", [values], [values], weights, sparse_initializer=sparse)


def constant(weight):
    return helper.make_node("Constant", [], ["c"], value=weight)


def sparse(weight):
    made = onnx.SparseTensorProto(dims=[27])
    made.values.CopyFrom(weight)
    return made


def initializer(weight):
    return helper.make_model(graph(weights=[weight]))


def sparse_initializer(weight):
    return helper.make_model(graph(sparse=[sparse(weight)]))


def attribute(weight):
    return helper.make_model(graph(constant(weight)))


def sparse_attribute(weight):
    node = helper.make_node("Constant", [], ["c"], sparse_value=sparse(weight))
    return helper.make_model(graph(node))


def branch(weight):
    node = helper.make_node("If", ["x"], ["y"], then_branch=graph(constant(weight)))
    return helper.make_model(graph(node))


def function(weight):
    made = helper.make_function(
        "d", "f", ["x"], ["c"], [constant(weight)], [helper.make_opsetid("", 17)]
    )
    return helper.make_model(graph(), functions=[made])


PLACES = [initializer, sparse_initializer, attribute, sparse_attribute, branch, function]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_weights_in_another_file_are_found_wherever_a_tensor_can_be(tmp_path, place):
    path = tmp_path / "net.onnx"
    path.write_bytes(place(tensor("weights/n.bin")).SerializeToString())
    assert other_files(path) == ["weights/n.bin"]
    path.write_bytes(place(tensor()).SerializeToString())
    assert other_files(path) == []


def test_every_file_is_named_once(tmp_path):
    path = tmp_path / "net.onnx"
    weights = [tensor("b.bin", "1"), tensor("a.bin", "2"), tensor("b.bin", "3"), tensor(None, "4")]
    path.write_bytes(helper.make_model(graph(weights=weights)).SerializeToString())
    assert other_files(path) == ["a.bin", "b.bin"]


def test_a_tensor_elsewhere_that_does_not_say_where(tmp_path):
    weight = tensor("a.bin")
    weight.ClearField("external_data")
    (tmp_path / "net.onnx").write_bytes(initializer(weight).SerializeToString())
    assert other_files(tmp_path / "net.onnx") == ["a file without a name"]


WHOLE = branch(tensor("weights/n.bin")).SerializeToString()


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4),
       st.integers(0, len(WHOLE)))  # fmt: skip
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, changes, length):
    content = bytearray(WHOLE)
    for place, byte in changes:
        content[place] = byte
    path = tmp_path_factory.mktemp("damaged") / "net.onnx"
    path.write_bytes(content[:length])
    try:
        assert all(isinstance(name, str) for name in other_files(path))
    except ValueError as error:
        assert "byte" in str(error)


@pytest.fixture
def split(network):
    """The manifest of the tiny network with its weights in a file beside it, digest and all."""
    manifest = network()
    path = manifest.weights("onnx")
    onnx.save_model(
        onnx.load(path), path, save_as_external_data=True, location="n.bin", size_threshold=0
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return network(files={"onnx": WeightsFile(path.name, digest, path.stat().st_size)})


def test_weights_without_a_digest_are_refused(split):
    # they are what the network answers with: other bytes, other logits
    patch = np.ones((1, 1, *split.window.patch), np.float32)

    def answer():
        session = ort.InferenceSession(split.weights("onnx"), providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: patch})[0]

    before = answer()
    beside = split.folder / "n.bin"
    beside.write_bytes(bytes(beside.stat().st_size))
    assert not np.array_equal(before, answer())
    said = r"tiny\.onnx read others from n\.bin, of which the"
    with pytest.raises(ManifestError, match=said):
        verify_files(split)
    with pytest.raises(ManifestError, match=said), open_engine("auto", split, EngineOptions(1)):
        pass


def test_what_is_no_onnx_file_is_refused(network):
    # OpenVINO tells a format by its content: its own is two files, of which one is named here
    manifest = network()
    content = b'<?xml version="1.0"?><net name="n" version="11"></net>'
    manifest.weights("onnx").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    described = network(files={"onnx": WeightsFile("tiny.onnx", digest, len(content))})
    with pytest.raises(ManifestError, match=r"tiny\.onnx: not a readable ONNX file"):
        verify_files(described)
