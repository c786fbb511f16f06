"""The localiser: a small network on a coarse grid finds the box of all organs."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imaging.components import connected
from imaging.errors import EngineError
from imaging.geometry import Shape, SpacingMm, as_shape, foreground_box
from imaging.hounsfield import Hu
from inference.engines import AUTO, Array, Engine, EngineOptions, blended_logits, open_engine
from inference.manifest import LocaliserSpec, Manifest
from inference.region import Region, at_least
from inference.sliding_window import Window
from inference.view import network_image

SEEN = 0.1
"""Probability of an organ from which a cell counts as seen; the box holds all that is seen."""
CLEAR = 0.5
"""Probability from which it is clear that a cell is of an organ."""
LEAST_ML = 4.0
"""A smaller piece of what is seen is noise."""
LEAST_SHARE = 0.3
"""So is a piece with less clear volume than this share of the clearest piece's."""
_THINNED_MM = 3.0
"""Voxels of a finer CT are left out, not averaged: most of it is never touched."""


class Localiser:
    """A small network, ready to find the organs of CTs."""

    def __init__(self, network: Manifest, engine: Engine, spec: LocaliserSpec) -> None:
        """Take what `Manifest.of_localiser` returns, its engine, and how far it is trusted."""
        window = network.window
        self._network, self._engine, self._spec = network, engine, spec
        self._window = Window(window.patch, window.step, window.blending, ((),))

    def region(self, body: Region, hu: Hu, spacing_mm: SpacingMm, patch: Shape) -> Region:
        """Return the region of the organs; that of the body where the network is unsure.

        Args:
            body: The region of the body.
            hu: The CT [Z, Y, X], in the network's axes.
            spacing_mm: Its voxel size (Z, Y, X).
            patch: As for `inference.region.region`.

        Raises:
            EngineError: The engine cannot run the network.
        """
        organ = self.probability(hu[body.box], spacing_mm)
        sizes = [part.stop - part.start for part in body.box]
        ratios = [n / cells for n, cells in zip(sizes, organ.shape, strict=True)]
        cell_ml = math.prod(ratios) * math.prod(spacing_mm) / 1000
        seen = seen_cells(organ, cell_ml)
        certainty = round(certainty_of(organ, seen), 3)
        cells = foreground_box(seen.view(np.uint8))
        if certainty < self._spec.least_certainty:
            return replace(body, found="unsure", certainty=certainty)
        if cells is None:
            z, y, x = (slice(n := (part.start + part.stop) // 2, n) for part in body.box)
        else:
            z, y, x = (
                _widened(part, around, ratio, self._spec.margin_mm / mm)
                for part, around, ratio, mm in zip(cells, body.box, ratios, spacing_mm, strict=True)
            )
        box = at_least((z, y, x), patch, as_shape(hu))
        organs = replace(body, box=box, bare=None, certainty=certainty)
        return replace(organs, found="no organ" if cells is None else "organs")

    def probability(self, hu: Hu, spacing_mm: SpacingMm) -> Array:
        """Return the probability of an organ, float32 [Z, Y, X] on the coarse grid over `hu`.

        Raises:
            EngineError: The engine cannot run the network, or its logits are not finite.
        """
        z, y, x = (_thinned(n, mm) for n, mm in zip(hu.shape, spacing_mm, strict=True))
        thinned = hu[z, y, x]
        coarse = zip(hu.shape, spacing_mm, thinned.shape, strict=True)
        dz, dy, dx = (n * mm / cells for n, mm, cells in coarse)
        image = network_image(thinned, (dz, dy, dx), self._network)
        slabs = blended_logits(self._engine, image, self._window)
        organ = np.concatenate([organ_probability(logits) for logits in slabs])
        if not np.isfinite(organ).all():
            raise EngineError("the localiser answers NaN or infinity; use --crop body")
        return organ


def organ_probability(logits: Array) -> Array:
    """Return 1 - softmax of class 0, float32 [Z, Y, X], of logits float32 [K, Z, Y, X]."""
    most = logits.max(axis=0)
    background = np.exp(logits[0] - most)
    total = np.exp(logits - most).sum(axis=0)
    found: Array = 1 - background / total
    return found


def seen_cells(organ: Array, cell_ml: float) -> NDArray[np.bool_]:
    """Return which cells of a probability of organs are seen, without noise; bool [Z, Y, X].

    Args:
        organ: float32 [Z, Y, X].
        cell_ml: Volume of a cell in millilitres.
    """
    pieces = connected(organ >= SEEN, 26)
    clear = pieces.within(organ >= CLEAR)
    large = (pieces.sizes * cell_ml >= LEAST_ML) & (clear >= LEAST_SHARE * clear.max())
    seen: NDArray[np.bool_] = large[pieces.numbers]
    return seen


def certainty_of(organ: Array, seen: NDArray[np.bool_]) -> float:
    """Return how sure a probability of organs is, 0 to 1.

    Args:
        organ: float32 [Z, Y, X].
        seen: bool [Z, Y, X]: `seen_cells` of it.

    Returns:
        The mean of |2p - 1| over all p of at least `SEEN`, what counts as noise too; where nothing
        is seen, 1 - the largest p.
    """
    if not seen.any():
        return 1 - float(organ.max(initial=0))
    return float(np.abs(2 * organ[organ >= SEEN] - 1).mean())


def _thinned(size: int, mm: float) -> slice:
    """Return the middle one of every few voxels of an axis, at most `_THINNED_MM` apart."""
    stride = max(1, math.floor(_THINNED_MM / mm))
    return slice(min(stride // 2, size - 1), None, stride)


def _widened(part: slice, around: slice, ratio: float, margin: float) -> slice:
    """Return the voxels of the CT that coarse cells cover, with a margin, within a part of it.

    Args:
        part: The cells.
        around: The part of the CT's axis that all cells cover.
        ratio: Voxels a cell.
        margin: In voxels.
    """
    start = max(0, math.floor(part.start * ratio - margin)) + around.start
    stop = min(around.stop, around.start + math.ceil(part.stop * ratio + margin))
    return slice(start, stop)


@contextmanager
def open_localiser(manifest: Manifest, threads: int) -> Iterator[Localiser]:
    """Open the localiser of `manifest` on the CPU, in float32, and close it after the block.

    Raises:
        ManifestError: There is none, or its file is missing or damaged.
        EngineError: No engine can run it here.
    """
    network, spec = manifest.of_localiser()
    with open_engine(AUTO[0], network, EngineOptions(threads, "f32")) as engine:
        yield Localiser(network, engine, spec)
