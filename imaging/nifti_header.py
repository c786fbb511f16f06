"""Where voxels lie in the patient: the geometry of a NIfTI header.

A header can give it three times: in the sform (an affine), in the qform (a rotation, with the voxel
size in pixdim) and in pixdim alone. The networks are trained with nnU-Net's NibabelIOWithReorient,
so the kit follows nibabel: the sform if it has a code, else the qform if it has one, else pixdim
with axes to Left, Anterior, Superior. Codes are 1 to 5; nibabel reads any other as 0. If two of the
three differ, a warning names both.
"""

import struct
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from imaging.errors import GeometryError
from imaging.geometry import Grid, Shape, axes_code

Floats = NDArray[np.float64]
HEADER_BYTES = 348
LEAST_MM, MOST_MM = 0.05, 50.0
"""No CT has smaller or larger voxels."""
_UNITS = {1: ("metres", 1000.0), 2: ("millimetres", 1.0), 3: ("micrometres", 0.001)}
"""Codes of xyzt_units, nifti1.h; 0 is unknown, and read as millimetres."""
_CODES = range(1, 6)
_SAME_SHARE = 1e-3
"""Voxel sizes that differ by less are the same, but rounded differently."""
_MOST = 1e30
_APART = 0.5
"""Voxels by which two forms may differ in a corner of the volume and still be the same."""
_ORTHONORMAL = 1e-3
_LEAST_SPAN = 1e-3
"""Volume that three axes of length 1 span at least; at right angles they span 1."""
_LONGEST = 1e-3
"""How much longer than 1 a quaternion may be; it is normalized, as in nifti1.c."""
_LONGEST_IN_NIBABEL = 3 * float(np.finfo(np.float32).eps)
_TO_LPS = np.array([[-1.0], [-1.0], [1.0]])


@dataclass(frozen=True)
class Place:
    """Where voxels lie in the patient, in ITK's (X, Y, Z) and LPS millimetres."""

    origin_mm: Floats
    spacing_mm: Floats
    direction: Floats
    """float64 [3, 3]; column i, of length 1, is the LPS direction of index axis i."""
    size_warnings: tuple[str, ...] = ()
    """Why another program may read another voxel size."""
    axes_warnings: tuple[str, ...] = ()
    """Why another program may read another position or orientation."""
    misread: bool = False
    """Whether nnU-Net's reader, used in training, reads another geometry or fails."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings."""
        return self.size_warnings + self.axes_warnings

    def grid(self, shape: Shape) -> Grid:
        """Return the grid of a volume of `shape` [Z, Y, X] that lies here."""
        x, y, z = self.spacing_mm.tolist()
        return Grid(shape, (z, y, x))


@dataclass(frozen=True)
class _Form:
    """One of the geometries that a header gives: sform, qform or pixdim."""

    name: str
    affine: Floats
    """float64 [3, 4], from index (X, Y, Z) to RAS, in the file's unit."""
    broken: str | None = None
    misread: bool = False

    @property
    def lengths(self) -> Floats:
        """Voxel size (X, Y, Z)."""
        return np.asarray(np.linalg.norm(self.affine[:, :3], axis=0), np.float64)

    @property
    def direction(self) -> Floats:
        """As `Place` has it."""
        return np.asarray(self.affine[:, :3] / self.lengths * _TO_LPS, np.float64)


def place_of(raw: bytes, order: str, shape: Shape) -> Place:
    """Read the geometry of a NIfTI-1 header.

    Args:
        raw: The 348 bytes.
        order: Their byte order, "<" or ">".
        shape: (Z, Y, X).

    Raises:
        GeometryError: The header gives no usable geometry.
    """
    pixdim = np.array(struct.unpack_from(order + "8f", raw, 76))
    if not np.isfinite(pixdim[1:4]).all() or pixdim[1:4].min() <= 0:
        raise GeometryError(f"voxel size {_times(pixdim[1:4])} mm is not positive; mend the header")
    form, axes_warnings, failed = _taken(raw, order, pixdim, shape)
    spacing, size_warnings = _voxel_size(form, pixdim[1:4])
    scale, unit_warnings = _unit(raw[123] & 7, spacing)
    direction = form.direction
    if np.abs(direction.T @ direction - np.eye(3)).max() > _ORTHONORMAL:
        axes_warnings.append(
            "the stored direction is not orthonormal; the nearest rotation was used"
        )
    return Place(
        origin_mm=form.affine[:, 3] * _TO_LPS[:, 0] * scale,
        spacing_mm=spacing * scale,
        direction=direction,
        size_warnings=(*size_warnings, *unit_warnings),
        axes_warnings=tuple(axes_warnings),
        misread=failed or form.misread or bool(size_warnings) or scale != 1,
    )


def new_header(shape: Shape, origin_mm: Floats, columns: Floats) -> bytes:
    """Return the 348 bytes of a little-endian NIfTI-1 header, with an sform and no qform.

    Args:
        shape: (Z, Y, X).
        origin_mm: LPS centre of the first voxel.
        columns: float64 [3, 3]; column i is the LPS step in mm along index axis i in (X, Y, Z).

    Raises:
        GeometryError: A number does not fit in float32.
    """
    if not max(abs(origin_mm).max(), abs(columns).max()) < _MOST:
        raise GeometryError("position, voxel size or axes are no finite numbers; mend the header")
    rows = np.column_stack([columns, origin_mm]) * _TO_LPS + 0.0  # -0.0 becomes 0.0
    lengths = np.linalg.norm(columns, axis=0)
    head = bytearray(HEADER_BYTES)
    for offset, form, values in (
        (0, "i", (HEADER_BYTES,)),
        (40, "8h", (3, *reversed(shape), 1, 1, 1, 1)),  # dim
        (76, "4f", (1.0, *lengths)),  # pixdim
        (123, "B", (2,)),  # millimetres
        (254, "h", (1,)),  # sform_code
        (280, "12f", rows.ravel()),
        (344, "4s", (b"n+1",)),
    ):
        struct.pack_into("<" + form, head, offset, *values)
    return bytes(head)


def _taken(raw: bytes, order: str, pixdim: Floats, shape: Shape) -> tuple[_Form, list[str], bool]:
    """Return the form that is used, its warnings, and whether a form before it is broken."""
    warnings, forms = [], list[_Form]()
    for name, offset, read in (("sform", 254, _sform), ("qform", 252, _qform)):
        (code,) = struct.unpack_from(order + "h", raw, offset)
        if code in _CODES:
            forms.append(read(raw, order, pixdim))
        elif code:
            warnings.append(f"{name}_code {code} is not valid and was taken for 0")
    sound = [form for form in forms if form.broken is None]
    if forms and not sound:
        faults = " and ".join(f"the stored {form.name} is {form.broken}" for form in forms)
        raise GeometryError(f"{faults}; nothing else says where the voxels lie; mend the header")
    if not sound:
        warnings.append(
            "the header says nothing of orientation; axes to Left, Anterior, Superior were "
            "assumed, as nibabel does"
        )
        return _by_pixdim(pixdim[1:4], shape), warnings, False
    first, *others = sound
    broken = [form for form in forms if form.broken]
    for form in broken:
        warnings.append(f"the stored {form.name} is {form.broken}; the {first.name} was taken")
    warnings += [apart for other in others if (apart := _apart(first, other, shape))]
    return first, warnings, bool(broken) and broken[0] is forms[0]


def _sform(raw: bytes, order: str, pixdim: Floats) -> _Form:
    """Read the affine as stored."""
    affine = np.array(struct.unpack_from(order + "12f", raw, 280)).reshape(3, 4)
    return _Form("sform", affine, _broken(affine))


def _qform(raw: bytes, order: str, pixdim: Floats) -> _Form:
    """Make an affine of quaternion, offsets and pixdim, as nifti1.h says."""
    b, c, d, *offset = struct.unpack_from(order + "6f", raw, 256)
    length = b * b + c * c + d * d
    if not np.isfinite(length) or length > 1 + _LONGEST:
        return _Form("qform", np.eye(3, 4), "no rotation")
    if length > 1:
        b, c, d = (value / length**0.5 for value in (b, c, d))
    a = max(0.0, 1 - (b * b + c * c + d * d)) ** 0.5
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    scale = pixdim[1:4] * [1, 1, -1 if pixdim[0] == -1 else 1]
    affine = np.column_stack([turn * scale, offset])
    return _Form("qform", affine, _broken(affine), length > 1 + _LONGEST_IN_NIBABEL)


def _by_pixdim(spacing: Floats, shape: Shape) -> _Form:
    """Return nibabel's affine of a header without orientation: the origin is in the middle."""
    scale = spacing * [-1, 1, 1]
    middle = (np.array(shape[::-1]) - 1) / 2
    return _Form("pixdim", np.column_stack([np.diag(scale), -scale * middle]))


def _broken(affine: Floats) -> str | None:
    """Say why an affine cannot be used; None where it can."""
    if not np.isfinite(affine).all():
        return "not finite"
    lengths = np.linalg.norm(affine[:, :3], axis=0)
    if lengths.min() == 0 or abs(np.linalg.det(affine[:, :3] / lengths)) < _LEAST_SPAN:
        return "singular"
    return None


def _apart(first: _Form, other: _Form, shape: Shape) -> str | None:
    """Say how two forms differ; None where they do not."""
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in shape[::-1]))])
    moved = np.linalg.norm((first.affine - other.affine) @ corners.T, axis=0).max()
    if moved <= _APART * first.lengths.min():
        return None
    codes = [f"the {form.name} says {axes_code(form.direction)}" for form in (first, other)]
    return f"{' and '.join(codes)}, up to {moved:.3g} mm apart; the {first.name} was taken"


def _voxel_size(form: _Form, pixdim: Floats) -> tuple[Floats, list[str]]:
    """Return the voxel size (X, Y, Z), and a warning if form and pixdim differ."""
    lengths = form.lengths
    if np.abs(lengths / pixdim - 1).max() <= _SAME_SHARE:
        return pixdim, []
    sizes = f"voxels are {_times(lengths)} mm by the {form.name} and {_times(pixdim)} mm by pixdim"
    return lengths, [f"{sizes}; the {form.name} was taken"]


def _unit(code: int, spacing: Floats) -> tuple[float, list[str]]:
    """Return the factor from a file's unit to millimetres, and warnings about the unit.

    nibabel reads every number as millimetres, and most programs write millimetres, whatever unit
    they name. The unit is used only if the voxel size is plausible with it, and not without it.
    """
    if code not in _UNITS:
        return 1.0, [f"xyzt_units {code} is no unit; millimetres were assumed"] if code else []
    name, scale = _UNITS[code]
    if scale == 1:
        return 1.0, []
    if _is_a_cts(spacing * scale) and not _is_a_cts(spacing):
        return scale, [
            f"the header is in {name}; voxels of {_times(spacing * scale)} mm were taken"
        ]
    return 1.0, [f"the header's unit is {name}; {_times(spacing)} were taken as millimetres"]


def _is_a_cts(spacing: Floats) -> bool:
    """Tell whether a CT can have this voxel size in mm."""
    return bool(LEAST_MM <= spacing.min() <= spacing.max() <= MOST_MM)


def _times(values: Floats) -> str:
    return " × ".join(f"{value:g}" for value in values.tolist())
