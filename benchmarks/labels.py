"""Logits on the working grid to labels on the CT's: all classes at once, in slabs, the kit's."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from rich.table import Table

from benchmarks.alternating import in_own_process
from imaging.fitted_tables import show_table
from imaging.geometry import as_shape
from imaging.machine import cpu_name, peak_memory_mib
from imaging.organs import ORGANS
from imaging.records import write_json
from imaging.terminal import terminal
from inference.labels import NativeLabels
from train.synthesis.phantom import phantom

Array = NDArray[np.float32]
Labels = NDArray[np.uint8]

WORKING, NATIVE = (120, 273, 273), (300, 512, 512)
_SPACING_MM = (2.5, 1.5, 1.5)
_SLAB_SLICES = 16
_CHUNK_SLICES = 24
"""What sliding windows hand on at a time: half of a patch of 48."""


def all_at_once(logits: Array) -> Labels:
    """Interpolate every class to the CT's voxels, then take the largest, as torch would have it."""
    full = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None], size=NATIVE, mode="trilinear", align_corners=False
    )
    return full[0].argmax(0).to(torch.uint8).numpy()


def slabs(logits: Array) -> Labels:
    """Interpolate class by class in slabs of native slices, and keep the largest so far."""
    source = torch.from_numpy(logits)
    found = np.empty(NATIVE, dtype=np.uint8)
    ratio = WORKING[0] / NATIVE[0]
    for first in range(0, NATIVE[0], _SLAB_SLICES):
        last = min(first + _SLAB_SLICES, NATIVE[0])
        place = ((torch.arange(first, last) + 0.5) * ratio - 0.5).clamp(0, WORKING[0] - 1)
        below = place.long().clamp(max=WORKING[0] - 2)
        share = (place - below)[:, None, None]
        best, winner = torch.empty(0), torch.zeros(last - first, *NATIVE[1:], dtype=torch.uint8)
        for label, volume in enumerate(source):
            thin = volume[below] * (1 - share) + volume[below + 1] * share
            fine = torch.nn.functional.interpolate(
                thin[None], size=NATIVE[1:], mode="bilinear", align_corners=False
            )[0]
            if label == 0:
                best = fine
                continue
            better = fine > best
            winner[better] = label
            torch.maximum(best, fine, out=best)
        found[first:last] = winner.numpy()
    return found


def kit(logits: Array) -> Labels:
    """Restore as `inference` does, from chunks as the windows hand them on."""
    found = np.zeros(NATIVE, dtype=np.uint8)
    native = NativeLabels(as_shape(logits[0]), found, len(os.sched_getaffinity(0)))
    for first in range(0, WORKING[0], _CHUNK_SLICES):
        native.add(logits[:, first : first + _CHUNK_SLICES])
    return found


WAYS: dict[str, Callable[[Array], Labels]] = {
    "all classes at once": all_at_once,
    "slabs, running maximum": slabs,
    "kit": kit,
}


def benchmark_labels(repeats: int, output: Path) -> None:
    """Measure all ways in turn, each run in a process of its own; print and write `output`."""
    runs: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        logits, made = Path(folder) / "logits.npy", Path(folder) / "labels.npy"
        np.save(logits, phantom_logits())
        differ, reference = {}, None
        for _ in track(range(repeats), description="labels", transient=True):
            for way, seen in runs.items():
                seen.append(in_own_process(_restore, way, logits, made))
                labels = np.load(made)
                reference = labels if reference is None else reference
                differ[way] = int((labels != reference).sum())
    table = {
        way: {
            "median_s": statistics.median(s for s, _ in seen),
            "seconds": [round(s, 3) for s, _ in seen],
            "extra_mib": round(statistics.median(mib for _, mib in seen)),
            "voxels_that_differ": differ[way],
        }
        for way, seen in runs.items()
    }
    facts = {"cpu": cpu_name(), "working": WORKING, "native": NATIVE, "classes": len(ORGANS) + 1}
    write_json({**facts, "ways": table}, output, indent=2)
    shown = Table("way", "median s", "extra MiB", "voxels that differ", title="logits to labels")
    for way, row in table.items():
        shown.add_row(way, f"{row['median_s']:.2f}", str(row["extra_mib"]), str(differ[way]))
    show_table(shown, terminal())


def phantom_logits() -> Array:
    """Return float32 [15, Z, Y, X]: a generated abdomen's labels, blurred as a network's are."""
    labels = phantom(0, WORKING, _SPACING_MM)[1]
    noise = np.random.default_rng(0)
    found = np.empty((len(ORGANS) + 1, *WORKING), dtype=np.float32)
    for label in range(len(found)):
        source = torch.from_numpy((labels == label).astype(np.float32))[None, None]
        soft = torch.nn.functional.avg_pool3d(source, 3, stride=1, padding=1)[0, 0].numpy()
        found[label] = 12 * soft + noise.normal(0, 0.5, WORKING).astype(np.float32)
    return found


def _restore(way: str, logits: Path, target: Path) -> tuple[float, float]:
    """Restore labels; return seconds and the memory beyond the logits and the labels (MiB)."""
    source = np.load(logits)
    before_mib = peak_memory_mib()
    start_s = time.perf_counter()
    labels = WAYS[way](source)
    seconds = time.perf_counter() - start_s
    extra_mib = peak_memory_mib() - before_mib - labels.nbytes / 2**20
    np.save(target, labels)
    return seconds, extra_mib
