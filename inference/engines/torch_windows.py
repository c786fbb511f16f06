"""Gather windows and blend their logits where torch computes: one copy there, one back."""

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import groupby, pairwise
from operator import itemgetter

import numpy as np
import torch

from imaging.geometry import Box, as_shape
from inference.engines import Array
from inference.engines.torch_network import Tensor
from inference.lattices import LaidLattice, laid_lattices
from inference.sliding_window import Window, outer, padded


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
        advance: Called after each window is computed; it may time them.
        device: Where `infer` computes.

    Yields:
        float32 [K, some slices, Y, X], good until the next is requested.
    """
    whole, inner = padded(image, window.patch)
    (lattice,) = laid_lattices(as_shape(image), window)
    volume, weight = as_tensor(whole).to(device), as_tensor(outer(lattice.profiles)).to(device)
    z, y, x = (part.start for part in inner)
    starts = ((a + z, b + y, c + x) for a, b, c in lattice.places)
    levels = {first: list(level) for first, level in groupby(starts, key=itemgetter(0))}
    total = torch.empty(0)
    for first, end in pairwise((*levels, len(whole))):
        for start in levels[first]:
            place = lattice.box(start)
            logits = _averaged(volume[place], infer, window.flips)
            if not total.numel():
                size = (len(logits), window.patch[0], *whole.shape[1:])
                total = torch.zeros(size, device=device)
            total[:, :, *place[1:]].addcmul_(logits, weight)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            advance()
        yield _mean(total, lattice, inner, slice(first, end)).cpu().numpy()
        total[:, : first - end] = total[:, end - first :].clone()  # they overlap
        total[:, first - end :] = 0


def _mean(total: Tensor, lattice: LaidLattice, inner: Box, done: slice) -> Tensor:
    """Return the logits of the image's slices that no later window touches.

    Args:
        total: The sum of weighted logits, from the first of these slices on.
        lattice: The windows.
        inner: The place of the image in the padded one.
        done: The slices, of the padded image.
    """
    z, y, x = inner
    first, end = max(z.start, done.start), min(z.stop, done.stop)
    plane = (slice(0, y.stop - y.start), slice(0, x.stop - x.start))
    sums = as_tensor(lattice.sums((slice(first - z.start, end - z.start), *plane)))
    return total[:, first - done.start : end - done.start, y, x] / sums.to(total.device)


def _averaged(
    patch: Tensor, infer: Callable[[Tensor], Tensor], flips: tuple[tuple[int, ...], ...]
) -> Tensor:
    """Return the mean logits [K, Z, Y, X] of a patch's flips, valid until the next call."""
    answers = (
        infer(patch.flip(axes)[None, None])[0].flip([axis + 1 for axis in axes]) for axes in flips
    )
    total = reduce(torch.add, answers)
    return total if len(flips) == 1 else total / len(flips)
