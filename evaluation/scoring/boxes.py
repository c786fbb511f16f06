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


def hull(first: Box, second: Box) -> Box:
    """Return the smallest box that holds both."""
    z, y, x = (
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )
    return z, y, x
