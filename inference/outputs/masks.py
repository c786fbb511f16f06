"""One mask an organ: a uint8 NIfTI file of 0 and 1 with the geometry bytes of the CT."""

from pathlib import Path

import numpy as np

from imaging.files import make_folder
from imaging.volumes import write_labels
from inference.outputs.names import mask_name, masks_folder
from inference.outputs.segments import LabelledCase


def write_masks(case: LabelledCase, outputs: Path) -> tuple[str, ...]:
    """Write masks/<case>/<organ>.nii.gz; an organ that was not found has an empty mask.

    Raises:
        KitError: A file cannot be written.
    """
    folder = masks_folder(outputs, case.name)
    make_folder(folder)
    for segment in case.segments:
        mask = np.equal(case.labels, segment.value).view(np.uint8)
        write_labels(mask, case.header, folder / mask_name(segment.name))
    return ()
