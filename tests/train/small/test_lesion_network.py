"""The lesion network rebuilt from a Keras file: one made here, of the same layers but narrower."""

import h5py
import numpy as np
import pytest
import torch
from scipy import signal

from imaging.errors import KitError
from train.small.lesion_network import INNER, MARGIN, TILE, load_lesion_network

A, B, C = 2, 3, 4
WIDE, FLAT, POINT = (3, 3, 3), (3, 3, 1), (1, 1, 1)


def layers():
    """Return edges, inputs and outputs of the 21 convolutions, in the order of the file."""

    def block(before, after, shortcut=True):
        pair = [(WIDE, before, after), (FLAT, after, after)]
        return pair + ([(POINT, before, after)] if shortcut else [])

    down = block(1, A) + block(A, B) + block(B, C)
    up = block(C + C, C) + block(B + C, B) + block(A + B, A)
    return [*down, *block(C, C, shortcut=False), *up, (POINT, A, 1)]


def kernels():
    """Return kernel [x, y, z, in, out] and bias [out] of each layer."""
    rng = np.random.default_rng(0)
    return [
        (
            rng.normal(0, 0.3, (*edges, before, after)).astype(np.float32),
            rng.normal(0, 0.3, after).astype(np.float32),
        )
        for edges, before, after in layers()
    ]


@pytest.fixture
def keras_file(tmp_path):
    path = tmp_path / "model.hdf5"
    with h5py.File(path, "w") as file:
        for number, (kernel, bias) in enumerate(kernels(), 1):
            group = file.create_group(f"conv3d_{number}/conv3d_{number}")
            group["kernel:0"], group["bias:0"] = kernel, bias
    return path


def convolved(image, kernel, bias):
    """Convolve [C, X, Y, Z] as Keras does, without torch."""
    return np.stack(
        [
            bias[out]
            + sum(
                signal.correlate(channel, kernel[..., number, out], "valid", "direct")
                for number, channel in enumerate(image)
            )
            for out in range(kernel.shape[-1])
        ]
    )


def normalized(image):
    mean, deviation = image.mean((1, 2, 3), keepdims=True), image.std((1, 2, 3), keepdims=True)
    whitened = (image - mean) / (deviation + 1e-7)
    return np.where(whitened > 0, whitened, 0.01 * whitened)


@pytest.mark.parametrize("number", [0, 1])
def test_a_block_is_two_convolutions_and_a_shortcut(keras_file, number):
    before = (1, A)[number]
    image = np.random.default_rng(1).normal(size=(before, 9, 8, 7)).astype(np.float32)
    first, second, shortcut = kernels()[3 * number : 3 * number + 3]
    inner = convolved(normalized(image) if number else image, *first)
    expected = convolved(normalized(inner), *second)
    expected = expected + convolved(image[:, 2:-2, 2:-2, 1:-1], *shortcut)
    with torch.inference_mode():
        found = load_lesion_network(keras_file).down[number](torch.from_numpy(image)[None])
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-4)


def test_the_bottom_adds_its_own_input(keras_file):
    image = torch.randn((1, C, 7, 7, 5), generator=torch.Generator().manual_seed(0))
    network = load_lesion_network(keras_file)
    with torch.inference_mode():
        found = network.bottom(image) - network.bottom.convolutions(image)
    torch.testing.assert_close(found, image[:, :, 2:-2, 2:-2, 1:-1], atol=1e-5, rtol=0)


def test_a_tile_loses_its_margin(keras_file):
    network = load_lesion_network(keras_file)
    tile = [4 + 2 * MARGIN[0], 12 + 2 * MARGIN[1], 2 + 2 * MARGIN[2]]
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, *tile)).shape == (1, 1, 4, 12, 2)
    assert tuple(t - 2 * m for t, m in zip(TILE, MARGIN, strict=True)) == INNER


def change(path, kind):
    """Make another file of the one at `path`."""
    if kind == "text":
        path.write_text("no HDF5")
        return
    with h5py.File(path, "a") as file:
        group = file["conv3d_7/conv3d_7"]
        if kind == "no layer":
            del file["conv3d_7"]
        elif kind == "no bias":
            del group["bias:0"]
        elif kind == "an array for a layer":
            del file["conv3d_7"]
            file["conv3d_7"] = np.zeros(3)
        else:
            del group["kernel:0"]
            group["kernel:0"] = np.zeros((3, 3))


KINDS = ["text", "no layer", "no bias", "an array for a layer", "a flat kernel"]


@pytest.mark.parametrize("kind", KINDS)
def test_another_file_is_one_line(keras_file, kind):
    change(keras_file, kind)
    with pytest.raises(KitError, match=r"not the lesion network of pyliverlesionseg") as caught:
        load_lesion_network(keras_file)
    assert "\n" not in str(caught.value)
