"""Gather windows and blend their logits where torch computes: one copy there, one back."""

from collections.abc import Callable, Iterator
from functools import reduce

import numpy as np
import torch

from imaging.geometry import as_shape
from inference.engines import Array
from inference.engines.torch_network import Tensor
from inference.sliding_window import Window, levels, padded, window_weight


def as_tensor(array: Array) -> Tensor:
    """Return a float32 tensor of an array, in its memory if torch can take that."""
    return torch.from_numpy(np.require(array, np.float32, ["C", "W"]))


def logit_slabs_on(
    image: Array,
    infer: Callable[[Tensor], Tensor],
    window: Window,
    advance: Callable[[], None],
    device: torch.device,
) -> Iterator[Array]:
    """Do what `inference.lattices.logit_slabs` does, on `device`.

    The image is copied there whole; each slab of logits is copied back, blended.

    Args:
        image: float32 [Z, Y, X], normalized.
        infer: Maps a patch float32 [1, 1, Z, Y, X] to logits [1, K, Z, Y, X], both on `device`.
        window: How to move and blend.
        advance: Called after each window is queued.
        device: Where `infer` computes.

    Yields:
        float32 [K, some slices, Y, X], good until the next is requested.
    """
    whole, inner = padded(image, window.patch)
    volume, weight = as_tensor(whole).to(device), as_tensor(window_weight(window)).to(device)
    total = torch.empty(0)
    for level in levels(as_shape(whole), inner, window):
        for place in level.places:
            logits = _averaged(volume[place], infer, window.flips)
            if not total.numel():
                size = (len(logits), window.patch[0], *whole.shape[1:])
                total = torch.zeros(size, device=device)
            total[:, :, *place[1:]].addcmul_(logits, weight)
            advance()
        done = level.done
        total[:, :done] /= as_tensor(level.sums).to(device)
        yield total[:, *level.shown].cpu().numpy()
        total[:, :-done] = total[:, done:].clone()  # they overlap
        total[:, -done:] = 0


def _averaged(
    patch: Tensor, infer: Callable[[Tensor], Tensor], flips: tuple[tuple[int, ...], ...]
) -> Tensor:
    """Return the mean logits [K, Z, Y, X] of a patch's flips, valid until the next call."""
    answers = (
        infer(patch.flip(axes)[None, None])[0].flip([axis + 1 for axis in axes]) for axes in flips
    )
    total = reduce(torch.add, answers)
    return total if len(flips) == 1 else total / len(flips)
