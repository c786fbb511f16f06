"""Geometry is read as nnU-Net's reader does in training; ambiguities become warnings."""

import io
import struct

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from imaging.errors import GeometryError
from imaging.geometry import Orientation, axes_code, nearest_rotation
from imaging.nifti_header import place_of

SHAPE = (4, 5, 6)
MM = (0.75, 0.5, 2.5)
QFORM_CODE, SFORM_CODE, QUATERN, ROWS, PIXDIM, UNITS = 252, 254, 256, 280, 76, 123
NO_NUMBERS = (float("nan"), float("inf"), -float("inf"))


def header(sform=1, qform=0, rows=None, pixdim=(1.0, *MM), quaternion=(0, 0, 0), unit=2, order="<"):
    """The 348 bytes of a NIfTI-1 header; by default the sform of a RAS volume of MM voxels."""
    raw = bytearray(348)
    affine = np.column_stack([np.diag(MM), [1.0, 2.0, 3.0]]) if rows is None else rows
    for offset, form, values in (
        (0, "i", [348]),
        (40, "8h", (3, *SHAPE[::-1], 1, 1, 1, 1)),
        (70, "2h", (4, 16)),
        (PIXDIM, "4f", pixdim),
        (UNITS, "B", [unit]),
        (QFORM_CODE, "2h", (qform, sform)),
        (QUATERN, "6f", (*quaternion, 1.0, 2.0, 3.0)),
        (ROWS, "12f", np.ravel(affine)),
        (344, "4s", [b"n+1\0"]),
    ):
        struct.pack_into(order + form, raw, offset, *values)
    return bytes(raw)


def placed(raw, order="<"):
    return place_of(raw, order, SHAPE)


def rotation(angles):
    """A turn about X, then Y, then Z."""
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        a, b = (i for i in range(3) if i != axis)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        turned = turn @ turned
    return turned


angles = st.tuples(*[st.floats(-3.2, 3.2)] * 3)
sizes = st.tuples(*[st.floats(0.25, 9.0, width=32)] * 3)


@settings(max_examples=300)
@given(
    sform=st.integers(-1, 7),
    qform=st.integers(-1, 7),
    turned=angles,
    mirrored=st.booleans(),
    shear=st.floats(0, 0.4),
    half=angles,
    mm=sizes,
    qfac=st.sampled_from([-1.0, 0.0, 1.0]),
    order=st.sampled_from("<>"),
)
def test_it_is_what_nibabel_takes(sform, qform, turned, mirrored, shear, half, mm, qfac, order):
    nibabel = pytest.importorskip("nibabel")
    matrix = rotation(turned) @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    matrix[0, 1] += shear
    rows = np.column_stack([matrix * mm, [-100.0, 50.0, 7.0]])
    _, *quaternion = nibabel.quaternions.mat2quat(rotation(half))
    raw = header(sform, qform, rows, (qfac, *mm), quaternion, order=order)
    assume(np.square(np.array(struct.unpack_from(order + "3f", raw, QUATERN))).sum() < 1)
    theirs = nibabel.Nifti1Image.from_stream(io.BytesIO(raw + bytes(4 + 2 * 120)))
    place = placed(raw, order)
    lps = np.diag([-1.0, -1.0, 1.0])
    scaled = place.direction * place.spacing_mm
    np.testing.assert_allclose(lps @ scaled, theirs.affine[:3, :3], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(lps @ place.origin_mm, theirs.affine[:3, 3], rtol=1e-5, atol=1e-4)
    wanted = nibabel.io_orientation(theirs.affine)
    turn = Orientation.to("RAS", nearest_rotation(place.direction))
    stored = [2 - axis for axis in reversed(turn.order)]
    assert stored == [int(np.flatnonzero(wanted[:, 0] == axis)[0]) for axis in range(3)]
    for axis, flipped in zip(stored, reversed(turn.flipped), strict=True):
        assert flipped == (wanted[axis, 1] < 0)
    assert "".join(nibabel.aff2axcodes(theirs.affine)) == axes_code(place.direction)


def test_nothing_is_odd_where_all_say_the_same():
    place = placed(header(sform=2, qform=1))
    assert place.warnings == ()
    assert not place.misread
    assert place.spacing_mm.tolist() == list(MM)
    assert place.origin_mm.tolist() == [-1.0, -2.0, 3.0]
    assert axes_code(place.direction) == "RAS"
    assert place.grid(SHAPE).spacing_mm == MM[::-1]


@pytest.mark.parametrize("number", NO_NUMBERS)
@pytest.mark.parametrize("offset", range(ROWS, ROWS + 48, 4))
@pytest.mark.parametrize("code", [1, 2, 5])
def test_a_broken_sform_is_refused_unless_there_is_a_qform(offset, number, code):
    raw = bytearray(header(sform=code))
    struct.pack_into("<f", raw, offset, number)
    with pytest.raises(GeometryError, match="the stored sform is not finite; nothing else says"):
        placed(bytes(raw))
    struct.pack_into("<h", raw, QFORM_CODE, 1)
    place = placed(bytes(raw))
    assert place.axes_warnings == ("the stored sform is not finite; the qform was taken",)
    assert place.misread
    assert axes_code(place.direction) == "RAS"


@pytest.mark.parametrize("number", [*NO_NUMBERS, 1.5])
@pytest.mark.parametrize("offset", range(QUATERN, QUATERN + 24, 4))
def test_a_broken_qform_is_refused_unless_there_is_an_sform(offset, number):
    raw = bytearray(header(sform=0, qform=3))
    struct.pack_into("<f", raw, offset, number)
    if number == 1.5 and offset >= QUATERN + 12:
        assert placed(bytes(raw)).warnings == ()  # an offset may be anything
        return
    with pytest.raises(GeometryError, match=r"the stored qform is (not finite|no rotation); noth"):
        placed(bytes(raw))
    struct.pack_into("<h", raw, SFORM_CODE, 1)
    place = placed(bytes(raw))
    assert place.axes_warnings[0].endswith("; the sform was taken")
    assert not place.misread  # nibabel does not read it


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((3, 4)),
        np.column_stack([np.diag([1.0, 1.0, 0.0]), [0, 0, 0]]),
        np.column_stack([np.ones((3, 3)), [0, 0, 0]]),
        np.column_stack([[[1, 0, 1], [0, 1, 1], [0, 0, 1e-6]], [0, 0, 0]]),
    ],
)
def test_an_sform_that_leads_nowhere_is_refused(rows):
    with pytest.raises(GeometryError, match="the stored sform is singular; nothing else says"):
        placed(header(rows=rows))


@pytest.mark.parametrize("size", [0.0, -1.0, *NO_NUMBERS])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_voxel_without_extent_is_refused(size, axis):
    pixdim = [1.0, *MM]
    pixdim[axis] = size
    with pytest.raises(GeometryError, match=r"mm is not positive; mend the header"):
        placed(header(pixdim=pixdim))


@given(share=st.floats(0.1, 10), axis=st.integers(1, 3), form=st.sampled_from(["sform", "qform"]))
def test_pixdim_beside_another_sform_is_a_warning(share, axis, form):
    pixdim = [1.0, *MM]
    pixdim[axis] *= share
    found = placed(header(int(form == "sform"), int(form == "qform"), pixdim=pixdim))
    if form == "qform" or abs(1 / share - 1) < 9e-4:
        assert found.size_warnings == ()
        np.testing.assert_allclose(found.spacing_mm, pixdim[1:], rtol=1e-6)
    elif abs(1 / share - 1) > 1.1e-3:
        (warning,) = found.size_warnings
        assert warning.startswith("voxels are 0.75 × 0.5 × 2.5 mm by the sform and ")
        assert found.misread
        np.testing.assert_allclose(found.spacing_mm, MM, rtol=1e-6)


@pytest.mark.parametrize(
    ("unit", "scale", "spacing", "messages"),
    [
        (2, 1.0, MM, ()),
        (0, 1.0, MM, ()),
        (2 | 8, 1.0, MM, ()),  # and seconds
        (1, 1.0, MM, ("the header's unit is metres; 0.75 × 0.5 × 2.5 were taken as millimetres",)),
        (3, 1.0, MM, ("the header's unit is micrometres; 0.75 × 0.5 × 2.5 were taken as millim",)),
        (1 | 16, 1e-3, MM, ("the header is in metres; voxels of 0.75 × 0.5 × 2.5 mm were taken",)),
        (3, 1e3, MM, ("the header is in micrometres; voxels of 0.75 × 0.5 × 2.5 mm were taken",)),
        (2, 1e-3, (0.00075, 0.0005, 0.0025), ()),  # read_volume refuses it
        (5, 1.0, MM, ("xyzt_units 5 is no unit; millimetres were assumed",)),
    ],
)
@pytest.mark.parametrize("form", ["sform", "qform"])
def test_units(form, unit, scale, spacing, messages):
    rows = np.column_stack([np.diag(MM), [1.0, 2.0, 3.0]]) * scale
    pixdim = (1.0, *(scale * mm for mm in MM))
    raw = bytearray(header(int(form == "sform"), int(form == "qform"), rows, pixdim, unit=unit))
    struct.pack_into("<3f", raw, QUATERN + 12, *(scale * mm for mm in (1.0, 2.0, 3.0)))
    place = placed(bytes(raw))
    np.testing.assert_allclose(place.spacing_mm, spacing, rtol=1e-6)
    assert len(place.size_warnings) == len(messages)
    assert all(
        found.startswith(line) for found, line in zip(place.size_warnings, messages, strict=True)
    )
    if spacing == MM:
        np.testing.assert_allclose(place.origin_mm, (-1.0, -2.0, 3.0), rtol=1e-6)


def test_no_orientation_at_all_is_left_anterior_superior():
    place = placed(header(sform=0, qform=0))
    assert axes_code(place.direction) == "LAS"
    (warning,) = place.warnings
    assert warning.startswith("the header says nothing of orientation; axes to Left, Anterior, Sup")


@given(offset=st.tuples(*[st.floats(-3, 3)] * 3))
def test_forms_that_lie_apart_are_named(offset):
    moved = np.column_stack([np.diag(MM), np.array([1.0, 2.0, 3.0]) + offset])
    found = placed(header(1, 1, moved))
    apart = float(np.linalg.norm(offset))
    assume(abs(apart - 0.25) > 1e-3)  # half of the smallest voxel
    assert bool(found.axes_warnings) == (apart > 0.25)
    assert not found.misread
    np.testing.assert_allclose(found.origin_mm * [-1, -1, 1], moved[:, 3], atol=1e-5)


@settings(max_examples=300)
@given(data=st.binary(min_size=72, max_size=72), codes=st.tuples(*[st.integers(-2, 6)] * 2))
def test_any_bytes_are_a_place_or_one_line(data, codes):
    raw = bytearray(header(sform=codes[0], qform=codes[1]))
    raw[QUATERN : QUATERN + 72] = data
    try:
        place = placed(bytes(raw))
    except GeometryError as error:
        assert "\n" not in str(error)
        return
    numbers = np.concatenate([place.origin_mm, place.spacing_mm, place.direction.ravel()])
    assert np.isfinite(numbers).all()
    assert place.spacing_mm.min() > 0
    assert len(axes_code(place.direction)) == 3
