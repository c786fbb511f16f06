"""What a CT series is: its images in slice order, where they lie, and what is wrong with it.

Nothing here needs pydicom.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.errors import KitError
from imaging.extras import missing_package
from imaging.volumes import Header

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Image:
    """One slice as its file describes it; what the file does not say, or says wrongly, is None."""

    file: Path
    frame: int
    """Index in a multi-frame file, from 0; 0 for a file of one image."""
    modality: str
    sop_class: str
    series_uid: str
    study_uid: str
    number: int | None
    """SeriesNumber."""
    description: str
    """SeriesDescription."""
    kind: tuple[str, ...]
    """Image Type, in capital letters."""
    rows: int
    columns: int
    samples: int
    orientation: tuple[float, ...] | None
    """LPS direction of a row, then of a column."""
    position_mm: tuple[float, ...] | None
    """LPS centre of the first voxel."""
    spacing_mm: tuple[float, ...] | None
    """Between rows, between columns."""
    slope: float | None
    intercept: float | None
    rescale_type: str
    lossy: bool
    phase: tuple[tuple[str, str], ...]
    """What sets volumes of one series apart: name and value, those that tell most first."""

    @property
    def axes(self) -> tuple[Floats, Floats]:
        """LPS direction of a row (X grows) and of a column (Y grows)."""
        found = np.array(self.orientation or (0,) * 6, np.float64)
        return found[:3], found[3:]

    @property
    def scaling(self) -> tuple[float, float]:
        """Slope and intercept from stored numbers to HU; each slice may have its own."""
        return 1.0 if self.slope is None else self.slope, self.intercept or 0.0


@dataclass(frozen=True)
class Series:
    """One series. Slice i is `labels[i]` of its label map [Z, Y, X]."""

    name: str
    """What messages call it: its folder, and its number where the folder holds several."""
    uid: str
    """SeriesInstanceUID; "" where the files have none."""
    number: int | None
    """SeriesNumber."""
    description: str
    """SeriesDescription, and what sets it apart from others of its UID; or ""."""
    modality: str
    folder: Path
    slices: tuple[Image, ...]
    """In the order of their positions, along the cross product of row and column direction."""
    header: Header | None
    """Where its voxels lie; None where they form no volume."""
    warnings: tuple[str, ...] = ()
    """What was dropped or assumed."""
    problem: str | None = None
    """Why it cannot be labelled: a slice is missing, the gantry is tilted."""
    left_out: str | None = None
    """Why it is no case: a localiser, another modality."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Its files in slice order, each once; a multi-frame series has one."""
        return tuple(dict.fromkeys(one.file for one in self.slices))

    @property
    def outcome(self) -> str:
        """What becomes of it, for a table: "", or why it is no case or cannot be labelled."""
        if self.left_out:
            return f"left out: {self.left_out}"
        return f"refused: {self.problem}" if self.problem else ""


@contextmanager
def needing_pydicom() -> Iterator[None]:
    """Say what to type where pydicom is missing.

    Raises:
        KitError: An import in the block did not find it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        message = missing_package(error)
        if message is None:
            raise
        raise KitError(f"a DICOM file cannot be read: {message}") from error
