"""Voxels are read as they are stored; labels lie where their CT lies, to the last bit."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imaging.compressed import PART_BYTES
from imaging.errors import GeometryError, VolumeError
from imaging.volumes import read_header, read_volume, write_labels, write_volume

SHAPE = (2, 3, 4)
GEOMETRY = [(39, 56), (76, 108), (123, 124), (252, 328)]
"""dim_info and dim; pixdim; xyzt_units; qform and sform codes, quaternion, offsets, rows."""
CHANGED = [(70, 74), (108, 120), (124, 132)]
"""datatype and bitpix; vox_offset, scl_slope and scl_inter; cal_max and cal_min."""
TYPES = {
    "u1": 2,
    "i2": 4,
    "i4": 8,
    "f4": 16,
    "f8": 64,
    "i1": 256,
    "u2": 512,
    "u4": 768,
    "i8": 1024,
    "u8": 1280,
}
TILTED = [[-0.75, 0.125, 0.5, 90.25], [0.1, -0.7, 0.25, -60.5], [0.0, 0.3, 2.9, -500.125]]
TILTED_MM = tuple(np.linalg.norm(np.array(TILTED)[:, :3], axis=0)[::-1].tolist())


def nifti(voxels, order="<", spacing_mm=(2.5, 0.7, 0.8), sform=None, slope=(0.0, 0.0)):
    """The bytes of a NIfTI-1 file, packed by hand: also with fields that ITK would not keep."""
    head = bytearray(348)
    dims = (3, *voxels.shape[::-1], 1, 1, 1, 1)
    code = TYPES[voxels.dtype.str[1:]]
    rows = np.ravel(sform) if sform is not None else [0.0] * 12
    for offset, form, values in (
        (0, "i", [348]),
        (39, "B", [0x39]),
        (40, "8h", dims),
        (70, "2h", [code, 8 * voxels.dtype.itemsize]),
        (76, "8f", [-1.0, *spacing_mm[::-1], 0.0, 0.0, 0.0, 0.0]),
        (108, "3f", [352.0, *slope]),
        (123, "B", [2]),
        (124, "2f", [400.0, -200.0]),
        (252, "2h", [1, 0] if sform is None else [0, 2]),
        (256, "6f", [0.0, 0.0, 1.0, 12.3456789, -98.7654321, 1e-7]),
        (280, "12f", rows),
    ):
        struct.pack_into(order + form, head, offset, *values)
    head[148:156] = b"a CT too"
    head[344:348] = b"n+1\0"
    return bytes(head) + bytes(4) + voxels.tobytes()


def numbers(dtype="<i2", shape=SHAPE):
    return (np.arange(np.prod(shape)).reshape(shape) % 120).astype(dtype)


@pytest.fixture
def stored(tmp_path):
    def write(content, name="ct_0000.nii.gz"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


def written(path, labels, like):
    write_labels(labels, like, path)
    return gzip.decompress(path.read_bytes())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("sform", [None, TILTED])
def test_labels_keep_the_geometry_bytes_of_their_ct(stored, tmp_path, order, sform):
    content = nifti(numbers(order + "i2"), order, sform=sform)
    header = read_header(stored(content))
    labels = np.arange(24, dtype=np.uint8).reshape(SHAPE) % 15
    found = written(tmp_path / "ct.nii.gz", labels, header)
    for first, last in GEOMETRY:
        assert found[first:last] == content[first:last]
    untouched = set(range(348)) - {i for span in CHANGED for i in range(*span)}
    assert {i for i in untouched if found[i] != content[i]} == set()
    assert struct.unpack_from(order + "2h", found, 70) == (2, 8)
    assert struct.unpack_from(order + "3f", found, 108) == (352.0, 1.0, 0.0)
    assert struct.unpack_from(order + "2f", found, 124) == (0.0, 0.0)
    assert found[348:] == bytes(4) + labels.tobytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    order=st.sampled_from("<>"),
    rows=st.lists(st.floats(-3, 3, width=32), min_size=12, max_size=12),
    spacing=st.tuples(*[st.floats(0.0625, 8, width=32)] * 3),
)
def test_any_geometry_is_kept(stored, tmp_path, order, rows, spacing):
    content = nifti(numbers(order + "i2"), order, spacing, np.reshape(rows, (3, 4)))
    header = read_header(stored(content))
    assert header.pixdim == spacing
    found = written(tmp_path / "ct.nii.gz", np.zeros(SHAPE, np.uint8), header)
    for first, last in GEOMETRY:
        assert found[first:last] == content[first:last]


def test_other_readers_see_the_labels_on_the_ct(stored, tmp_path, monkeypatch):
    monkeypatch.setenv("ITK_NIFTI_SFORM_PERMISSIVE", "1")  # or ITK refuses what is tilted
    path = stored(nifti(numbers(), sform=TILTED, spacing_mm=(3.0, 0.75, 0.8)))
    volume = read_volume(path)
    labels = np.arange(24, dtype=np.uint8).reshape(SHAPE) % 15
    write_labels(labels, volume.header, tmp_path / "ct.nii.gz")
    nibabel = pytest.importorskip("nibabel")
    ct, back = nibabel.load(path), nibabel.load(tmp_path / "ct.nii.gz")
    np.testing.assert_array_equal(back.affine, ct.affine)
    np.testing.assert_array_equal(np.asarray(back.dataobj), labels.transpose())
    assert back.get_data_dtype() == np.uint8
    ct, back = (sitk.ReadImage(str(p)) for p in (path, tmp_path / "ct.nii.gz"))
    assert back.GetDirection() == ct.GetDirection()
    assert (back.GetOrigin(), back.GetSpacing()) == (ct.GetOrigin(), ct.GetSpacing())


def test_the_same_labels_give_the_same_bytes(stored, tmp_path):
    header = read_header(stored(nifti(numbers())))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_labels(np.ones(SHAPE, np.uint8), header, tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_labels_that_are_a_view_are_written_in_order(stored, tmp_path):
    header = read_header(stored(nifti(numbers())))
    labels = np.arange(24, dtype=np.uint8).reshape(4, 3, 2).transpose()
    found = written(tmp_path / "ct.nii.gz", labels, header)
    assert found[352:] == labels.copy(order="C").tobytes()


def test_labels_of_another_shape_are_refused(stored, tmp_path):
    header = read_header(stored(nifti(numbers())))
    with pytest.raises(GeometryError, match=r"labels are \(4, 3, 2\), the CT is \(2, 3, 4\)"):
        write_labels(np.zeros((4, 3, 2), np.uint8), header, tmp_path / "ct.nii.gz")
    assert not (tmp_path / "ct.nii.gz").exists()


@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
def test_a_new_volume_goes_to_superior_posterior_left(tmp_path, dtype):
    voxels = np.arange(24, dtype=dtype).reshape(4, 3, 2).transpose()
    write_volume(voxels, (2.5, 0.8, 0.7), tmp_path / "new.nii.gz")
    image = sitk.ReadImage(str(tmp_path / "new.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), voxels, strict=True)
    np.testing.assert_allclose(image.GetSpacing(), (0.7, 0.8, 2.5), rtol=1e-6)
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert image.GetOrigin() == (0, 0, 0)
    if dtype == np.int16:
        np.testing.assert_array_equal(read_volume(tmp_path / "new.nii.gz").hu, voxels)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_integer_and_float_is_read(stored, kind, order):
    volume = read_volume(stored(nifti(numbers(order + kind), order)))
    assert volume.hu.dtype == np.int16
    assert volume.hu.dtype.isnative
    np.testing.assert_array_equal(volume.hu, numbers())
    assert volume.grid.shape == SHAPE


def test_slope_and_intercept_are_applied(stored):
    volume = read_volume(stored(nifti(numbers("<u2"), slope=(0.5, -1024.0))))
    assert volume.hu.dtype == np.float32
    assert volume.hu.ravel()[:4].tolist() == [-1024.0, -1023.5, -1023.0, -1022.5]


def test_an_intercept_that_is_a_whole_number_leaves_int16(stored):
    volume = read_volume(stored(nifti(numbers("<u2"), slope=(1.0, -1024.0))))
    assert volume.hu.dtype == np.int16
    np.testing.assert_array_equal(volume.hu, numbers() - 1024)


@pytest.mark.parametrize(("kind", "slope"), [("<i2", (1.0, -1024.0)), ("<f8", (1.0, 0.0))])
def test_a_long_ct_is_held_once(stored, kind, slope):
    voxels = np.random.default_rng(0).integers(0, 2000, (40, 512, 512)).astype(kind)
    path = stored(nifti(voxels, slope=slope), "ct_0000.nii")
    tracemalloc.start()
    volume = read_volume(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(volume.hu, voxels + slope[1])
    # its 21 MB as int16, a part of 4 MB and what is made of it
    assert volume.hu.nbytes < peak_bytes < volume.hu.nbytes + 4 * PART_BYTES


@pytest.mark.parametrize("slope", [(0.0, 5.0), (1.0, 0.0), (float("nan"), 0.0)])
def test_no_slope_leaves_the_numbers(stored, slope):
    volume = read_volume(stored(nifti(numbers(), slope=slope)))
    assert volume.hu.dtype == np.int16
    np.testing.assert_array_equal(volume.hu, numbers())


def test_a_file_that_is_not_compressed_is_read(stored):
    volume = read_volume(stored(nifti(numbers()), "ct_0000.nii"))
    np.testing.assert_array_equal(volume.hu, numbers())


def test_an_extension_before_the_voxels_is_passed_over(stored, tmp_path):
    content = bytearray(nifti(numbers()))
    struct.pack_into("<f", content, 108, 384.0)
    content[348] = 1
    content[352:352] = struct.pack("<2i", 32, 6) + b"a comment".ljust(24, b"\0")
    volume = read_volume(stored(bytes(content)))
    np.testing.assert_array_equal(volume.hu, numbers())
    assert written(tmp_path / "ct.nii.gz", volume.hu.astype(np.uint8), volume.header)[348] == 0


def test_direction_from_the_sform(stored):
    # 3-4-5 turn about Z, times a voxel of 0.8 x 0.7 x 2.5 mm
    turn = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])
    sform = np.column_stack([turn * [0.8, 0.7, 2.5], [1.0, 2.0, 3.0]])
    volume = read_volume(stored(nifti(numbers(), sform=sform)))
    # NIfTI is RAS, ITK is LPS: the rows of X and Y change their sign; sform is float32
    np.testing.assert_allclose(volume.direction, turn * [[-1], [-1], [1]], atol=1e-6)
    assert volume.warnings == ()


def test_direction_that_is_no_rotation_is_repaired_in_one_line(stored, capfd):
    path = stored(nifti(numbers(), sform=TILTED, spacing_mm=TILTED_MM))
    volume = read_volume(path)
    assert capfd.readouterr() == ("", "")
    np.testing.assert_allclose(volume.direction @ volume.direction.T, np.eye(3), atol=1e-12)
    # the rotation next to a matrix is what leaves a symmetric one when it is turned back
    lps = np.array(TILTED)[:, :3] / TILTED_MM[::-1] * [[-1], [-1], [1]]
    left = volume.direction.T @ lps
    np.testing.assert_allclose(left, left.T, atol=1e-6)
    assert np.linalg.eigvalsh(left).min() > 0
    message = "the stored direction is not orthonormal; the nearest rotation was used"
    assert volume.warnings == (message,)


def test_direction_from_the_quaternion(stored):
    # (b, c, d) = (0, 0, 1): half a turn about Z; qfac -1 turns Z over. RAS -> LPS undoes the turn
    volume = read_volume(stored(nifti(numbers())))
    np.testing.assert_allclose(volume.direction, np.diag([1.0, 1.0, -1.0]), atol=1e-6)
    assert volume.warnings == ()


@pytest.mark.parametrize(
    ("offset", "form", "value", "message"),
    [
        (0, "i", 540, "not a NIfTI-1 file"),
        (344, "4s", b"ni1\0", "not a NIfTI-1 file"),
        (40, "h", 2, "4×3 voxels; a CT has three dimensions"),
        (40, "h", 0, "no voxels; a CT has three dimensions"),
        (40, "h", -3, "no voxels"),
        (46, "h", 0, "4×3×0 voxels"),
        (70, "h", 128, "not one number per voxel"),
        (70, "h", 1, "not one number per voxel"),
    ],
)
def test_a_header_that_is_odd_is_refused(stored, offset, form, value, message):
    content = bytearray(nifti(numbers()))
    struct.pack_into("<" + form, content, offset, value)
    with pytest.raises(VolumeError, match=message):
        read_volume(stored(bytes(content)))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(VolumeError, match=r"^none_0000\.nii\.gz: there is no such file; check"):
        read_volume(tmp_path / "none_0000.nii.gz")


def test_numbers_too_large_for_float32_are_refused(stored):
    voxels = numbers("<f8")
    voxels[0, 0, 0] = 1e300
    with pytest.raises(VolumeError, match="1 voxel is NaN or infinite"):
        read_volume(stored(nifti(voxels)))
