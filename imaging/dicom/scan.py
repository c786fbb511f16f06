"""Find the series in files: read their headers, group them, and say of each what it is."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from imaging.dicom.headers import CT_CLASSES, read_images
from imaging.dicom.series import Image, Series
from imaging.dicom.stack import Stack, stacks
from imaging.errors import VolumeError

_LOCALISER = re.compile(r"\b(scout|topo(gram)?|locali[sz]er|surview|scano(gram)?)\b", re.IGNORECASE)
_PROJECTIONS = {"MIP", "MINIP", "PROJECTION IMAGE", "MAX_IP", "MIN_IP", "VOLREN", "RENDERED"}
_HOUNSFIELD = ("", "HU", "US")
"""Rescale types of Hounsfield units; US is "unspecified"."""
_CLOSE = 1e-3
_LONGEST_NAME = 100


def find_series(files: Iterable[Path], root: Path) -> tuple[list[Series], dict[str, str]]:
    """Return the series of DICOM files, and why a file belongs to none.

    Args:
        files: Those that look like DICOM.
        root: What the user named: a folder above them, or the one file.

    Returns:
        Series in the order of folder and number, each with a name of its own that is safe in a
        file's name; and reasons by path.
    """
    images, passed = list[Image](), dict[str, str]()
    for path in sorted(files):
        try:
            images += read_images(path)
        except VolumeError as error:
            passed[str(path)] = str(error).removeprefix(f"{path.name}: ")
    found = [_series(stack) for group in _groups(images) for stack in _volumes(group)]
    found.sort(key=lambda one: (str(one.folder), one.number or 0, one.description, one.uid))
    return _named(found, root), passed


def _groups(images: list[Image]) -> list[list[Image]]:
    """Group images by their series: by UID, and where there is none by what there is."""
    groups: dict[tuple[object, ...], list[Image]] = {}
    for image in images:
        known = image.series_uid or (image.study_uid, image.number, image.description)
        place = "" if image.series_uid else image.file.parent
        groups.setdefault((known, place, image.modality), []).append(image)
    return list(groups.values())


def _volumes(images: list[Image]) -> Iterator[Stack]:
    """Split a series into parts of one size and orientation, and these into volumes."""
    parts: list[list[Image]] = []
    for image in images:
        part = next((part for part in parts if _fit(part[0], image)), None)
        if part is None:
            parts.append([image])
        else:
            part.append(image)
    for part in parts:
        yield from stacks(part) if _left_out(part[0]) is None else [Stack(tuple(part))]


def _fit(one: Image, other: Image) -> bool:
    """Tell whether two images can be slices of one volume, or are left out together."""
    reasons = (_left_out(one), _left_out(other))
    if any(reasons):
        return reasons[0] == reasons[1]
    if (one.rows, one.columns) != (other.rows, other.columns):
        return False
    pairs = ((one.orientation, other.orientation), (one.spacing_mm, other.spacing_mm))
    return all(
        a == b or (a is not None and b is not None and np.allclose(a, b, atol=_CLOSE))
        for a, b in pairs
    )


def _left_out(image: Image) -> str | None:
    """Say why an image is none of a CT volume; None where it may be one."""
    words = set(image.kind)
    if image.modality not in ("", "CT"):
        return f"modality {image.modality}"
    if image.samples != 1:
        return "colour images"
    named = len(image.kind) < 3 and _LOCALISER.search(image.description)
    if "LOCALIZER" in words or named:
        return "a localiser"
    if words & _PROJECTIONS:
        return "projections, not slices"
    if image.rescale_type not in _HOUNSFIELD:
        return f"its numbers are {image.rescale_type}, not Hounsfield units"
    if image.sop_class not in CT_CLASSES and image.position_mm is None:
        return "no CT images: a screen save or a report"
    return None


def _series(stack: Stack) -> Series:
    """Return a stack as a series; its name comes later."""
    first, slices = stack.images[0], stack.images
    left_out = _left_out(first)
    if left_out is None and len(slices) == 1:
        left_out = "one image, no volume"
    return Series(
        name="",
        uid=first.series_uid,
        number=first.number,
        description=", ".join(part for part in (first.description, stack.phase) if part),
        modality=first.modality,
        folder=Path(os.path.commonpath({image.file.parent for image in slices})),
        slices=slices,
        header=stack.header,
        warnings=stack.warnings,
        problem=stack.problem if left_out is None else None,
        left_out=left_out,
    )


def _named(found: list[Series], root: Path) -> list[Series]:
    """Name each series by its folder, and by its number where the folder holds several CTs."""
    named, used = list[Series](), set[str]()
    for series in sorted(found, key=lambda one: one.left_out is not None):
        beside = [one for one in found if one.folder == series.folder and not one.left_out]
        name = _folder_name(series, root)
        if len(beside) > 1 or series.left_out:
            name += "" if series.number is None else f"_{series.number}"
        unique, count = name, 1
        while unique.lower() in used:
            count += 1
            unique = f"{name}_{count}"
        used.add(unique.lower())
        named.append(replace(series, name=unique))
    return named


def _folder_name(series: Series, root: Path) -> str:
    """Return the path of the folder below `root`, safe in the name of a file."""
    if root.is_file():
        name = root.name.removesuffix(root.suffix) if root.suffix.lower() == ".dcm" else root.name
    else:
        below = series.folder.relative_to(root).parts if series.folder != root else ()
        name = "_".join(below) or root.resolve().name
    safe = re.sub(r"[^\w.+-]+", "_", name).strip("._-")
    return safe[-_LONGEST_NAME:].strip("._-") or "ct"
