"""Stored numbers in Hounsfield units: int16 where all of them are such integers, else float32.

Many programs store HU + 1024 and an intercept, or HU as floating-point numbers. As int16 they are
the same HU in half the memory of float32, and faster to resample.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imaging.errors import VolumeError
from imaging.geometry import Shape
from imaging.words import number_of

Hu = NDArray[np.int16] | NDArray[np.float32]
Scaling = tuple[float, float]
"""Slope and intercept, from stored numbers to HU."""
UNSCALED = (1.0, 0.0)
_INT16 = np.iinfo(np.int16)


def hounsfield(name: str, voxels: NDArray[Any]) -> Hu:
    """Return an array of numbers that are HU; int16 is returned as it is.

    Args:
        name: What messages call it.
        voxels: [Z, Y, X], of any type of real numbers; not changed.

    Raises:
        VolumeError: Some are NaN or infinite.
    """
    if voxels.dtype == np.int16:
        return voxels
    z, y, x = voxels.shape
    return hounsfield_of_parts(name, (z, y, x), ((part, UNSCALED) for part in voxels))


def hounsfield_of_parts(
    name: str, shape: Shape, parts: Iterable[tuple[NDArray[Any], Scaling]]
) -> Hu:
    """Return the HU of stored numbers that come part by part; no more than a part is held beside.

    Args:
        name: What messages call the CT.
        shape: Of the result, (Z, Y, X).
        parts: The numbers in their order, of any type and shape, with their slope and intercept.
            Together they fill the result.

    Raises:
        VolumeError: Some are NaN or infinite.
    """
    hu: NDArray[Any] = np.empty(shape, np.int16)
    filled, broken = 0, 0
    for part, scaling in parts:
        numbers = part.reshape(-1)
        found = _whole(numbers, scaling) if hu.dtype == np.int16 else None
        if found is None:
            found = _floating(numbers, scaling)
            broken += int(np.count_nonzero(~np.isfinite(found)))
            if hu.dtype == np.int16:
                hu = _widened(hu, filled)
        hu.reshape(-1)[filled : filled + numbers.size] = found
        filled += numbers.size
    if broken:
        odd = number_of(broken, "voxel is", "voxels are")
        raise VolumeError(f"{name}: {odd} NaN or infinite; mend the file")
    return hu


def _whole(numbers: NDArray[Any], scaling: Scaling) -> NDArray[Any] | None:
    """Return HU as int16; None where some are none."""
    slope, intercept = scaling
    if numbers.dtype.kind == "f" or not (slope.is_integer() and intercept.is_integer()):
        hu = _floating(numbers, scaling)
        with np.errstate(invalid="ignore"):
            whole = hu.astype(np.int16)
        return whole if np.array_equal(whole, hu) else None
    ends = [int(end) * int(slope) + int(intercept) for end in (numbers.min(), numbers.max())]
    if min(ends) < _INT16.min or max(ends) > _INT16.max:
        return None
    # All is modulo 2**16, so what fits in int16 in the end comes out right.
    whole = numbers.astype(np.int16)
    if slope != 1:
        whole *= _modulo(int(slope))
    if intercept != 0:
        whole += _modulo(int(intercept))
    return whole


def _modulo(number: int) -> np.int16:
    return np.int16((number - _INT16.min) % (1 << 16) + _INT16.min)


def _floating(numbers: NDArray[Any], scaling: Scaling) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):
        hu = numbers.astype(np.float32)
        if scaling != UNSCALED:
            hu *= np.float32(scaling[0])
            hu += np.float32(scaling[1])
    return hu


def _widened(hu: NDArray[Any], filled: int) -> NDArray[np.float32]:
    """Return float32 with the first `filled` voxels of `hu`; the others are still to come."""
    wide = np.empty(hu.shape, np.float32)
    wide.reshape(-1)[:filled] = hu.reshape(-1)[:filled]
    return wide
