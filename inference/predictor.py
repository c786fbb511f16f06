"""Label one CT in memory; the only module that knows the order of the steps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imaging.errors import EngineError, ManifestError
from imaging.geometry import Box, Grid, Orientation, SpacingMm, as_shape
from imaging.volumes import Header, Volume
from inference.attempts import labelled
from inference.blank import Runs
from inference.counts import count_chosen
from inference.ct import AnyCt, Direction, Source, case_name, opened_ct, read_ct
from inference.engines import Engine, EngineOptions, Instead, Precision, blended_logits, no_other
from inference.fewest_windows import fewest_windows
from inference.labels import NativeLabels, keep_only
from inference.manifest import Manifest
from inference.postprocess import clean
from inference.report import CaseReport, now_s
from inference.sliding_window import PLAIN, Window, window_count
from inference.view import network_image, view_of

if TYPE_CHECKING:
    from inference.localiser import Localiser


@dataclass(frozen=True)
class Settings:
    """Settings of a run; None means as in the manifest."""

    engine: str = "auto"
    threads: int = 0
    device: int = 0
    """Number of the GPU, for an engine that runs on one."""
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
    organs: tuple[str, ...] = ()
    """The labels that are kept, by name; all if there is none."""


AS_THE_MANIFEST = Settings()


@dataclass(frozen=True)
class Progress:
    """Callbacks that are called as the work goes on; by default they do nothing."""

    case: Callable[[str, int], None] = lambda name, windows: None
    """A case reaches the network: its name and number of windows."""
    window: Callable[[], None] = lambda: None
    """The network has answered one window."""
    done: Callable[[CaseReport], None] = lambda report: None
    """A case is done or has failed."""


UNSEEN = Progress()
"""Shows nothing."""


@dataclass(frozen=True)
class Segmentation:
    """The labels of one CT, and how they were made."""

    labels: NDArray[np.uint8]
    """[Z, Y, X], on the CT's own voxels; 0 is background."""
    report: CaseReport
    header: Header
    """Of the CT: `imaging.volumes.write_labels` writes the labels with its geometry."""
    source: "Source | None" = None
    """What the CT was read from; None for one in memory."""


@dataclass(frozen=True)
class Prepared:
    """The network's input, and how to map its labels back; the CT itself is no longer needed."""

    image: NDArray[np.float32]
    """[Z, Y, X], normalized, on the working grid, in the network's orientation."""
    turn: Orientation
    box: Box
    """The part of the turned CT that `image` shows."""
    grid: Grid
    """Of the CT as stored."""
    step: float
    """Between windows, as a share of the patch."""
    tta: str = "none"
    """Test-time augmentation."""
    blank: Runs = ()
    """Blank slices of the turned CT; `image` has copies of their neighbours there."""


class Predictor:
    """A network, ready to label volumes."""

    def __init__(
        self,
        manifest: Manifest,
        engine: Engine,
        settings: Settings,
        instead: Instead = no_other,
        localiser: "Localiser | None" = None,
    ) -> None:
        spec = manifest.window
        self.manifest = manifest
        self.engine = engine
        self.settings = settings
        self.instead = instead
        self.localiser = localiser
        self.threads = EngineOptions(settings.threads).pinned_threads
        self.tta = settings.tta or spec.tta
        self.window = self.window_of(self.tta, settings.step or spec.step)

    def window_of(self, tta: str, step: float) -> Window:
        """Return how windows are laid, shown and blended.

        Args:
            tta: Test-time augmentation, one of `inference.augmentation.TTA`.
            step: Between windows, as a share of the patch.

        Raises:
            GeometryError: The augmentation is unknown, or flips what training did not.
        """
        spec = self.manifest.window
        plain = Window(spec.patch, step, self.settings.blending or spec.blending, ((),))
        if tta == "none":
            return plain
        from inference.augmentation import augmented  # imported only if there is one

        return augmented(plain, tta, spec.mirror_axes)

    def segment(
        self,
        ct: AnyCt,
        progress: Progress = UNSEEN,
        *,
        spacing_mm: SpacingMm | None = None,
        direction: "Direction | None" = None,
    ) -> Segmentation:
        """Label one CT, as the function `segment` does."""
        begun_s = now_s()
        with opened_ct(ct, spacing_mm, direction) as source:
            report = CaseReport(case_name(source))
            read = partial(read_ct, source, report, strict=self.settings.strict)
            with report.timed():
                found = self.segment_case(read, report, progress, begun_s)
        return replace(found, source=None if isinstance(source, Volume) else source)

    def segment_case(
        self, read: Callable[[], Volume], report: CaseReport, progress: Progress, begun_s: float
    ) -> Segmentation:
        """Label the CT that `read` returns; its memory is freed before the network runs.

        Args:
            read: Called once.
            report: Filled in.
            progress: Called with every window.
            begun_s: When the case began, on the clock of `now_s`; a time limit counts from there.

        Raises:
            KitError: The CT or the network cannot be used.
        """
        volume = read()
        prepared, header = self.prepare(volume, report), volume.header
        del volume
        if report.localiser == "no organ":
            return Segmentation(self._without_organs(prepared, report), report, header)
        return Segmentation(labelled(self, prepared, report, progress, begun_s), report, header)

    def prepare(self, volume: Volume, report: CaseReport) -> Prepared:
        """Turn, crop, clip, resample and normalize a CT.

        Args:
            volume: The CT as stored.
            report: Filled with grids and seconds.
        """
        manifest = self.manifest
        report.warnings = volume.warnings
        report.input_shape = volume.grid.shape
        report.input_spacing_mm = volume.grid.spacing_mm
        with report.stage("prepare"):
            crop = self.settings.crop or manifest.crop
            view = view_of(volume, manifest, crop, self.localiser)
            box = fewest_windows(view, manifest.spacing_mm, self.window)
            image = network_image(view.hu[box], view.spacing_mm, manifest)
        report.warnings += view.warnings
        report.blank_slices = view.blank
        report.region = tuple((part.start, part.stop) for part in box)
        report.outside_ml = round(view.region.outside_ml, 1)
        report.localiser = view.region.found
        report.certainty = view.region.certainty
        report.working_shape = image.shape
        return Prepared(image, view.turn, box, volume.grid, self.window.step, self.tta, view.blank)

    def label(
        self,
        prepared: Prepared,
        report: CaseReport,
        progress: Progress = UNSEEN,
        on_logits: Callable[[NDArray[np.float32]], None] = lambda logits: None,
    ) -> NDArray[np.uint8]:
        """Label a prepared CT.

        Args:
            prepared: What `prepare` made.
            report: Filled with windows, seconds and organ volumes.
            progress: Called with every window.
            on_logits: Called with every slab that `logits` yields; valid only during the call.

        Returns:
            uint8 [Z, Y, X] labels on the CT's own voxels.

        Raises:
            ManifestError: The network has other labels than the manifest.
            EngineError: The logits are not finite.
        """
        window = self.window_of(prepared.tta, prepared.step)
        report.step, report.tta = prepared.step, prepared.tta
        report.windows = window_count(as_shape(prepared.image), window)
        progress.case(report.case, report.windows)
        labels = np.zeros(prepared.grid.shape, dtype=np.uint8)
        part = prepared.turn.apply(labels)[prepared.box]
        native = NativeLabels(as_shape(prepared.image), part, self.threads)
        slabs = self.logits(prepared, progress.window)
        while True:
            with report.stage("network"):
                logits = next(slabs, None)
            if logits is None:
                break
            on_logits(logits)
            with report.stage("labels"):
                native.add(logits)
        del slabs, native, logits  # their memory is needed for components
        if self.settings.clean:
            with report.stage("clean"):
                rules, values = self.manifest.postprocess, self.manifest.labels
                report.removed_ml = clean(labels, rules, values, prepared.grid.voxel_ml)
        for start, stop in prepared.blank:
            prepared.turn.apply(labels)[start:stop] = 0
        if self.settings.organs:
            keep_only(labels, self.manifest.chosen(self.settings.organs).values())
        count_chosen(labels, self.manifest, self.settings.organs, prepared.grid.voxel_ml, report)
        return labels

    def _without_organs(self, prepared: Prepared, report: CaseReport) -> NDArray[np.uint8]:
        """Return the labels of a CT in which the localiser sees no organ: no window is computed."""
        report.step = prepared.step
        labels = np.zeros(prepared.grid.shape, dtype=np.uint8)
        count_chosen(labels, self.manifest, self.settings.organs, prepared.grid.voxel_ml, report)
        return labels

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
            flips: Sets of axes along which each patch is flipped, in place of the augmentation.

        Yields:
            float32 [K, some slices, Y, X] of the working grid, from its first slice to its last,
            good until the next is requested; class 0 is background.

        Raises:
            ManifestError: The network has other labels than the manifest.
            EngineError: The logits are not finite.
        """
        window = self.window_of(prepared.tta, prepared.step)
        if flips is not None:
            window = replace(window, flips=flips, lattices=(PLAIN,))
        for slab in blended_logits(self.engine, prepared.image, window, advance, self.threads):
            self._check(slab)
            yield slab

    def _check(self, logits: NDArray[np.float32]) -> None:
        names = len(self.manifest.labels)
        if logits.shape[0] != names + 1:
            raise ManifestError(
                f"the network says {logits.shape[0]} classes, the manifest names "
                f"{names} and background; give them the same labels"
            )
        if not all(np.isfinite([of.min(), of.max()]).all() for of in logits):
            raise EngineError("the network answers NaN or infinity; try --precision f32")
