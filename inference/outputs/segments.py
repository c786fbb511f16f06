"""The organs of an output (name, value, colour), and what an output is made from."""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from imaging.organs import COLORS, ORGANS
from imaging.volumes import Volume
from inference.manifest import Manifest
from inference.predictor import Segmentation

_GOLDEN = 0.618034
"""Hues that follow each other at this share of the circle are far apart."""


@dataclass(frozen=True)
class Segment:
    """One organ."""

    name: str
    value: int
    """In the label map."""
    rgb: tuple[int, int, int]
    """0..255."""


@dataclass(frozen=True, kw_only=True)
class LabelledCase(Segmentation):
    """A case whose label map is written, and what else its outputs are made from."""

    segments: tuple[Segment, ...]
    """What the labels mean; also those without a voxel."""
    manifest: Manifest
    """Of the network that made the labels."""
    read: Callable[[], Volume]
    """Reads the CT; its memory was freed before the network ran."""

    @property
    def name(self) -> str:
        """What the files of the case begin with."""
        return self.report.case

    @cached_property
    def volume(self) -> Volume:
        """The CT, read when it is first needed."""
        return self.read()


def segments_of(labels: dict[str, int]) -> tuple[Segment, ...]:
    """Return the segments of labels, in order of their values.

    Args:
        labels: Values by name; FLARE's organs have the colours of all pictures of the kit.
    """
    ordered = sorted(labels.items(), key=lambda item: item[1])
    return tuple(Segment(name, value, _color(name, value)) for name, value in ordered)


def _color(name: str, value: int) -> tuple[int, int, int]:
    if name in ORGANS:
        return COLORS[ORGANS[name]]
    red, green, blue = colorsys.hsv_to_rgb(value * _GOLDEN % 1, 0.65, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
