"""From a CT to what the network gets; needs no engine, so it runs beside one that starts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import Box, Grid, Orientation
from imaging.volumes import Header, Volume
from inference.blank import Runs
from inference.ct import Source, read_ct
from inference.fewest_windows import fewest_windows
from inference.manifest import Manifest
from inference.report import CaseReport
from inference.settings import Settings
from inference.sliding_window import Window
from inference.view import network_image, view_of

if TYPE_CHECKING:
    from inference.localiser import Localiser


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
    header: Header
    """Of the CT: `imaging.volumes.write_labels` writes the labels with its geometry."""
    step: float
    """Between windows, as a share of the patch."""
    tta: str = "none"
    """Test-time augmentation."""
    blank: Runs = ()
    """Blank slices of the turned CT; `image` has copies of their neighbours there."""


class Preparer:
    """How CTs become a network's input."""

    def __init__(
        self, manifest: Manifest, settings: Settings, localiser: "Localiser | None" = None
    ) -> None:
        """Take the network's manifest, and what finds the organs where that is wanted.

        Raises:
            GeometryError: The network was not trained with the flips of the augmentation.
        """
        spec = manifest.window
        self.manifest = manifest
        self.settings = settings
        self.localiser = localiser
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

    def prepare_ct(self, ct: "Source | Volume", report: CaseReport) -> Prepared:
        """Read a CT and prepare it. A long one's memory is given back while that is done.

        Args:
            ct: The CT; one in memory stays as it is.
            report: Filled with warnings, grids and seconds.

        Raises:
            KitError: It cannot be read, or `strict` and there is a warning about it.
        """
        volume = read_ct(ct, report, strict=self.settings.strict)
        return self.prepare(volume, report, consume=volume is not ct)

    def prepare(self, volume: Volume, report: CaseReport, *, consume: bool = False) -> Prepared:
        """Turn, crop, clip, resample and normalize a CT.

        Args:
            volume: The CT as stored.
            report: Filled with warnings, grids and seconds.
            consume: Give the memory of `volume` back meanwhile; it shows nothing afterwards.
        """
        manifest = self.manifest
        report.warnings = volume.warnings
        report.input_shape = volume.grid.shape
        report.input_spacing_mm = volume.grid.spacing_mm
        with report.stage("prepare"):
            crop = self.settings.crop or manifest.crop
            view = view_of(volume, manifest, crop, self.localiser)
            box = fewest_windows(view, manifest.spacing_mm, self.window)
            image = network_image(view.hu[box], view.spacing_mm, manifest, consume=consume)
        report.warnings += view.warnings
        report.blank_slices = view.blank
        report.region = tuple((part.start, part.stop) for part in box)
        report.outside_ml = round(view.region.outside_ml, 1)
        report.localiser = view.region.found
        report.certainty = view.region.certainty
        report.working_shape = image.shape
        return Prepared(
            image,
            view.turn,
            box,
            volume.grid,
            volume.header,
            self.window.step,
            self.tta,
            view.blank,
        )
