"""The part of a CT that the network gets, and warnings about the rest."""

import math
from dataclasses import dataclass
from typing import cast

from imaging.geometry import Orientation, SpacingMm
from imaging.volumes import Volume
from imaging.words import number_of
from inference.blank import Hu, Runs, blank_slices, bridged
from inference.manifest import Manifest
from inference.region import Region, region

MUCH_OUTSIDE = 0.1
"""Share of tissue outside of the region that causes a warning; in 30 CTs it is at most 0.01."""


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
        outside_ml, tissue_ml = self.region.outside_ml, self.region.tissue_ml
        if outside_ml >= MUCH_OUTSIDE * tissue_ml > 0:
            warnings.append(
                f"{outside_ml:,.0f} of {tissue_ml:,.0f} ml of tissue lie outside of the region "
                "of interest; --crop none labels the whole CT"
            )
        return tuple(warnings)


def view_of(volume: Volume, manifest: Manifest, crop: str) -> View:
    """Return a CT in the network's axes with its region of interest.

    Args:
        volume: The CT as stored.
        manifest: The network.
        crop: As for `inference.region.region`.
    """
    turn = Orientation.to(manifest.orientation, volume.direction)
    spacing_mm = turn.grid(volume.grid).spacing_mm
    sides = zip(manifest.window.patch, manifest.spacing_mm, spacing_mm, strict=True)
    z, y, x = (math.ceil(voxels * wide / mm) for voxels, wide, mm in sides)
    turned = cast(Hu, turn.apply(volume.hu))
    blank = blank_slices(turned, spacing_mm)
    hu = bridged(turned, blank)
    return View(turn, hu, spacing_mm, blank, region(crop, hu, spacing_mm, (z, y, x)))
