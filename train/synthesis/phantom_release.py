"""Generate a release in FLARE23's layout: synthetic abdomens, some of them labelled.

The truth of every case is written into a folder of its own, to measure pseudo labels with.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from imaging.errors import KitError
from imaging.files import make_folder
from imaging.records import Positive, PositiveInt, read_table, to_record
from imaging.terminal import terminal
from imaging.volumes import write_volume
from train.data.release import IMAGE_SUFFIX, LABEL_SUFFIX, LAYOUT, case_list
from train.pseudo_labels.fusion import ORGAN_LABELS
from train.synthesis.phantom import phantom

HIDDEN = "hidden"
"""Folder of the truths, beside the release's own."""
PATTERNS: tuple[tuple[int, ...], ...] = (
    (1, 2, 3, 4, 13),
    (5, 6, 7, 8, 9, 10, 11, 12),
    (14,),
)
"""What the annotators of the partly labelled cases drew, in turn: organs, others, or the tumour."""


@dataclass(frozen=True)
class Phantoms:
    """How many cases of each kind, and their voxels: a recipe's `[phantoms]`."""

    complete: int
    """All 13 organs annotated; no tumour, as in FLARE23's 222."""
    partial: int
    """One of `PATTERNS` annotated, in turn."""
    unlabelled: int
    validation: int
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Voxels (Z, Y, X)."""
    spacing_mm: tuple[Positive, Positive, Positive]
    tumours_mm: tuple[Positive, ...] = ()
    """Diameters of a case's tumours; empty: as `train.synthesis.phantom` draws them."""

    def __post_init__(self) -> None:
        """Refuse more cases than have names in the paper's lists."""
        for kind, names in _names().items():
            if not 0 <= (count := getattr(self, kind)) <= len(names):
                raise KitError(f"phantoms: {kind} is {count}; choose from 0 to {len(names)}")

    @property
    def mm(self) -> tuple[float, ...]:
        """Extents of a case (Z, Y, X)."""
        return tuple(n * mm for n, mm in zip(self.shape, self.spacing_mm, strict=True))


@dataclass(frozen=True)
class PhantomCase:
    """One case to make."""

    case: str
    kind: str
    """A field of `Phantoms`."""
    annotated: tuple[int, ...]
    """Empty: no label map is written."""
    tumour: bool


CtAndLabels = tuple[NDArray[np.int16], NDArray[np.uint8]]
"""A CT and its labels, both [Z, Y, X]."""
Draw = Callable[[PhantomCase, int], CtAndLabels]
"""Draw a case from a seed of its own."""


def load_phantoms(path: Path) -> tuple[Phantoms, int]:
    """Read the `[phantoms]` of a recipe, and its seed.

    Raises:
        KitError: It cannot be read, or has none.
    """
    phantoms, seed = phantoms_of(path), read_table(path, "recipe")[0].get("seed")
    if phantoms is None or type(seed) is not int:
        raise KitError(f"{path}: no [phantoms] or no seed; give a recipe of phantoms")
    return phantoms, seed


def phantoms_of(path: Path) -> Phantoms | None:
    """Read the `[phantoms]` of a recipe; None where it has none.

    Raises:
        KitError: It cannot be read, or they are described badly.
    """
    phantoms = read_table(path, "recipe")[0].get("phantoms")
    if phantoms is None:
        return None
    if not isinstance(phantoms, dict):
        raise KitError(f"{path}: phantoms is {phantoms!r}; write a [phantoms] table")
    return to_record(phantoms, Phantoms, f"recipe {path}: phantoms")


def _names() -> dict[str, list[str]]:
    """Return FLARE23's own ids by kind, so that the paper's lists fit generated cases."""
    complete, labelled = case_list("organ_complete"), case_list("partially_labelled")
    return {
        "complete": list(complete),
        "partial": sorted(set(labelled) - set(complete)),
        "unlabelled": sorted(set(case_list("all")) - set(labelled)),
        "validation": list(case_list("validation")),
    }


def phantom_cases(phantoms: Phantoms) -> Iterator[PhantomCase]:
    """Yield the cases to make; every other one that nobody drew has tumours."""
    names = _names()
    for case in names["complete"][: phantoms.complete]:
        yield PhantomCase(case, "complete", tuple(sorted(ORGAN_LABELS)), tumour=False)
    for place, case in enumerate(names["partial"][: phantoms.partial]):
        annotated = PATTERNS[place % len(PATTERNS)]
        yield PhantomCase(case, "partial", annotated, tumour=14 in annotated)
    for kind in ("unlabelled", "validation"):
        for place, case in enumerate(names[kind][: getattr(phantoms, kind)]):
            yield PhantomCase(case, kind, (), tumour=place % 2 == 0)


def from_shapes(phantoms: Phantoms) -> Draw:
    """Return what draws parametric abdomens."""
    return lambda case, seed: phantom(
        seed, phantoms.shape, phantoms.spacing_mm, case.tumour, phantoms.tumours_mm
    )


def write_phantom_case(
    case: PhantomCase, draw: Draw, phantoms: Phantoms, seed: int, folder: Path
) -> None:
    """Write one case into `folder`: sampled from `seed` and its own name, whatever else is made.

    Raises:
        KitError: A file cannot be written.
    """
    case_seed = np.random.SeedSequence([seed, crc32(case.case.encode())]).generate_state(1)[0]
    hu, truth = draw(case, int(case_seed))

    def write(array: NDArray[np.int16] | NDArray[np.uint8], place: str, suffix: str) -> None:
        write_volume(array, phantoms.spacing_mm, folder / place / f"{case.case}{suffix}")

    write(hu, getattr(LAYOUT, case.kind, LAYOUT.images), IMAGE_SUFFIX)
    write(truth, HIDDEN, LABEL_SUFFIX)
    if case.annotated:
        labels = np.where(np.isin(truth, case.annotated), truth, np.uint8(0))
        write(labels, LAYOUT.labels, LABEL_SUFFIX)


def write_release(phantoms: Phantoms, seed: int, draw: Draw, folder: Path) -> int:
    """Write a release into `folder`, and the truth of every case into `folder`/hidden.

    Args:
        phantoms: What to make.
        seed: The same seed gives the same bytes.
        draw: Makes a case; `from_shapes`, for one.
        folder: Must be new or empty.

    Returns:
        The number of cases.

    Raises:
        KitError: `folder` holds something, or cannot be written.
    """
    make_folder(folder)
    if any(folder.iterdir()):
        raise KitError(f"{folder} is not empty; give a new folder, or delete it")
    for name in (*LAYOUT.folders, HIDDEN):
        make_folder(folder / name)
    cases = list(phantom_cases(phantoms))
    console = terminal(stderr=True)
    for case in track(cases, description="phantoms", console=console, transient=True):
        write_phantom_case(case, draw, phantoms, seed, folder)
    return len(cases)
