"""The part of a CT that the network gets, and warnings about the rest."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from imaging.geometry import Grid, Orientation, SpacingMm, as_shape
from imaging.hounsfield import Hu
from imaging.resampling import resample_linear
from imaging.volumes import Volume
from imaging.words import number_of
from inference.blank import Runs, blank_slices, bridged
from inference.manifest import Manifest
from inference.region import Region, region

if TYPE_CHECKING:
    from inference.localiser import Localiser

MUCH_OUTSIDE = 0.1
"""Share of tissue outside of the region that causes a warning; in 30 CTs it is at most 0.05."""


@dataclass(frozen=True)
class View:
    """A CT in the network's axes, and its region of interest."""

    turn: Orientation
    hu: Hu
    """[Z, Y, X], turned; blank slices are copies of their neighbours."""
    spacing_mm: SpacingMm
    blank: Runs
    region: Region

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about blank slices, and about tissue outside of the region of interest."""
        warnings = []
        if self.blank:
            slices = [stop - start for start, stop in self.blank]
            verb = "shows" if sum(slices) == 1 else "show"
            shown_nothing = f"{sum(slices)} of {number_of(len(self.hu), 'slice')} {verb} nothing"
            warnings.append(
                f"{shown_nothing} between others that do "
                f"({max(slices) * self.spacing_mm[0]:g} mm at a stretch): the network was shown "
                "the nearest slices in their place, and nothing is labelled there"
            )
        if self.region.found == "unsure":
            warnings.append(
                f"the localiser is unsure where the organs are (certainty "
                f"{self.region.certainty:.2f}): the region of interest is the body's box"
            )
        if self.region.found == "no organ":
            warnings.append(
                f"the localiser sees no organ (certainty {self.region.certainty:.2f}): the network "
                "did not run; --crop body runs it"
            )
        outside_ml, tissue_ml = self.region.outside_ml, self.region.tissue_ml
        if outside_ml >= MUCH_OUTSIDE * tissue_ml > 0:
            warnings.append(
                f"{outside_ml:,.0f} of {tissue_ml:,.0f} ml of tissue lie outside of the region "
                "of interest; --crop none labels the whole CT"
            )
        return tuple(warnings)


def view_of(
    volume: Volume, manifest: Manifest, crop: str, localiser: "Localiser | None" = None
) -> View:
    """Return a CT in the network's axes with its region of interest.

    Args:
        volume: The CT as stored.
        manifest: The network.
        crop: As for `inference.region.region`; or "organs", which is the body's box without
            `localiser`.
        localiser: What finds the organs.
    """
    turn = Orientation.to(manifest.orientation, volume.direction)
    spacing_mm = turn.grid(volume.grid).spacing_mm
    sides = zip(manifest.window.patch, manifest.spacing_mm, spacing_mm, strict=True)
    z, y, x = (math.ceil(voxels * wide / mm) for voxels, wide, mm in sides)
    patch = (z, y, x)
    turned = cast(Hu, turn.apply(volume.hu))
    blank = blank_slices(turned, spacing_mm)
    hu = bridged(turned, blank)
    found = region("body" if crop == "organs" else crop, hu, spacing_mm, patch)
    if crop == "organs" and localiser is not None:
        found = localiser.region(found, hu, spacing_mm, patch)
    return View(turn, hu, spacing_mm, blank, found)


def network_image(
    hu: Hu, spacing_mm: SpacingMm, manifest: Manifest, *, consume: bool = False
) -> NDArray[np.float32]:
    """Return what a network gets of `hu` [Z, Y, X]: clipped, on its grid, normalized; float32.

    `consume` is that of `resample_linear`.
    """
    intensity = manifest.intensity
    shape = Grid(as_shape(hu), spacing_mm).resampled(manifest.spacing_mm).shape
    image = resample_linear(hu, shape, intensity.clip_hu, consume=consume)
    image -= np.float32(intensity.mean_hu)
    image /= np.float32(intensity.std_hu)
    return image
