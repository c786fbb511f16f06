"""The part of a CT that is worth looking at; everything outside is background."""

import math

import numpy as np
from numpy.typing import NDArray

from inference.geometry import Box, Shape, SpacingMm, as_shape

Mask = NDArray[np.bool_]
Hu = NDArray[np.int16] | NDArray[np.float32]
CROPS = ("none", "nonzero", "body")
DENSE_HU = -300
"""Between lung and fat: tissue, bone and the couch are above."""
MARGIN_MM = 10.0
_COARSE_MM = 4.0
_LEAST_ML = 100.0
"""Less connected tissue than this is no body."""
_WHOLE = 0.6
"""Share of a slice of the body in its largest piece: more in any slice of the trunk, with arms or
without; half where there are two legs, or a head between two arms."""
_TOUCH_MM = 60.0
"""Length over which legs may touch."""
_LIMB_MARGIN_MM = 50.0
_LEAST_TRUNK_MM = 100.0


def region(crop: str, hu: Hu, spacing_mm: SpacingMm, patch: Shape) -> Box:
    """Return what of `hu` [Z, Y, X] is looked at.

    Args:
        crop: "nonzero" is nnU-Net's: the box of the voxels that are not 0. "body" is the body's
            box, or all where there is no body. "none" is all.
        hu: The CT; not all 0.
        spacing_mm: Its voxel size (Z, Y, X).
        patch: A patch of the network in voxels of `hu`. A body that is smaller is looked at with
            its surroundings, as far as the CT goes, and not with padding.
    """
    if crop == "nonzero":
        return nonzero_box(hu)
    box = body_box(hu, spacing_mm) if crop == "body" else None
    if box is None:
        z, y, x = (slice(0, size) for size in hu.shape)
        return z, y, x
    return at_least(box, patch, as_shape(hu))


def nonzero_box(hu: Hu) -> Box:
    """Return the smallest box around the voxels that are not 0."""
    slices: Mask = np.array([part.any() for part in hu])
    shadow = np.zeros(hu.shape[1:], dtype=np.bool_)
    for part in hu:  # slice by slice: no mask of a long CT is held
        shadow |= part != 0
    rows: Mask = np.any(shadow, axis=1)
    columns: Mask = np.any(shadow, axis=0)
    return _span(slices), _span(rows), _span(columns)


def body_box(hu: Hu, spacing_mm: SpacingMm) -> Box | None:
    """Return the box of the patient's body and a margin; None where there is no body.

    The body is the largest connected piece of what is denser than lung, seen every four
    millimetres; arms that lie apart and the couch are no part of it. Ends of the scan where it
    falls into pieces, legs or raised arms, are left out but for the next five centimetres.
    """
    import cc3d

    z, y, x = strides = [max(1, math.floor(_COARSE_MM / mm)) for mm in spacing_mm]
    dense = np.pad(hu[::z, ::y, ::x] > DENSE_HU, 1)
    thick = dense.copy()  # cells whose neighbours in the slice are dense too: a couch is thinner
    thick[:, 1:] &= dense[:, :-1]
    thick[:, :-1] &= dense[:, 1:]
    thick[:, :, 1:] &= dense[:, :, :-1]
    thick[:, :, :-1] &= dense[:, :, 1:]
    pieces = cc3d.connected_components(thick, connectivity=6)
    found = cc3d.statistics(pieces)
    counts = found["voxel_counts"].astype(np.int64)
    counts[0] = 0
    largest = int(counts.argmax())
    if counts[largest] * math.prod(strides) * math.prod(spacing_mm) < _LEAST_ML * 1000:
        return None
    slices, *plane = found["bounding_boxes"][largest]
    trunk = _trunk(pieces[slices] == largest, z * spacing_mm[0])
    around = slice(slices.start + trunk.start, slices.start + trunk.stop)
    boxes = zip((around, *plane), strides, spacing_mm, hu.shape, strict=True)
    body = [_widened(part, *more) for part, *more in boxes]
    return body[0], body[1], body[2]


def _trunk(body: Mask, mm: float) -> slice:
    """Return the slices of `body` [Z, Y, X], `mm` apart, without the limbs at its ends.

    All slices, where too few would be left to be a trunk.
    """
    split: Mask = np.array([_in_pieces(part) for part in body])
    touch, margin = math.floor(_TOUCH_MM / mm), math.ceil(_LIMB_MARGIN_MM / mm)
    below, above = _limbs(split, touch), _limbs(split[::-1], touch)
    if (len(split) - below - above) * mm < _LEAST_TRUNK_MM:
        return slice(0, len(split))
    return slice(max(0, below - margin), len(split) - max(0, above - margin))


def _in_pieces(part: Mask) -> bool:
    """Tell whether a slice [Y, X] of the body has no piece that is most of it."""
    import cc3d

    counts = np.bincount(cc3d.connected_components(part, connectivity=4).ravel())[1:]
    return bool(counts.size and counts.max() < _WHOLE * counts.sum())


def _limbs(split: Mask, touch: int) -> int:
    """Return how many slices are limbs: up to the last split one, no gap longer than `touch`."""
    places = np.flatnonzero(split)
    gaps = np.flatnonzero(np.diff(places, prepend=-1, append=len(split) + touch + 1) > touch + 1)
    last = places[gaps[0] - 1] if gaps.size and gaps[0] else -1
    return int(last) + 1


def _widened(coarse: slice, stride: int, mm: float, size: int) -> slice:
    """Return a span of padded coarse cells in voxels, with the margin."""
    margin = math.ceil(MARGIN_MM / mm)
    start, stop = ((int(end) - 1) * stride for end in (coarse.start, coarse.stop))
    return slice(max(0, start - margin), min(size, stop + margin))


def at_least(box: Box, voxels: Shape, shape: Shape) -> Box:
    """Return `box` grown to `voxels` on every axis, about its middle, inside of `shape`."""
    grown = [_grown(*axis) for axis in zip(box, voxels, shape, strict=True)]
    return grown[0], grown[1], grown[2]


def _grown(part: slice, least: int, size: int) -> slice:
    width = min(max(part.stop - part.start, least), size)
    start = min(max(0, (part.start + part.stop - width) // 2), size - width)
    return slice(start, start + width)


def _span(filled: Mask) -> slice:
    places = np.flatnonzero(filled)
    return slice(int(places[0]), int(places[-1]) + 1)
