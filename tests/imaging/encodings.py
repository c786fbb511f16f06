"""One CT in every way that NIfTI-1 has: orientations, forms, types, scalings, containers."""

import gzip
import itertools
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TYPES = {
    "u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64,
    "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280,
}  # fmt: skip
TURNS = [
    (order, flips)
    for order in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
]
"""All 48 ways to store a volume along the patient's axes: the order of X, Y, Z, and reversals."""
MM, MICROMETRES, METRES = 2, 3, 1


@dataclass(frozen=True)
class Encoding:
    """How a CT is written; the labels must not depend on it."""

    name: str
    turn: tuple[tuple[int, ...], tuple[bool, ...]] = TURNS[0]
    sform: int = 1
    qform: int = 0
    wrong_qform: bool = False
    """Turned by half a turn about Z."""
    wrong_sform: bool = False
    pixdim: tuple[float, float, float] | None = None
    """(X, Y, Z) in place of the right ones."""
    scale: float = 1.0
    """Of every length in the header: 0.001 writes metres."""
    unit: int = MM
    dtype: str = "<i2"
    slope: float = 0.0
    intercept: float = 0.0
    container: str = "gz"
    patch: tuple[tuple[int, str, tuple[Any, ...]], ...] = field(default=())
    """Offsets, forms and values that are written over the header at last."""

    def turned(self, array):
        """Return an array [Z, Y, X] as it is stored: axes in another order, some reversed."""
        order, flips = self.turn
        stored = array.transpose(2, 1, 0).transpose(order)
        return stored[tuple(slice(None, None, -1 if flip else 1) for flip in flips)].transpose()

    def affine(self, affine, shape):
        """Return the affine of the stored array, from that of an array of `shape` (Z, Y, X)."""
        order, flips = self.turn
        sizes = shape[::-1]
        columns, origin = [], affine[:, 3].copy()
        for axis, flip in zip(order, flips, strict=True):
            columns.append(affine[:, axis] * (-1 if flip else 1))
            origin += affine[:, axis] * (sizes[axis] - 1) * flip
        return np.column_stack([*columns, origin])

    def content(self, hu, affine):
        """Return the file's bytes."""
        stored = self.turned(hu)
        numbers = stored.astype(np.float64)
        if self.slope:
            numbers = (numbers - self.intercept) / self.slope
        voxels = np.ascontiguousarray(numbers.astype(self.dtype))
        np.testing.assert_array_equal(voxels, numbers)  # nothing is lost by the encoding
        lying = self.affine(affine, hu.shape) * self.scale
        return contained(self._header(voxels, lying), voxels.tobytes(), self.container)

    def _header(self, voxels, affine):
        nibabel = __import__("nibabel")
        order = self.dtype[0]
        lengths = np.linalg.norm(affine[:, :3], axis=0)
        turn = affine[:, :3] / lengths
        qfac = np.sign(np.linalg.det(turn))
        turn = turn * [1, 1, qfac]
        half = np.diag([-1.0, -1.0, 1.0])
        _, *quaternion = nibabel.quaternions.mat2quat(half @ turn if self.wrong_qform else turn)
        rows = half @ affine if self.wrong_sform else affine
        head = bytearray(348)
        for offset, form, values in (
            (0, "i", [348]),
            (40, "8h", (3, *voxels.shape[::-1], 1, 1, 1, 1)),
            (70, "2h", (TYPES[self.dtype[1:]], 8 * voxels.dtype.itemsize)),
            (76, "4f", (qfac, *(self.pixdim or lengths))),
            (108, "3f", (352.0, self.slope, self.intercept)),
            (123, "B", [self.unit]),
            (252, "2h", [self.qform, self.sform]),
            (256, "6f", [*quaternion, *affine[:, 3]]),
            (280, "12f", rows.ravel()),
            (344, "4s", [b"n+1\0"]),
            *self.patch,
        ):
            struct.pack_into(order + form, head, offset, *values)
        return bytes(head)


def contained(header, voxels, container):
    """Put a header and voxels into a file, as `container` says."""
    if container == "extension":
        head = bytearray(header)
        struct.pack_into("<f", head, 108, 384.0)
        extension = b"\1\0\0\0" + struct.pack("<2i", 32, 6) + b"a comment".ljust(24, b"\0")
        return gzip.compress(bytes(head) + extension + voxels, 1, mtime=0)
    whole = header + bytes(4) + voxels
    return {
        "gz": lambda: gzip.compress(whole, 1, mtime=0),
        "gz best": lambda: gzip.compress(whole, 9, mtime=1),
        "stored gz": lambda: gzip.compress(whole, 0, mtime=0),
        "plain": lambda: whole,
        "two members": lambda: gzip.compress(whole[:1000]) + gzip.compress(whole[1000:]),
        "bytes after": lambda: gzip.compress(whole + bytes(100)),
    }[container]()
