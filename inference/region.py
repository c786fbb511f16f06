"""The region of interest of a CT; everything outside of it is background."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imaging.axis import strided, widened
from imaging.components import connected
from imaging.geometry import Box, Shape, SpacingMm, as_shape, foreground_box
from imaging.hounsfield import Hu
from inference.blank import DENSE_HU

Mask = NDArray[np.bool_]
MARGIN_MM = 10.0
_COARSE_MM = 4.0
_LEAST_ML = 100.0
"""A body has at least this much connected tissue."""
_WHOLE = 0.6
"""Share of a slice of the body in its largest piece: more in any slice of the trunk, with arms or
without; half where there are two legs, or a head between two arms."""
_TOUCH_MM = 60.0
"""Length over which legs may touch."""
_LIMB_MARGIN_MM = 50.0
_LEAST_TRUNK_MM = 100.0
Finding = Literal["organs", "no organ", "unsure"]


@dataclass(frozen=True)
class Region:
    """The region of interest of a CT."""

    box: Box
    tissue_ml: float = 0.0
    """Volume that is denser than lung and thicker than a couch; 0 if it was not measured."""
    outside_ml: float = 0.0
    """Tissue outside of the box: limbs, or pieces that are not connected with the trunk."""
    bare: Box | None = None
    """The body's box without its margin: what of `box` is not in it may be left out."""
    found: Finding | None = None
    """What the localiser says, if it was asked: the box holds the organs; there are none (the box
    is one patch in the middle); or it is unsure (the box is the body's)."""
    certainty: float | None = None
    """The localiser's, 0 to 1."""


def region(crop: str, hu: Hu, spacing_mm: SpacingMm, patch: Shape) -> Region:
    """Return the region of interest of `hu` [Z, Y, X].

    Args:
        crop: "nonzero" is nnU-Net's: the box of the voxels that are not 0. "body" is the body's
            box, or the whole CT if no body is found. "none" is the whole CT.
        hu: The CT; not all 0.
        spacing_mm: Its voxel size (Z, Y, X).
        patch: A patch of the network in voxels of `hu`. The box of a smaller body is widened to it
            as far as the CT goes, rather than padded.
    """
    z, y, x = (slice(0, size) for size in hu.shape)
    if crop == "none":
        return Region((z, y, x))
    if crop == "nonzero":
        return Region(nonzero_box(hu))
    cells = Cells.of(hu, spacing_mm)
    body = body_box(cells)
    if body is None:
        return Region((z, y, x))
    box = at_least(body, patch, as_shape(hu))
    tissue_ml = float(np.count_nonzero(cells.tissue) * cells.cell_ml)
    inside_ml = float(np.count_nonzero(cells.tissue[cells.inside(box)]) * cells.cell_ml)
    bare = without_margin(body, spacing_mm, as_shape(hu))
    return Region(box, tissue_ml, tissue_ml - inside_ml, bare)


def nonzero_box(hu: Hu) -> Box:
    """Return the smallest box around the voxels that are not 0."""
    slices: Mask = np.array([part.any() for part in hu])
    shadow = np.zeros(hu.shape[1:], dtype=np.bool_)
    for part in hu:  # slice by slice: no mask of a long CT is held
        shadow |= part != 0
    rows: Mask = np.any(shadow, axis=1)
    columns: Mask = np.any(shadow, axis=0)
    return _span(slices), _span(rows), _span(columns)


@dataclass(frozen=True)
class Cells:
    """A CT sampled every four millimetres."""

    tissue: Mask
    """[Z, Y, X]: denser than lung, and so are its neighbours in the slice: a couch is thinner."""
    strides: tuple[int, int, int]
    """Voxels (Z, Y, X) of the CT from cell to cell."""
    spacing_mm: SpacingMm
    """Of the CT's voxels."""
    shape: Shape
    """Of the CT."""

    @classmethod
    def of(cls, hu: Hu, spacing_mm: SpacingMm) -> "Cells":
        """Sample a CT [Z, Y, X]."""
        z, y, x = (max(1, math.floor(_COARSE_MM / mm)) for mm in spacing_mm)
        dense = hu[::z, ::y, ::x] > DENSE_HU
        tissue = np.zeros(dense.shape, np.bool_)  # cells on the edge lack a neighbour
        tissue[:, 1:-1, 1:-1] = dense[:, 1:-1, 1:-1]
        tissue[:, 1:-1, 1:-1] &= dense[:, :-2, 1:-1] & dense[:, 2:, 1:-1]
        tissue[:, 1:-1, 1:-1] &= dense[:, 1:-1, :-2] & dense[:, 1:-1, 2:]
        return cls(tissue, (z, y, x), spacing_mm, as_shape(hu))

    @property
    def cell_ml(self) -> float:
        """Volume of one cell in millilitres."""
        return math.prod(self.strides) * math.prod(self.spacing_mm) / 1000

    def inside(self, box: Box) -> tuple[slice, ...]:
        """Return which cells lie in a box of the CT."""
        return tuple(strided(part, n) for part, n in zip(box, self.strides, strict=True))


def body_box(cells: Cells) -> Box | None:
    """Return the box of the patient's body and a margin; None where there is no body.

    The body is the largest connected component that is denser than lung, sampled every four
    millimetres; separate arms and the couch are not part of it. Where it is in pieces at an end of
    the scan (legs or raised arms), only the next five centimetres are kept.
    """
    tissue = foreground_box(cells.tissue.view(np.uint8))
    if tissue is None:
        return None
    pieces = connected(cells.tissue[tissue], 6)  # the numbers of all cells take four bytes each
    largest = int(pieces.sizes.argmax())
    if pieces.sizes[largest] * cells.cell_ml < _LEAST_ML:
        return None
    slices, *plane = pieces.box(largest)
    trunk = _trunk(pieces.numbers[slices] == largest, cells.strides[0] * cells.spacing_mm[0])
    trunk = slice(slices.start + trunk.start, slices.start + trunk.stop)
    body = (
        slice(first.start + part.start, first.start + part.stop)
        for first, part in zip(tissue, (trunk, *plane), strict=True)
    )
    axes = zip(body, cells.strides, cells.spacing_mm, cells.shape, strict=True)
    z, y, x = (
        widened(part, stride, math.ceil(MARGIN_MM / mm), size) for part, stride, mm, size in axes
    )
    return z, y, x


def without_margin(body: Box, spacing_mm: SpacingMm, shape: Shape) -> Box:
    """Return the box of a body without the margin on each side that is not on the CT's edge."""
    z, y, x = (
        slice(
            part.start + math.ceil(MARGIN_MM / mm) * (part.start > 0),
            part.stop - math.ceil(MARGIN_MM / mm) * (part.stop < size),
        )
        for part, mm, size in zip(body, spacing_mm, shape, strict=True)
    )
    return z, y, x


def _trunk(body: Mask, mm: float) -> slice:
    """Return the slices of `body` [Z, Y, X], `mm` apart, without the limbs at its ends.

    All slices, where too few would be left to be a trunk.
    """
    split: Mask = np.array([_in_pieces(part) for part in body])
    touch, margin = math.floor(_TOUCH_MM / mm), math.ceil(_LIMB_MARGIN_MM / mm)
    below, above = limbs(split, touch), limbs(split[::-1], touch)
    if (len(split) - below - above) * mm < _LEAST_TRUNK_MM:
        return slice(0, len(split))
    return slice(max(0, below - margin), len(split) - max(0, above - margin))


def _in_pieces(part: Mask) -> bool:
    """Tell whether a slice [Y, X] of the body has no piece that is most of it."""
    sizes = connected(part, 4).sizes
    return bool(sizes.max() < _WHOLE * sizes.sum())


def limbs(split: Mask, touch: int) -> int:
    """Return how many slices are limbs, from the first on.

    Args:
        split: bool [slices], whether the body is in pieces there.
        touch: The most slices in a row, before or between split ones, in which limbs may touch.
    """
    count = 0
    for place in np.flatnonzero(split):
        if place - count > touch:
            break
        count = int(place) + 1
    return count


def at_least(box: Box, voxels: Shape, shape: Shape) -> Box:
    """Return `box` grown to `voxels` along every axis, about its middle, within `shape`."""
    grown = [_grown(*axis) for axis in zip(box, voxels, shape, strict=True)]
    return grown[0], grown[1], grown[2]


def _grown(part: slice, least: int, size: int) -> slice:
    width = min(max(part.stop - part.start, least), size)
    start = min(max(0, (part.start + part.stop - width) // 2), size - width)
    return slice(start, start + width)


def _span(filled: Mask) -> slice:
    places = np.flatnonzero(filled)
    return slice(int(places[0]), int(places[-1]) + 1)
