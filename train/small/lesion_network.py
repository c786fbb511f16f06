"""Liver lesion network of the package `pyliverlesionseg`: the second external source.

`pyliverlesionseg` 0.3 (Apache-2.0) has its weights as a Keras file. This module rebuilds the
network in torch. It is a residual U-Net of valid convolutions: a tile of 180 × 172 × 86 voxels
(X, Y, Z; 1 × 1 × 3 mm, axes to Right, Anterior, Superior) gives the probabilities of its inner
92 × 84 × 42.
"""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import nn

from imaging.errors import KitError

TILE = (180, 172, 86)
"""Voxels that go in, (X, Y, Z)."""
INNER = (92, 84, 42)
"""Voxels that come out."""
MARGIN = (44, 44, 22)
_CUT = (2, 2, 1)
"""What the two convolutions of a block take from each side."""


class Normalized(nn.Module):
    """Convolution after instance normalization and LeakyReLU; the first of all has neither."""

    def __init__(self, kernel: torch.Tensor, bias: torch.Tensor, first: bool = False) -> None:
        super().__init__()
        self.kernel, self.bias, self.first = nn.Parameter(kernel), nn.Parameter(bias), first

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map [N, C, X, Y, Z] to a smaller [N, D, X, Y, Z]."""
        if not self.first:
            deviation, mean = torch.std_mean(image, (2, 3, 4), keepdim=True, correction=0)
            image = nn.functional.leaky_relu((image - mean) / (deviation + 1e-7), 0.01)
        return nn.functional.conv3d(image, self.kernel, self.bias)


class Block(nn.Module):
    """Two convolutions and a shortcut: the cropped input, through a 1×1×1 where channels differ."""

    def __init__(self, convolutions: list[Normalized], shortcut: Normalized | None) -> None:
        super().__init__()
        self.convolutions, self.shortcut = nn.Sequential(*convolutions), shortcut

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map [N, C, X, Y, Z] to [N, D, X - 4, Y - 4, Z - 2]."""
        x, y, z = (slice(n, -n) for n in _CUT)
        cut = image[:, :, x, y, z]
        kept: torch.Tensor = self.convolutions(image)
        return kept + (cut if self.shortcut is None else self.shortcut(cut))


class LesionNetwork(nn.Module):
    """The whole network; gives logits."""

    def __init__(self, layers: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Take the 21 convolutions in the order of the file."""
        super().__init__()

        def block(first: bool = False, shortcut: bool = True) -> Block:
            pair = [Normalized(*next(layers), first=first), Normalized(*next(layers))]
            return Block(pair, Normalized(*next(layers), first=True) if shortcut else None)

        self.down = nn.ModuleList([block(first=True), block(), block()])
        self.bottom = block(shortcut=False)
        self.up = nn.ModuleList([block(), block(), block()])
        self.head = Normalized(*next(layers))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Map [N, 1, *TILE] to logits [N, 1, *INNER]."""
        skips = []
        for block in self.down:
            image = block(image)
            skips.append(image)
            image = nn.functional.max_pool3d(image, 2)
        image = self.bottom(image)
        for block in self.up:
            image = nn.functional.interpolate(image, scale_factor=2.0, mode="nearest")
            image = block(torch.cat([_middle(skips.pop(), image), image], dim=1))
        logits: torch.Tensor = self.head(image)
        return logits


def _middle(image: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return the middle of `image`, of the size of `like`."""
    places = []
    for size, wanted in zip(image.shape[2:], like.shape[2:], strict=True):
        start = (size - wanted) // 2
        places.append(slice(start, start + wanted))
    return image[:, :, places[0], places[1], places[2]]


def load_lesion_network(path: Path) -> LesionNetwork:
    """Rebuild the network from its Keras file.

    Raises:
        KitError: The file is not the one of `pyliverlesionseg` 0.3.
    """
    try:
        with h5py.File(path, "r") as file:
            layers = [
                (
                    _kernel(file[name][name]["kernel:0"][()]),
                    torch.tensor(file[name][name]["bias:0"][()]),
                )
                for name in (f"conv3d_{number}" for number in range(1, 22))
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise KitError(
            f"{path}: not the lesion network of pyliverlesionseg 0.3 ({error}); take the file "
            "model_unet_ct_mr_lesion_seg_*.hdf5 of that package"
        ) from error
    return LesionNetwork(iter(layers)).eval()


def _kernel(keras: np.ndarray) -> torch.Tensor:
    """Bring Keras's [x, y, z, in, out] to torch's [out, in, x, y, z]."""
    return torch.tensor(np.ascontiguousarray(keras.transpose(4, 3, 0, 1, 2)))
