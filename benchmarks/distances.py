"""Ways to measure surface distances: are they fast, and are they the official numbers?"""

import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table
from scipy import ndimage
from scipy.spatial import KDTree

from benchmarks.generated import GRID, write_pair
from evaluation.profiles.profile import FLARE23
from evaluation.scoring.boxes import hull, label_boxes
from evaluation.scoring.folders import read_map
from evaluation.scoring.surfaces import Mask, neighbour_codes
from imaging.fitted_tables import show_table
from imaging.organs import ORGANS
from imaging.terminal import terminal

Distances = NDArray[np.float64]
Way = Callable[[Mask, Mask], Distances]
_SPACING = GRID.spacing_mm


def by_tree(surface: Mask, other: Mask) -> Distances:
    """Nearest element by a k-d tree, as `evaluation.scoring.surfaces`."""
    mm = np.array(_SPACING)
    return np.asarray(
        KDTree(np.argwhere(other) * mm, balanced_tree=False).query(np.argwhere(surface) * mm)[0]
    )


def by_scipy(surface: Mask, other: Mask) -> Distances:
    """Distance transform of the box by SciPy, as the official script."""
    return np.asarray(ndimage.distance_transform_edt(~other, sampling=_SPACING)[surface])


def by_itk(surface: Mask, other: Mask) -> Distances:
    """Distance transform by SimpleITK, in float32."""
    image = sitk.GetImageFromArray(other.view(np.uint8))
    image.SetSpacing(_SPACING[::-1])
    transform = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(transform)[surface], np.float64).clip(0)


def by_edt(surface: Mask, other: Mask) -> Distances:
    """Distance transform by the package `edt`, in float32, on one thread."""
    transform = import_module("edt").edt(~other, anisotropy=_SPACING, parallel=1)
    return np.asarray(transform[surface], np.float64)


def benchmark_distances(repeats: int) -> None:
    """Measure each way on the fourteen surfaces of a generated pair, in turn; print the table.

    All on one thread: `score` runs one case a process.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        pair = write_pair(Path(folder))
        surfaces = _surfaces(*(read_map(f / "case.nii.gz", "official").labels for f in pair))
    ways: dict[str, Way] = {"k-d tree": by_tree, "scipy": by_scipy, "SimpleITK": by_itk}
    if find_spec("edt"):
        ways["edt"] = by_edt
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[Distances]] = {}
    for _ in track(range(repeats), transient=True, console=terminal(stderr=True)):
        for name, way in ways.items():
            start_s = time.perf_counter()
            found[name] = [way(*pair) for _, *pair in surfaces]
            seconds[name].append(time.perf_counter() - start_s)
    tolerance_mm = FLARE23.tolerances_mm
    table = Table("way", "s", "largest error mm", "on the other side of the tolerance")
    for name, values in found.items():
        errors = [np.abs(a - b).max() for a, b in zip(values, found["scipy"], strict=True)]
        flips = sum(
            np.count_nonzero((a <= tolerance_mm[organ]) != (b <= tolerance_mm[organ]))
            for (organ, *_), a, b in zip(surfaces, values, found["scipy"], strict=True)
        )
        table.add_row(name, f"{median(seconds[name]):.2f}", f"{max(errors):.1e}", str(flips))
    show_table(table, terminal())


def _surfaces(truth: NDArray[np.uint8], pred: NDArray[np.uint8]) -> list[tuple[str, Mask, Mask]]:
    """Return the surface elements of each organ, truth against prediction and back."""
    boxes = label_boxes(truth, 14), label_boxes(pred, 14)
    found = []
    for organ, label in ORGANS.items():
        box = hull(boxes[0][label], boxes[1][label])
        codes = [neighbour_codes(labels[box] == label) for labels in (truth, pred)]
        first, second = ((code != 0) & (code != 255) for code in codes)
        found += [(organ, first, second), (organ, second, first)]
    return found
