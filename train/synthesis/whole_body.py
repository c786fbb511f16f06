"""Generate a CT from head to toe: the phantom's trunk between painted legs, neck and head.

For checks of what finds the abdomen in a long scan. No organ lies outside of the trunk.
"""

import numpy as np
from numpy.typing import NDArray

from imaging.axis import from_corner
from imaging.geometry import Shape, SpacingMm
from imaging.hounsfield import Hu
from train.synthesis.phantom import phantom

TRUNK_MM, LEGS_MM, HEAD_MM = 620.0, 860.0, 280.0
PLANE_MM = (384.0, 544.0)
"""Depth and width of the scan: arms beside the body lie inside."""
_AIR, _FAT, _MUSCLE, _BRAIN, _MARROW, _BONE = -1000, -100, 58, 36, 180, 520
_NOISE_HU = 11.0
_STREAM = 29
"""Set apart from other users of the same seed."""

Places = NDArray[np.float64]
Rings = tuple[tuple[float | Places, int], ...]


def whole_body(
    seed: int, spacing_mm: SpacingMm = (4.0, 4.0, 4.0)
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Draw a patient from head to toe, supine, axes to Superior, Posterior, Left.

    Args:
        seed: Draws anatomy, contrast phase, noise, and whether arms lie beside the body.
        spacing_mm: Voxel size (Z, Y, X).

    Returns:
        int16 [Z, Y, X] CT in Hounsfield units and uint8 [Z, Y, X] FLARE labels.
    """
    rng = np.random.default_rng((_STREAM, seed))
    z_mm, y_mm, x_mm = spacing_mm
    y, x = round(PLANE_MM[0] / y_mm), round(PLANE_MM[1] / x_mm)
    legs, trunk, head = (round(mm / z_mm) for mm in (LEGS_MM, TRUNK_MM, HEAD_MM))
    hu, organs = phantom(seed, (trunk, y, x), spacing_mm)
    parts = [_legs((legs, y, x), spacing_mm, rng), _head((head, y, x), spacing_mm, rng)]
    noisy = [(part + rng.normal(0, _NOISE_HU, part.shape)).astype(np.int16) for part in parts]
    if rng.uniform() < 0.5:
        for side in (-1, 1):
            _tube(hu, spacing_mm, (20, side * 225), _limb(38.0, 11))
    labels = np.zeros((legs + trunk + head, y, x), np.uint8)
    labels[legs : legs + trunk] = organs
    return np.concatenate([noisy[0], hu, noisy[1]]), labels


def _from_middle(size: int, mm: float) -> Places:
    """Return where voxels lie along an axis, in mm from its middle."""
    return from_corner(np.arange(size, dtype=np.float64), mm) - size * mm / 2


def _tube(hu: Hu, spacing_mm: SpacingMm, middle_mm: tuple[float, float], rings: Rings) -> None:
    """Paint a tube along the body, ring inside ring.

    Args:
        hu: [Z, Y, X], changed in place.
        spacing_mm: Its voxel size.
        middle_mm: Where its axis lies, (Y, X) from the middle of the plane.
        rings: Radius in mm, one number or [Z], and HU of each, the widest first.
    """
    y, x = (
        _from_middle(n, mm) - at
        for n, mm, at in zip(hu.shape[1:], spacing_mm[1:], middle_mm, strict=True)
    )
    distance = np.hypot(y[:, None], x)
    for radius_mm, value in rings:
        hu[distance < np.broadcast_to(radius_mm, len(hu))[:, None, None]] = value


def _limb(radius_mm: float | Places, bone_mm: float) -> Rings:
    """Return the rings of a limb: fat, muscle, bone, marrow."""
    return (
        (radius_mm, _FAT),
        (np.subtract(radius_mm, 12), _MUSCLE),
        (bone_mm, _BONE),
        (bone_mm - 5, _MARROW),
    )


def _legs(shape: Shape, spacing_mm: SpacingMm, rng: np.random.Generator) -> Hu:
    """Paint two legs from the feet up: 9 cm thick at the ankle, 16 to 18 cm at the hip."""
    hu = np.full(shape, _AIR, np.float32)
    thigh_mm = float(rng.uniform(78, 92))
    radius_mm = np.linspace(45, thigh_mm, shape[0])
    for side in (-1, 1):
        _tube(hu, spacing_mm, (10, side * (thigh_mm - 5)), _limb(radius_mm, 15))
    return hu


def _head(shape: Shape, spacing_mm: SpacingMm, rng: np.random.Generator) -> Hu:
    """Paint a neck with spine and airway, and on it a skull full of brain."""
    hu = np.full(shape, _AIR, np.float32)
    neck = hu[: len(hu) // 2]
    neck_mm = float(rng.uniform(55, 68))
    _tube(neck, spacing_mm, (10, 0), ((neck_mm, _FAT), (neck_mm - 10, _MUSCLE)))
    _tube(neck, spacing_mm, (35, 0), ((18, _BONE), (12, _MARROW)))
    _tube(neck, spacing_mm, (-20, 0), ((9, _AIR),))
    z, y, x = (_from_middle(n, mm) for n, mm in zip(shape, spacing_mm, strict=True))
    size = float(rng.uniform(0.94, 1.05))
    for inward_mm, value in ((0, _FAT), (6, _BONE), (13, _BRAIN)):
        a, b, c = (mm * size - inward_mm for mm in (115, 98, 78))
        squares = np.square((z - 20) / a)[:, None, None] + np.square(y / b)[:, None]
        hu[squares + np.square(x / c) < 1] = value
    return hu
