"""Phantoms in the shapes of real label maps: generated tissue in annotated organs."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from imaging.errors import KitError
from imaging.geometry import as_shape
from imaging.organs import ORGANS
from train.data.anatomy import IGNORE, Anatomy, read_anatomy
from train.synthesis import contrast
from train.synthesis.phantom import phantom
from train.synthesis.phantom_release import CtAndLabels, Draw, PhantomCase, Phantoms
from train.synthesis.registration import SHARED, Bend, LabelledCT, fit_bend, source_slices, warp

_BOX_MM = (420.0, 320.0, 400.0)
"""What is painted before it is laid into another shape: all organs, and room around them."""
_FEWEST = 4
"""Organs that a label map must have to be bent to."""
_VESSELS = (5, 6)
_MAX_FLARE = 14
_MARGIN_SLICES = 24
"""Slices kept beyond the source CT where the target's own organs (bowel, bladder) are annotated."""


def from_anatomies(phantoms: Phantoms, folder: Path, ids: str) -> Draw:
    """Return what draws a phantom into one of the label maps in `folder`, chosen by the seed.

    Validation has the last quarter of the maps, and no other case has those. Organs that a map does
    not have are the bent phantom's own. A case has its map's extent, not the recipe's.

    Args:
        phantoms: Gives the voxel size, which must be one for all axes.
        folder: Holds *.nii.gz.
        ids: What their numbers mean, for `train.data.anatomy.label_ids`.

    Raises:
        KitError: There is no label map, one cannot be read or shares too few organs, or the voxels
            are no cubes.
    """
    if phantoms.tumours_mm:
        raise KitError("tumours_mm is for phantoms without --anatomies; leave it empty")
    if len(set(phantoms.spacing_mm)) > 1:
        raise KitError(f"voxels of {list(phantoms.spacing_mm)} mm; with anatomies give cubes")
    spacing_mm = phantoms.spacing_mm[0]
    files = sorted(folder.glob("*.nii.gz"))
    if len(files) < 2:
        raise KitError(f"{folder}: {len(files)} *.nii.gz; give a folder of label maps, two or more")
    sitk.ProcessObject.GlobalWarningDisplayOff()  # of WORD's headers, two lines a file
    shapes = [_healthy(read_anatomy(file, ids, spacing_mm)) for file in files]
    for file, shape in zip(files, shapes, strict=True):
        if len(set(SHARED) & set(shape.annotated)) < _FEWEST:
            raise KitError(f"{file}: fewer than {_FEWEST} organs; are its ids {ids!r}?")
    kept = len(shapes) - max(1, len(shapes) // 4)

    def draw(case: PhantomCase, seed: int) -> CtAndLabels:
        usable = shapes[kept:] if case.kind == "validation" else shapes[:kept]
        return _painted(usable[seed % len(usable)], spacing_mm, seed, case.tumour)

    return draw


def _healthy(shape: Anatomy) -> Anatomy:
    """Return `shape` with its tumours filled by the liver; new ones are grown on request."""
    tumour, liver = ORGANS["tumour"], ORGANS["liver"]
    labels = np.where(shape.labels == tumour, np.uint8(liver), shape.labels)
    return Anatomy(labels, tuple(label for label in shape.annotated if label != tumour))


def _painted(shape: Anatomy, spacing_mm: float, seed: int, tumour: bool) -> CtAndLabels:
    z, y, x = (round(mm / spacing_mm) for mm in _BOX_MM)
    hu, labels = phantom(seed, (z, y, x), (spacing_mm,) * 3, tumour=False)
    source = LabelledCT(hu.astype(np.float32), labels)
    bend, chance = fit_bend(labels, shape.labels), np.random.default_rng(seed)
    made = laid_into(source, shape, bend, spacing_mm if tumour else None, chance)
    truth = np.where(made.labels == IGNORE, np.uint8(0), made.labels)
    return np.rint(made.hu).astype(np.int16), truth


def laid_into(
    ct: LabelledCT,
    target: Anatomy,
    bend: Bend,
    tumours_at_mm: float | None,
    rng: np.random.Generator,
) -> LabelledCT:
    """Lay `ct` into the shape of `target`, whose annotated organs win; as another scanner shows it.

    Args:
        ct: What is bent.
        target: The shape.
        bend: The fitted deformation.
        tumours_at_mm: Size of the voxels, for tumours of the right size; None grows none.
        rng: Where chance comes from.
    """
    shape = as_shape(target.labels)
    places = source_slices(bend, shape[0])
    outside = (places < -1) | (places > len(ct.hu))  # where the source's edge slice is repeated
    hu, labels = _redraw(warp(ct, bend, shape), target, rng)
    vessels = outside[:, np.newaxis, np.newaxis] & np.isin(labels, _VESSELS)
    labels[vessels] = IGNORE
    kept = _near(~outside, _MARGIN_SLICES)
    hu, labels = hu[kept], labels[kept]
    if tumours_at_mm is not None:
        contrast.add_tumours(hu, labels, tumours_at_mm, rng)
    hu = np.clip(contrast.degrade(hu, rng), -1024, 1500)
    return LabelledCT(hu, labels)


def _near(inside: NDArray[np.bool_], margin: int) -> slice:
    """Return the slices from the first to the last of `inside`, and `margin` more on each side."""
    found = np.flatnonzero(inside)
    if not found.size:
        return slice(None)
    return slice(max(0, int(found[0]) - margin), int(found[-1]) + margin + 1)


def _redraw(bent: LabelledCT, target: Anatomy, rng: np.random.Generator) -> LabelledCT:
    """Replace bent organs by those annotated in `target`; keep the texture where both agree."""
    (hu, labels), means = bent, contrast.organ_means(rng)
    annotated = [organ for organ in target.annotated if organ <= _MAX_FLARE]
    stale = np.isin(labels, annotated) & (labels != target.labels)
    grain = contrast.tissue_grain(rng, as_shape(hu))
    hu[stale] = rng.uniform(-110, 30) + grain[stale]
    result = np.where(np.isin(labels, annotated), np.uint8(0), labels)
    if rng.uniform() < 0.7:
        contrast.paint_bowel(hu, target.labels, grain, rng)
        result[target.labels > _MAX_FLARE] = 0
    for organ in annotated:
        wanted = target.labels == organ
        gap = wanted & (labels != organ)
        hu[gap] = means[organ] + grain[gap]
        result[wanted] = organ
    return LabelledCT(hu, result)
