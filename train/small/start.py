"""Build the network of a training and load the weights that it starts from."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from imaging.digest import file_sha256
from imaging.errors import KitError

HEADS = "seg_layers"
"""In the name of the output layers."""


class OneSampleNorm(torch.nn.InstanceNorm3d):
    """Instance normalization of one sample: the same numbers, by the batch's code.

    torch's instance normalization copies channels-last tensors to channels-first and back; that of
    a batch does not. For a batch of one sample both are the same.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Return the normalized `input`, [1, C, Z, Y, X]."""
        if len(input) != 1:
            return super().forward(input)
        return functional.batch_norm(input, None, None, self.weight, self.bias, True, 0.0, self.eps)


def load_start(network: torch.nn.Module, sha256: str, path: Path | None) -> None:
    """Load the weights of an exported network, in place; nothing where the recipe names none.

    The ONNX file has no output layers but the finest; the others stay as they are.

    Args:
        network: Of the recipe.
        sha256: Digest of the file that the recipe starts from; empty: none.
        path: The file.

    Raises:
        KitError: The recipe names a file and `path` is none or another; or it names none.
    """
    if not sha256:
        if path is not None:
            raise KitError(f"the recipe starts from random weights; leave {path} out")
        return
    if path is None:
        raise KitError(f"the recipe starts from weights of sha256 {sha256}; give them by --start")
    if (found := file_sha256(path)) != sha256:
        raise KitError(f"{path} has sha256 {found}, the recipe starts from {sha256}")
    import onnx

    stored = {
        one.name.removesuffix("_f16"): torch.from_numpy(onnx.numpy_helper.to_array(one).copy())
        for one in onnx.load(path).graph.initializer
    }
    names = dict(network.named_parameters(remove_duplicate=False))
    unknown = [name for name in stored if name not in names]
    loaded = {id(names[name]) for name in stored if name in names}
    missing = [n for n, weight in names.items() if id(weight) not in loaded and HEADS not in n]
    if unknown or missing:
        raise KitError(f"{path} is of another network: {', '.join([*unknown, *missing][:3])}")
    with torch.no_grad():
        for name, weight in stored.items():
            names[name].copy_(weight)
