"""Rules that make one label map of several: the paper's, and ours.

Every rule is a pure function of uint8 arrays [Z, Y, X] of one shape with FLARE's labels; what
nobody may be taught is `IGNORE`. The paper's are those of its scripts under `process/`
(USTguy/Flare23), where two sources that disagree make background; here they can make "ignore".
"""

from collections.abc import Collection, Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from inference.errors import GeometryError, KitError
from inference.organs import ORGANS
from train.synthesis import IGNORE

Labels = NDArray[np.uint8]

MIXED_CLASSES = (5, 6, 10, 11, 12)
"""What the paper takes from its second model: aorta, vena cava, esophagus, stomach, duodenum
(`ensemble.py`, `ensemble_each`)."""


def real_wins(real: Labels, pseudo: Labels) -> Labels:
    """Take the real label where there is one, else the pseudo label (`add_tumor.py`)."""
    _same_shape(real, pseudo)
    return np.where(real > 0, real, pseudo)


def class_mix(first: Labels, second: Labels, classes: Collection[int] = MIXED_CLASSES) -> Labels:
    """Take `classes` from `second` and all others from `first` (`ensemble.py`).

    As in the script, voxels of `classes` that only `first` has stay, and `second` is laid on top.
    """
    _same_shape(first, second)
    return np.where(np.isin(second, list(classes)), second, first)


def agree_or_background(first: Labels, second: Labels) -> Labels:
    """Keep what both say; background elsewhere (`ensemble_new.py`)."""
    return _agreed(first, second, 0)


def agree_or_ignore(first: Labels, second: Labels) -> Labels:
    """Keep what both say; teach nothing elsewhere."""
    return _agreed(first, second, IGNORE)


def _agreed(first: Labels, second: Labels, otherwise: int) -> Labels:
    _same_shape(first, second)
    return np.where(first == second, first, np.uint8(otherwise))


def annotated_only(real: Labels, drawn: Collection[int], pseudo: Labels | None) -> Labels:
    """Believe the annotators in what they drew, and the pseudo label in the rest alone.

    Where the pseudo label claims a class that was drawn but not there, it is background. Without a
    pseudo label nothing is known outside the real labels, and nothing is taught there.

    Args:
        real: The annotators' map.
        drawn: Classes that they looked for in this case.
        pseudo: Labels of the others; None where there are none.
    """
    complete = set(drawn) >= {label for organ, label in ORGANS.items() if organ != "tumour"}
    if pseudo is None:
        return np.where(real > 0, real, np.uint8(0 if complete else IGNORE))
    _same_shape(real, pseudo)
    kept = np.where(np.isin(pseudo, list(drawn)), np.uint8(0), pseudo)
    return np.where(real > 0, real, kept)


def vote(sources: Sequence[Labels]) -> Labels:
    """Take each voxel's most frequent label; a tie is ignored (ITK's LabelVoting)."""
    return _from_itk(sitk.LabelVoting(_to_itk(sources), IGNORE))


def staple(sources: Sequence[Labels]) -> Labels:
    """Estimate each source's errors and the labels together; ties are ignored (ITK's STAPLE)."""
    images = _to_itk(sources)
    if not any(source.any() for source in sources):
        return sources[0].copy()  # ITK divides by the number of labels less one
    return _from_itk(sitk.MultiLabelSTAPLE(images, IGNORE))


def _to_itk(sources: Sequence[Labels]) -> list[sitk.Image]:
    if len(sources) < 2:
        raise KitError(f"{len(sources)} source; fusion needs two or more")
    _same_shape(*sources)
    return [sitk.GetImageFromArray(np.ascontiguousarray(source)) for source in sources]


def _from_itk(image: sitk.Image) -> Labels:
    return np.asarray(sitk.GetArrayFromImage(image), np.uint8)


def _same_shape(*maps: Labels) -> None:
    if len({one.shape for one in maps}) > 1:
        told = " and ".join(str(one.shape) for one in maps)
        raise GeometryError(f"label maps of {told} voxels do not fuse; give maps of one CT")
