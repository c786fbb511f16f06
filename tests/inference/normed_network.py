"""A network with a norm in it, which float16 networks keep in float32."""

import numpy as np

PATCH = (4, 5, 6)


def normed_network(path, *, weight=0.5, operator="LeakyRelu", stored_as_f16=False):
    """Write conv, instance norm, activation, conv: what every stage of an nnU-Net is made of."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    first = np.full((2, 1, 1, 1, 1), weight, dtype=np.float32)
    last = rng.normal(size=(3, 2, 1, 1, 1)).astype(np.float16).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["patches", "first"], ["a"]),
        helper.make_node("InstanceNormalization", ["a", "scale", "shift"], ["b"], epsilon=1e-5),
        helper.make_node(operator, ["b"], ["c"]),
        helper.make_node("Conv", ["c", "last"], ["logits"]),
    ]
    weights = {"first": first, "scale": np.float32([1.5, 2]), "shift": np.float32([0.1, -1e-5])}
    if stored_as_f16:
        nodes.insert(0, helper.make_node("Cast", ["last_f16"], ["last"], to=TensorProto.FLOAT))
        weights["last_f16"] = last.astype(np.float16)
    else:
        weights["last"] = last
    graph = helper.make_graph(
        nodes,
        "normed",
        [helper.make_tensor_value_info("patches", TensorProto.FLOAT, [1, 1, *PATCH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3, *PATCH])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    )
    return path
