"""The box that each label fills, in one pass over a label map."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.geometry import Box, foreground_box


def label_boxes(labels: NDArray[np.uint8], most: int) -> dict[int, Box]:
    """Return the bounding box of each label from 1 to `most` that occurs in [Z, Y, X] `labels`."""
    if not (labelled := foreground_box(labels)):
        return {}
    found = ndimage.find_objects(labels[labelled], most)
    return {label: _moved(box, labelled) for label, box in enumerate(found, 1) if box is not None}


def _moved(box: Box, origin: Box) -> Box:
    z, y, x = (
        slice(inner.start + outer.start, inner.stop + outer.start)
        for inner, outer in zip(box, origin, strict=True)
    )
    return z, y, x


def box_in_any(label: int, *maps: dict[int, Box]) -> Box | None:
    """Return the box of a label in any of several maps' boxes; None where no map has it."""
    found = [boxes[label] for boxes in maps if label in boxes]
    return hull(*found) if found else None


def hull(*boxes: Box) -> Box:
    """Return the smallest box that holds all of one or more."""
    z, y, x = (
        slice(min(side.start for side in sides), max(side.stop for side in sides))
        for sides in zip(*boxes, strict=True)
    )
    return z, y, x
