"""What a training starts from: the weights of an exported network, and norms of single samples."""

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from imaging.digest import file_sha256 as sha256
from imaging.errors import KitError
from tests.train.small.small_training import write_recipe
from train.small.fit import _network
from train.small.recipe import load_small_recipe
from train.small.start import OneSampleNorm, load_start


@pytest.mark.parametrize("size", [(1, 5, 4, 6, 8), (2, 5, 4, 6, 8)])
def test_the_norm_of_one_sample_is_instance_normalization(size):
    torch.manual_seed(0)
    one = torch.nn.InstanceNorm3d(size[1], affine=True)
    one.weight.data.uniform_(0.5, 2)
    one.bias.data.uniform_(-1, 1)
    other = OneSampleNorm(size[1], affine=True)
    other.load_state_dict(one.state_dict())
    images = [torch.randn(size, requires_grad=True)]
    images.append(images[0].detach().clone().requires_grad_())
    for norm, image in zip((one, other), images, strict=True):
        (norm(image.to(memory_format=torch.channels_last_3d)) ** 3).sum().backward()
    assert torch.allclose(images[0].grad, images[1].grad, atol=1e-4)
    assert torch.allclose(one.weight.grad, other.weight.grad, rtol=1e-4)
    with torch.no_grad():
        assert torch.allclose(one(images[0]), other(images[0]), atol=1e-5)


@pytest.fixture
def network(tmp_path):
    return _network(load_small_recipe(write_recipe(tmp_path / "recipe.toml")))


def exported(network, path, leave_out=(), extra=()):
    """Write the weights as an export has them: halves with a suffix, no coarse output layers."""
    tensors = []
    for name, weight in network.named_parameters():
        if "seg_layers.0" in name or name in leave_out:
            continue
        half = weight.dim() == 5
        array = weight.detach().numpy().astype("float16" if half else "float32")
        tensors.append(numpy_helper.from_array(array, name + "_f16" * half))
    tensors += [numpy_helper.from_array(torch.zeros(1).numpy(), name) for name in extra]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    onnx.save(helper.make_model(helper.make_graph([], "g", [value], [value], tensors)), path)
    return path


def test_a_network_starts_from_an_exported_ones_weights(network, tmp_path):
    other = _network(load_small_recipe(write_recipe(tmp_path / "recipe.toml")))
    with torch.no_grad():
        for weight in other.parameters():
            weight.normal_()
    path = exported(other, tmp_path / "start.onnx")
    coarse = {n: w.clone() for n, w in network.named_parameters() if "seg_layers.0" in n}
    load_start(network, sha256(path), path)
    for (name, weight), (_, wanted) in zip(
        network.named_parameters(), other.named_parameters(), strict=True
    ):
        if name in coarse:
            assert torch.equal(weight, coarse[name])
        else:
            assert torch.allclose(weight, wanted, rtol=1e-3)


def test_what_is_no_start_is_refused(network, tmp_path):
    path = exported(network, tmp_path / "start.onnx")
    load_start(network, "", None)
    with pytest.raises(KitError, match=r"starts from random weights; leave .* out"):
        load_start(network, "", path)
    with pytest.raises(KitError, match="give them by --start"):
        load_start(network, sha256(path), None)
    with pytest.raises(KitError, match=r"has sha256 .*, the recipe starts from 0000"):
        load_start(network, "0000", path)
    name = next(name for name, _ in network.named_parameters() if "seg_layers" not in name)
    for wrong in ({"leave_out": (name,)}, {"extra": ("more.weight",)}):
        path = exported(network, tmp_path / "wrong.onnx", **wrong)
        with pytest.raises(KitError, match=f"of another network: .*{wrong.popitem()[1][0]}"):
            load_start(network, sha256(path), path)
