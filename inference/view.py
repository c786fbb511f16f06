"""What of a CT a network looks at, and what it does not."""

import math
from dataclasses import dataclass
from typing import cast

from imaging.geometry import Orientation, SpacingMm
from imaging.volumes import Volume
from inference.blank import Hu, Runs, blank_slices, bridged
from inference.manifest import Manifest
from inference.region import Region, region

MUCH_OUTSIDE = 0.1
"""Share of all tissue outside of the region from which on it is said: 0.01 at most in 30 CTs."""


@dataclass(frozen=True)
class View:
    """A CT as a network looks at it, in the network's axes."""

    turn: Orientation
    hu: Hu
    """[Z, Y, X], turned; blank slices show what their neighbours show."""
    spacing_mm: SpacingMm
    blank: Runs
    region: Region

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of blank slices, and of tissue that is not looked at."""
        told = []
        if self.blank:
            slices = [stop - start for start, stop in self.blank]
            told.append(
                f"{sum(slices)} of {len(self.hu)} slices show nothing between others that do "
                f"({max(slices) * self.spacing_mm[0]:g} mm at a stretch): the network was shown "
                "the nearest slices in their place, and nothing is labelled there"
            )
        outside_ml, tissue_ml = self.region.outside_ml, self.region.tissue_ml
        if outside_ml >= MUCH_OUTSIDE * tissue_ml > 0:
            told.append(
                f"{outside_ml:,.0f} of {tissue_ml:,.0f} ml of tissue lie outside of the region "
                "that was looked at; --crop none looks at all"
            )
        return tuple(told)


def view_of(volume: Volume, manifest: Manifest, crop: str) -> View:
    """Return what a network looks at on a CT.

    Args:
        volume: The CT as stored.
        manifest: The network.
        crop: As `inference.region.region` takes it.
    """
    turn = Orientation.to(manifest.orientation, volume.direction)
    spacing_mm = turn.grid(volume.grid).spacing_mm
    sides = zip(manifest.window.patch, manifest.spacing_mm, spacing_mm, strict=True)
    z, y, x = (math.ceil(voxels * wide / mm) for voxels, wide, mm in sides)
    turned = cast(Hu, turn.apply(volume.hu))
    blank = blank_slices(turned, spacing_mm)
    hu = bridged(turned, blank)
    return View(turn, hu, spacing_mm, blank, region(crop, hu, spacing_mm, (z, y, x)))
