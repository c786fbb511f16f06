"""Label one CT in memory; the only module that knows the order of the steps."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imaging.errors import EngineError, ManifestError
from imaging.geometry import SpacingMm, as_shape
from imaging.volumes import Header, Volume
from inference.attempts import labelled
from inference.counts import count_chosen
from inference.ct import AnyCt, Direction, Source, case_name, opened_ct
from inference.engines import Engine, EngineOptions, Instead, blended_logits, no_other
from inference.labels import NativeLabels, keep_only
from inference.manifest import Manifest
from inference.postprocess import clean
from inference.preparing import Prepared, Preparer
from inference.report import CaseReport, now_s
from inference.settings import Settings
from inference.sliding_window import PLAIN, window_count

if TYPE_CHECKING:
    from inference.localiser import Localiser


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


class Predictor(Preparer):
    """A network, ready to label volumes."""

    def __init__(
        self,
        manifest: Manifest,
        engine: Engine,
        settings: Settings,
        instead: Instead = no_other,
        localiser: "Localiser | None" = None,
    ) -> None:
        super().__init__(manifest, settings, localiser)
        self.engine = engine
        self.instead = instead
        self.threads = EngineOptions(settings.threads).pinned_threads

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
            take = partial(self.prepare_ct, source, report)
            with report.timed():
                found = self.segment_case(take, report, progress, begun_s)
        return replace(found, source=None if isinstance(source, Volume) else source)

    def segment_case(
        self, take: Callable[[], Prepared], report: CaseReport, progress: Progress, begun_s: float
    ) -> Segmentation:
        """Label the prepared CT that `take` returns.

        Args:
            take: Called once.
            report: Filled in.
            progress: Called with every window.
            begun_s: When the case began, on the clock of `now_s`; a time limit counts from there.

        Raises:
            KitError: The CT or the network cannot be used.
        """
        prepared = take()
        if report.localiser == "no organ":
            labels = self._without_organs(prepared, report)
        else:
            labels = labelled(self, prepared, report, progress, begun_s)
        return Segmentation(labels, report, prepared.header)

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
        with ThreadPoolExecutor(self.threads) as pool:  # NumPy releases Python's lock
            finite = all(pool.map(_is_finite, logits))
        if not finite:
            raise EngineError("the network answers NaN or infinity; try --precision f32")


def _is_finite(numbers: NDArray[np.float32]) -> bool:
    """Tell whether all numbers are finite: a sum is so only if all that is added is."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(numbers.sum()))
