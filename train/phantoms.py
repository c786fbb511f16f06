"""A release in FLARE23's layout that anybody may have: generated abdomens, some of them labelled.

The truth of every case is kept aside: so it can be known how good the pseudo labels were.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from inference.files import make_folder, replacing
from inference.organs import ORGANS
from inference.phantom import phantom
from train.release import IMAGE_SUFFIX, LABEL_SUFFIX, Layout

HIDDEN = "hidden"
"""Folder of the truths, beside the release's own."""
ORGAN_LABELS = tuple(label for organ, label in ORGANS.items() if organ != "tumour")
PATTERNS: tuple[tuple[int, ...], ...] = ((1, 2, 3, 4, 13), (1, 3, 9, 11, 12), (14,))
"""What was drawn in the partly labelled cases: as in FLARE23, some organs or the tumour."""


@dataclass(frozen=True)
class Phantoms:
    """How many cases of each kind, and their voxels."""

    complete: int
    """All 13 organs drawn; no tumour, as in FLARE23's 222."""
    partial: int
    """One of `PATTERNS` drawn, in turn."""
    unlabelled: int
    validation: int
    shape: tuple[int, ...]
    """Voxels (Z, Y, X)."""
    spacing_mm: tuple[float, ...]


@dataclass(frozen=True)
class Planned:
    """One case to make."""

    case: str
    folder: str
    drawn: tuple[int, ...]
    """Empty: no label map is written."""
    tumour: bool


def planned_cases(phantoms: Phantoms, layout: Layout) -> Iterator[Planned]:
    """Yield the cases in the order of their numbers."""
    number = 0
    for _ in range(phantoms.complete):
        yield Planned(f"FLARE23_{(number := number + 1):04d}", layout.images, ORGAN_LABELS, False)
    for place in range(phantoms.partial):
        drawn = PATTERNS[place % len(PATTERNS)]
        yield Planned(f"FLARE23_{(number := number + 1):04d}", layout.images, drawn, 14 in drawn)
    for place in range(phantoms.unlabelled):
        name = f"FLARE23_{(number := number + 1):04d}"
        yield Planned(name, layout.unlabelled, (), place % 2 == 0)
    for place in range(phantoms.validation):
        yield Planned(f"FLARE23Ts_{place + 1:04d}", layout.validation, (), place % 2 == 0)


def write_release(
    phantoms: Phantoms,
    seed: int,
    folder: Path,
    layout: Layout | None = None,
    done: Callable[[], None] = lambda: None,
) -> int:
    """Write the release into `folder`, and every truth into `folder`/hidden.

    Each case is drawn from `seed` and its own number, so a case does not depend on the others.

    Returns:
        The number of cases.
    """
    layout = layout or Layout()
    z, y, x = phantoms.shape
    spacing = phantoms.spacing_mm
    count = 0
    for place, plan in enumerate(planned_cases(phantoms, layout)):
        case_seed = int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
        hu, truth = phantom(case_seed, (z, y, x), (spacing[0], spacing[1], spacing[2]), plan.tumour)
        _write(hu, spacing, folder / plan.folder / f"{plan.case}{IMAGE_SUFFIX}")
        _write(truth, spacing, folder / HIDDEN / f"{plan.case}{LABEL_SUFFIX}")
        if plan.drawn:
            drawn = np.where(np.isin(truth, plan.drawn), truth, 0).astype(np.uint8)
            _write(drawn, spacing, folder / layout.labels / f"{plan.case}{LABEL_SUFFIX}")
        count += 1
        done()
    return count


def _write(array: NDArray[np.generic], spacing_mm: tuple[float, ...], path: Path) -> None:
    make_folder(path.parent)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    with replacing(path) as partial:
        sitk.WriteImage(image, str(partial), useCompression=True, compressionLevel=1)
