"""One CT in memory to labels; the only module that knows the order of the steps."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import EngineError, ManifestError
from imaging.geometry import Box, Grid, Orientation, SpacingMm, as_shape
from imaging.overlap import label_counts
from imaging.resampling import resample_linear
from imaging.volumes import Volume
from inference.blank import Runs
from inference.engines import Engine, EngineOptions, Precision, infer_many, seconds_a_patch
from inference.labels import NativeLabels
from inference.limits import Limits, Plan, choose, memory_mib, resident_mib
from inference.manifest import Manifest
from inference.postprocess import clean, much_removed
from inference.report import CaseReport
from inference.sliding_window import Window, flips_of, logit_slabs, window_count
from inference.view import view_of


@dataclass(frozen=True)
class Settings:
    """What a run may change; None keeps what the manifest says."""

    engine: str = "auto"
    threads: int = 0
    precision: Precision = "auto"
    step: float | None = None
    blending: str | None = None
    tta: str | None = None
    crop: str | None = None
    clean: bool = True
    strict: bool = False
    """Refuse a CT about which there is a warning."""
    time_limit_s: float | None = None
    memory_limit_mib: float | None = None

    @property
    def limits(self) -> Limits:
        """What a case may take."""
        return Limits(self.time_limit_s, self.memory_limit_mib)


@dataclass(frozen=True)
class Watch:
    """Callbacks for whoever looks on."""

    case: Callable[[str, int], None] = lambda name, windows: None
    """A case reaches the network: its name and number of windows."""
    window: Callable[[], None] = lambda: None
    logits: Callable[[NDArray[np.float32]], None] = lambda logits: None
    """Given every slab of the working grid, as `Predictor.logits` yields it; not to be kept."""
    done: Callable[[CaseReport], None] = lambda report: None


@dataclass(frozen=True)
class Prepared:
    """A CT as the network takes it, and the way back; the CT itself is no longer needed."""

    image: NDArray[np.float32]
    """[Z, Y, X], normalized, on the working grid, in the network's orientation."""
    turn: Orientation
    box: Box
    """What of the turned CT `image` is."""
    grid: Grid
    """Of the CT as stored."""
    step: float
    """Between windows, as a share of the patch."""
    blank: Runs = ()
    """Slices of the turned CT that show nothing; what `image` shows there are their neighbours."""


class Predictor:
    """A network, ready to label volumes."""

    def __init__(self, manifest: Manifest, engine: Engine, settings: Settings) -> None:
        spec = manifest.window
        self._manifest = manifest
        self._engine = engine
        self._clean = settings.clean
        self._threads = EngineOptions(settings.threads).pinned_threads
        self._crop = settings.crop or manifest.crop
        self._window = Window(
            spec.patch,
            settings.step or spec.step,
            settings.blending or spec.blending,
            flips_of(settings.tta or spec.tta, spec.mirror_axes),
        )

    def prepare(self, volume: Volume, report: CaseReport) -> Prepared:
        """Turn, crop, clip, resample and normalize a CT.

        Args:
            volume: The CT as stored.
            report: Filled with grids and seconds.
        """
        manifest = self._manifest
        report.warnings = volume.warnings
        report.input_shape = volume.grid.shape
        report.input_spacing_mm = volume.grid.spacing_mm
        with report.stage("prepare"):
            view = view_of(volume, manifest, self._crop)
            box = view.region.box
            image = self._image(view.hu[box], view.spacing_mm)
        report.warnings += view.warnings
        report.blank_slices = view.blank
        report.region = tuple((part.start, part.stop) for part in box)
        report.outside_ml = round(view.region.outside_ml, 1)
        report.working_shape = image.shape
        return Prepared(image, view.turn, box, volume.grid, self._window.step, view.blank)

    def plan(self, prepared: Prepared, limits: Limits, spent_s: float, before_s: float) -> Plan:
        """Say what a prepared case will take, from the time of one window.

        Args:
            prepared: What `prepare` made.
            limits: What the case may take.
            spent_s: Seconds since it began.
            before_s: Seconds of them that were reading and preparing. What follows the network
                touches the same voxels, and took no longer on any CT that was measured.
        """
        start_s = time.perf_counter()
        window_s = self._window_s(prepared)
        spent_s += time.perf_counter() - start_s
        shape = as_shape(prepared.image)
        choices, chosen = choose(shape, self._window, spent_s, window_s, before_s, limits)
        region = tuple(part.stop - part.start for part in prepared.box)
        needed = memory_mib(
            resident_mib(), prepared.grid.shape, (region[0], region[1], region[2]), shape,
            self._window, len(self._manifest.labels) + 1,
        )  # fmt: skip
        over = []
        if limits.seconds is not None and chosen.seconds > limits.seconds:
            over.append(f"{chosen.seconds:.1f} s expected, the limit is {limits.seconds:g} s")
        if limits.memory_mib is not None and needed > limits.memory_mib:
            over.append(f"{needed:,.0f} MiB expected, the limit is {limits.memory_mib:,.0f} MiB")
        return Plan(spent_s, window_s, before_s, needed, choices, chosen, tuple(over))

    def _window_s(self, prepared: Prepared) -> float:
        """Time one window with its flips."""
        sizes = zip(prepared.image.shape, self._window.patch, strict=True)
        middle = tuple(slice(max(0, (n - p) // 2), max(0, (n - p) // 2) + p) for n, p in sizes)
        part = prepared.image[middle]
        patch = np.zeros((1, 1, *self._window.patch), dtype=np.float32)
        z, y, x = part.shape
        patch[0, 0, :z, :y, :x] = part
        return seconds_a_patch(self._engine, patch, 2) * len(self._window.flips)

    def label(self, prepared: Prepared, report: CaseReport, watch: Watch) -> NDArray[np.uint8]:
        """Label a prepared CT.

        Args:
            prepared: What `prepare` made.
            report: Filled with windows, seconds and organ volumes.
            watch: Told of every window.

        Returns:
            uint8 [Z, Y, X] labels on the CT's own voxels.

        Raises:
            ManifestError: The network has other labels than the manifest says.
            EngineError: The network answers no numbers.
        """
        window = replace(self._window, step=prepared.step)
        report.step = window.step
        report.windows = window_count(as_shape(prepared.image), window)
        watch.case(report.case, report.windows)
        labels = np.zeros(prepared.grid.shape, dtype=np.uint8)
        part = prepared.turn.apply(labels)[prepared.box]
        native = NativeLabels(as_shape(prepared.image), part, self._threads)
        slabs = self.logits(prepared, watch.window)
        while True:
            with report.stage("network"):
                logits = next(slabs, None)
            if logits is None:
                break
            watch.logits(logits)
            with report.stage("labels"):
                native.add(logits)
        del slabs, native, logits  # their memory is needed for components
        if self._clean:
            with report.stage("clean"):
                rules, values = self._manifest.postprocess, self._manifest.labels
                report.removed_ml = clean(labels, rules, values, prepared.grid.voxel_ml)
        for start, stop in prepared.blank:
            prepared.turn.apply(labels)[start:stop] = 0
        self._count(labels, prepared.grid.voxel_ml, report)
        return labels

    def _count(self, labels: NDArray[np.uint8], voxel_ml: float, report: CaseReport) -> None:
        """Fill in volumes, and say what is missing."""
        report.volumes_ml = volumes_ml(labels, self._manifest.labels, voxel_ml)
        report.empty = tuple(name for name, ml in report.volumes_ml.items() if not ml)
        report.warnings += much_removed(report.removed_ml, report.volumes_ml)
        if len(report.empty) == len(report.volumes_ml):
            report.warnings += ("the label map is empty: the network found no organ",)

    def logits(
        self,
        prepared: Prepared,
        advance: Callable[[], None] = lambda: None,
        flips: tuple[tuple[int, ...], ...] | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """Run the network on a prepared CT.

        Args:
            prepared: What `prepare` made.
            advance: Called after each window.
            flips: Sets of axes along which each patch is flipped; None: as the settings say.

        Yields:
            float32 [K, some slices, Y, X] of the working grid, from its first slice to its last,
            good until the next is asked for; class 0 is background.

        Raises:
            ManifestError: The network has other labels than the manifest says.
            EngineError: The network answers no numbers.
        """
        window = replace(self._window, step=prepared.step, flips=flips or self._window.flips)
        for slab in logit_slabs(prepared.image, partial(infer_many, self._engine), window, advance):
            self._check(slab)
            yield slab

    def _image(self, hu: NDArray[Any], spacing_mm: SpacingMm) -> NDArray[np.float32]:
        intensity = self._manifest.intensity
        shape = Grid(as_shape(hu), spacing_mm).resampled(self._manifest.spacing_mm).shape
        image = resample_linear(hu, shape, intensity.clip_hu)
        image -= np.float32(intensity.mean_hu)
        image /= np.float32(intensity.std_hu)
        return image

    def _check(self, logits: NDArray[np.float32]) -> None:
        names = len(self._manifest.labels)
        if logits.shape[0] != names + 1:
            raise ManifestError(
                f"the network says {logits.shape[0]} classes, the manifest names "
                f"{names} and background; give them the same labels"
            )
        if not all(np.isfinite([of.min(), of.max()]).all() for of in logits):
            raise EngineError("the network answers NaN or infinity; try --precision f32")


def volumes_ml(
    labels: NDArray[np.uint8], values: dict[str, int], voxel_ml: float
) -> dict[str, float]:
    """Return the volume of each organ in millilitres."""
    counts = label_counts(labels)
    return {name: round(float(counts[value]) * voxel_ml, 3) for name, value in values.items()}
