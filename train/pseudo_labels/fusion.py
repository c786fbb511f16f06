"""Rules that fuse several label maps into one: the paper's, and ours.

Every rule is a pure function of uint8 arrays [Z, Y, X] of one shape with FLARE's labels; voxels
that should not be trained on are `IGNORE`. The paper's rules are those of its scripts under
`process/` (USTguy/Flare23). There, sources that disagree make background; here they can make
"ignore" instead.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.errors import GeometryError, KitError, VolumeError
from imaging.label_maps import LabelMap, read_label_map
from imaging.organs import ORGANS
from imaging.volumes import read_header, read_place, write_labels
from train.data.anatomy import IGNORE

Labels = NDArray[np.uint8]

MIXED_CLASSES = (5, 6, 10, 11, 12)
"""What the paper takes from its second model: aorta, vena cava, esophagus, stomach, duodenum
(`ensemble.py`, `ensemble_each`)."""
ORGAN_LABELS = frozenset(ORGANS.values()) - {ORGANS["tumour"]}


def read_flare_labels(path: Path) -> LabelMap:
    """Read a label map whose labels are FLARE's, or "ignore".

    The rules count by label: in their tables a label that is none of these would pass for another.

    Raises:
        VolumeError: It cannot be read, or holds another label.
    """
    found = read_label_map(path)
    highest = int(found.labels.max(initial=0))
    if highest > IGNORE:
        raise VolumeError(
            f"{path}: label {highest}; FLARE's end at {IGNORE - 1}, and {IGNORE} is ignored; "
            "translate its labels first"
        )
    return found


def real_wins(real: Labels, pseudo: Labels) -> Labels:
    """Take the real label where there is one, else the pseudo label (`add_tumor.py`)."""
    same_shape(real, pseudo)
    return np.where(real > 0, real, pseudo)


def class_mix(first: Labels, second: Labels, classes: Collection[int] = MIXED_CLASSES) -> Labels:
    """Take `classes` from `second` and all others from `first` (`ensemble.py`).

    As in the script, voxels of `classes` that only `first` has stay, and `second` is laid on top.
    """
    same_shape(first, second)
    return np.where(np.isin(second, list(classes)), second, first)


def agree_or_background(first: Labels, second: Labels) -> Labels:
    """Keep what both say; background elsewhere (`ensemble_new.py`)."""
    return _agreed(first, second, 0)


def agree_or_ignore(first: Labels, second: Labels) -> Labels:
    """Keep what both say; teach nothing elsewhere."""
    return _agreed(first, second, IGNORE)


def _agreed(first: Labels, second: Labels, otherwise: int) -> Labels:
    same_shape(first, second)
    return np.where(first == second, first, np.uint8(otherwise))


def annotated_only(
    real: Labels, pseudo: Labels | None = None, *, annotated: Collection[int]
) -> Labels:
    """Take annotated classes from the annotators, and only the others from the pseudo label.

    Where the pseudo label claims an annotated class that is not there, it is background. Without a
    pseudo label nothing is known outside the real labels, and nothing is taught there, unless all
    thirteen organs were annotated: the rest is background then, whether or not tumours were
    annotated, as it is for the paper's teacher.

    Args:
        real: The annotators' map.
        pseudo: Labels of the others; None where there are none.
        annotated: Classes that the annotators looked for in this case.
    """
    if pseudo is None:
        rest = 0 if ORGAN_LABELS <= set(annotated) else IGNORE
        return np.where(real > 0, real, np.uint8(rest))
    same_shape(real, pseudo)
    kept = np.where(np.isin(pseudo, list(annotated)), np.uint8(0), pseudo)
    return np.where(real > 0, real, kept)


def vote(*sources: Labels) -> Labels:
    """Take each voxel's most frequent label; a tie is ignored (ITK's LabelVoting)."""
    return _from_itk(sitk.LabelVoting(_to_itk(sources), IGNORE))


def staple(*sources: Labels) -> Labels:
    """Estimate each source's errors and the labels together; ties are ignored (ITK's STAPLE)."""
    images = _to_itk(sources)
    if not any(source.any() for source in sources):
        return sources[0].copy()  # ITK divides by the number of labels less one
    return _from_itk(sitk.MultiLabelSTAPLE(images, IGNORE))


def fuse_case(
    rule: Callable[..., Labels],
    sources: Collection[Path],
    image: Path,
    output: Path,
    percents: Collection[Path] = (),
) -> None:
    """Fuse label maps of one CT into a file that lies where the CT lies.

    The paper's scripts wrote theirs without spacing, origin and direction.

    Args:
        rule: One of this module's, or made of them; is given the maps in the order of `sources`,
            then those of `percents`.
        sources: The label maps.
        image: Their CT; only its header is read.
        output: `<case>.nii.gz`.
        percents: Maps of how sure sources are, 0 to 100.

    Raises:
        GeometryError: A map does not lie on the voxels of the CT.
        KitError: A file cannot be read or written, holds labels that are not FLARE's, or does not
            fuse with the others.
    """
    header, place = read_header(image), read_place(image)
    maps = [*map(read_flare_labels, sources), *map(read_label_map, percents)]
    for path, one in zip((*sources, *percents), maps, strict=True):
        if odd := one.elsewhere_than(place, header.shape):
            raise GeometryError(f"{path}: {odd}, as {image.name}; give maps of one CT")
    write_labels(rule(*(one.labels for one in maps)), header, output)


def _to_itk(sources: Sequence[Labels]) -> list[sitk.Image]:
    if len(sources) < 2:
        raise KitError(f"{len(sources)} source; fusion needs two or more")
    same_shape(*sources)
    return [sitk.GetImageFromArray(np.ascontiguousarray(source)) for source in sources]


def _from_itk(image: sitk.Image) -> Labels:
    return np.asarray(sitk.GetArrayFromImage(image), np.uint8)


def same_shape(*maps: Labels) -> None:
    """Refuse label maps of several shapes."""
    if len({one.shape for one in maps}) > 1:
        shapes = " and ".join(str(one.shape) for one in maps)
        raise GeometryError(f"label maps of {shapes} voxels do not fuse; give maps of one CT")
