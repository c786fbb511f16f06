"""Whether images form a volume: in order, evenly spaced, at right angles, none missing or doubled.

The order is that of the positions along the slices' normal; instance numbers are not looked at.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from imaging.dicom.pixels import same_pixels
from imaging.dicom.series import Floats, Image
from imaging.volumes import MOST_VOXELS, Header, made_header
from imaging.words import number_of

_SAME_MM = 1e-2
"""Images closer than this are at the same position."""
_UNIT = 1e-2
"""By how much a direction may differ from length 1, and a row from a right angle to a column."""
_TILTED_DEGREES = 1.0
_ASIDE = 0.1
"""Share of a voxel by which a slice may lie beside the line through first and last."""
_EVEN, _UNEVEN = 0.02, 0.25
"""Share of the slice distance by which a slice may lie off its place: unsaid, and at all."""
_WHOLE = 0.1
"""How close a gap is to a whole number of slice distances where slices are missing."""
_MOST_PHASES = 50
_OVERLAP = 0.5
"""Share of a shorter volume that lies where a longer one of its series does."""
_MOST_NAMED = 5
_FARTHEST_MM = 1e6


@dataclass(frozen=True)
class Stack:
    """Images of one orientation and size, in slice order."""

    images: tuple[Image, ...]
    header: Header | None = None
    warnings: tuple[str, ...] = ()
    problem: str | None = None
    phase: str = ""
    """What sets it apart from other volumes of its series."""


def stacks(images: list[Image]) -> list[Stack]:
    """Return the volumes of images of one series, size and orientation: one a phase."""
    if problem := _unplaced(images):
        return [Stack(tuple(images), problem=problem)]
    pairs = zip(_along(images), images, strict=True)
    placed = sorted(pairs, key=lambda pair: (pair[0], pair[1].frame))
    ordered = [image for _, image in placed]
    groups = _by_position(placed)
    equal = [[same_pixels(group[0], other) for other in group[1:]] for group in groups]
    if differing := sum(not all(group) for group in equal):
        problem = (
            f"different images at {differing} of {len(groups)} positions; are two series mixed? "
            "export them to a folder each"
        )
        whole = Stack(tuple(ordered), problem=problem)
    else:
        warnings = [*_assumed(images[0])]
        if dropped := sum(map(len, equal)):
            what = number_of(dropped, "doubled image", "doubled images")
            warnings.append(f"{what} with the same pixels dropped")
        whole = _checked([group[0] for group in groups], warnings)
    return (_phases(ordered) if whole.problem else None) or [whole]


def _unplaced(images: list[Image]) -> str | None:
    """Say what the headers lack; None where every image has a place."""
    names = {
        "Image Position (Patient)": [image.position_mm for image in images],
        "Image Orientation (Patient)": [image.orientation for image in images],
        "Pixel Spacing": [image.spacing_mm for image in images],
    }
    for name, values in names.items():
        if lacking := values.count(None):
            return f"no {name} in {lacking} of {len(images)} images, so their place is unknown"
    row, column = images[0].axes
    lengths = np.linalg.norm([row, column], axis=1)
    if abs(lengths - 1).max() > _UNIT or abs(row @ column) > _UNIT:
        return "Image Orientation (Patient) is not two directions at right angles"
    return None


def _normal(image: Image) -> Floats:
    normal = np.cross(*image.axes)
    return np.asarray(normal / np.linalg.norm(normal), np.float64)


def _positions(images: list[Image]) -> Floats:
    return np.array([image.position_mm for image in images], np.float64)


def _along(images: list[Image]) -> Floats:
    """Return each image's place in mm along the normal of the first."""
    return np.asarray(_positions(images) @ _normal(images[0]), np.float64)


def _by_position(placed: list[tuple[float, Image]]) -> list[list[Image]]:
    """Return images, which come in order with their places, those at the same position together."""
    groups: list[list[Image]] = []
    last = -math.inf
    for place, image in placed:
        if place - last < _SAME_MM:
            groups[-1].append(image)
        else:
            groups.append([image])
            last = place
    return groups


def _phases(images: list[Image]) -> list[Stack] | None:
    """Return the volumes of images that are several at the same place; None if they are not.

    They are set apart by one attribute; each is a volume without a problem.
    """
    for at in range(len(images[0].phase)):
        parts: dict[str, list[Image]] = {}
        for image in images:
            parts.setdefault(image.phase[at][1], []).append(image)
        if not 2 <= len(parts) <= _MOST_PHASES or "" in parts or not _at_one_place(images, parts):
            continue
        name = images[0].phase[at][0]
        found = [
            replace(one, phase=f"{name} {value}" + (f", {one.phase}" if one.phase else ""))
            for value, part in sorted(parts.items())
            for one in stacks(part)
        ]
        if all(one.header for one in found):
            return found
    return None


def _at_one_place(images: list[Image], parts: dict[str, list[Image]]) -> bool:
    """Tell whether parts overlap; two halves with a missing slice between them do not."""
    normal = _normal(images[0])
    ranges = []
    for part in parts.values():
        places = _positions(part) @ normal
        ranges.append((float(places.min()), float(places.max())))
    return all(
        min(one[1], other[1]) - max(one[0], other[0]) > _OVERLAP * (other[1] - other[0])
        for one, other in pairwise(sorted(ranges, key=lambda ends: ends[0] - ends[1]))
    )


def _assumed(image: Image) -> Iterator[str]:
    """Say what is assumed of a series, by its first image."""
    if not image.modality:
        yield "the files do not say their modality; CT was assumed"
    if image.slope is None or image.intercept is None:
        yield "no rescale slope and intercept; the stored numbers were taken for HU"
    if image.lossy:
        yield "the images were compressed with loss"


def _checked(images: list[Image], warnings: list[str]) -> Stack:
    """Return the volume of images in order, each at a position of its own."""
    if len(images) == 1:
        return Stack(tuple(images))
    places = _along(images)
    gaps = np.diff(places)
    problem = _too_large(images) or _tilted(images) or _gappy(places, gaps)
    if problem is None:
        step = float(gaps.mean())
        off = float(abs(places - places[0] - step * np.arange(len(places))).max()) / step
        uneven = f"slices are {gaps.min():.3g} to {gaps.max():.3g} mm apart"
        if off > _UNEVEN:
            problem = f"{uneven}; resample them to even distances first"
        elif off > _EVEN:
            warnings = [*warnings, f"{uneven}; {step:.3g} mm each was taken"]
    header = None if problem else _header(images)
    return Stack(tuple(images), header, tuple(warnings), problem)


def _too_large(images: list[Image]) -> str | None:
    """Say that no CT has so many voxels, or such numbers."""
    first = images[0]
    sizes = (first.columns, first.rows, len(images))
    if math.prod(sizes) > MOST_VOXELS:
        return f"{'×'.join(map(str, sizes))} voxels are more than any CT has; mend the header"
    numbers = [image.position_mm or () for image in images]
    if max(abs(mm) for place in (*numbers, first.spacing_mm or ()) for mm in place) > _FARTHEST_MM:
        return "positions or voxel sizes are no CT's; mend the header"
    return None


def _tilted(images: list[Image]) -> str | None:
    """Say that slices do not lie behind one another."""
    positions, along = _positions(images), _along(images)
    whole = positions[-1] - positions[0]
    length = float(np.linalg.norm(whole))
    cosine = min(1.0, float(whole @ _normal(images[0])) / length)
    tilt = float(np.degrees(np.arccos(cosine)))
    shares = along - along[0]
    line = positions[0] + np.outer(shares / shares[-1], whole)
    aside = float(np.linalg.norm(positions - line, axis=1).max())
    if aside > _ASIDE * min(images[0].spacing_mm or (1.0,)):
        return f"slices lie up to {aside:.3g} mm beside the line through the first and the last"
    if tilt > _TILTED_DEGREES:
        return (
            f"the gantry was tilted by {tilt:.3g} degrees; resample the slices to right angles "
            "first, as dcm2niix does"
        )
    return None


def _gappy(places: Floats, gaps: Floats) -> str | None:
    """Say where slices are missing."""
    step = float(np.median(gaps))
    counts = np.round(gaps / step).astype(int)
    if counts.max() < 2 or abs(gaps - counts * step).max() > _WHOLE * step:
        return None
    lacking = [
        float(place + step * k)
        for place, count in zip(places[:-1], counts, strict=True)
        for k in range(1, count)
    ]
    named = ", ".join(f"{place:.4g}" for place in lacking[:_MOST_NAMED])
    more = f" and {len(lacking) - _MOST_NAMED} more" if len(lacking) > _MOST_NAMED else ""
    what = number_of(len(lacking), "slice is", "slices are")
    return (
        f"{what} missing, at {named}{more} mm; the others are {step:.4g} mm apart; "
        "copy the whole series again"
    )


def _header(images: list[Image]) -> Header:
    """Return the NIfTI header of a volume."""
    first, last = images[0], images[-1]
    row, column = first.axes
    between_rows, between_columns = first.spacing_mm or (1.0, 1.0)
    start, end = _positions([first, last])
    step = (end - start) / (len(images) - 1)
    columns = np.column_stack([row * between_columns, column * between_rows, step])
    return made_header((len(images), first.rows, first.columns), start, columns)
