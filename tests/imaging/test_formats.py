"""A CT in any single-file format is the same CT; what a format cannot say is said."""

import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from imaging.errors import VolumeError
from imaging.formats import case_of, read_file, read_file_header, suffix_of, volume_of_image
from imaging.volumes import read_volume

SUFFIXES = (".nii", ".nii.gz", ".NII.GZ", ".nrrd", ".nhdr", ".mha", ".mhd")
TURNED = (0, 0, 1, -1, 0, 0, 0, -1, 0)
OBLIQUE = (0.96, -0.28, 0, 0.28, 0.96, 0, 0, 0, 1)


def numbers(kind=np.int16):
    return np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(kind)


def image(voxels, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    made = sitk.GetImageFromArray(voxels)
    made.SetSpacing((0.75, 0.8, 2.5))
    made.SetOrigin((-10.5, 20.25, 300))
    made.SetDirection(direction)
    return made


@pytest.fixture
def stored(tmp_path):
    """Write an image; ITK writes no suffix in capital letters, so the file is renamed."""

    def write(made, suffix, **options):
        path = tmp_path / f"ct_0000{suffix.lower()}"
        sitk.WriteImage(made, str(path), **options)
        return path.rename(tmp_path / f"ct_0000{suffix}")

    return write


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), TURNED, OBLIQUE])
@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.int32, np.float32, np.float64])
def test_every_format_gives_what_nifti_gives(stored, suffix, direction, kind):
    made = image(numbers(kind), direction)
    expected = read_volume(stored(made, ".nii.gz"))
    found = read_file(stored(made, suffix))
    np.testing.assert_array_equal(found.hu, expected.hu)
    assert found.hu.dtype == expected.hu.dtype
    assert found.grid == expected.grid
    np.testing.assert_allclose(found.direction, expected.direction, atol=1e-6)
    assert found.warnings == ()


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd", ".nhdr"])
def test_compressed_files_and_a_fourth_dimension_of_one(stored, suffix):
    made = image(numbers())
    found = read_file(stored(made, suffix, useCompression=True))
    np.testing.assert_array_equal(found.hu, numbers())
    found = read_file(stored(sitk.JoinSeries([made]), suffix))
    np.testing.assert_array_equal(found.hu, numbers())
    assert found.grid.spacing_mm == pytest.approx((2.5, 0.8, 0.75))


def test_the_header_says_where_the_voxels_lie(stored):
    made = image(numbers(), TURNED)
    theirs = read_file_header(stored(made, ".nii.gz"))
    ours = read_file_header(stored(made, ".nrrd"))
    assert ours.shape == theirs.shape == (4, 5, 6)
    assert np.frombuffer(ours.raw[280:328], "<f4") == pytest.approx(
        np.frombuffer(theirs.raw[280:328], "<f4")
    )
    assert ours.pixdim == theirs.pixdim


def cut(path):
    path.write_bytes(path.read_bytes()[:-50])


def nonsense(path):
    path.write_bytes(b"nonsense")


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "damaged or truncated"),
        (nonsense, "not a readable (NRRD|MetaImage) file; copy it again"),
        (empty, "not a readable"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(stored, capfd, suffix, packed, damage, message):
    path = stored(image(numbers()), suffix, useCompression=packed)
    damage(path)
    with pytest.raises(VolumeError, match=message) as raised:
        read_file(path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(path.name)
    assert capfd.readouterr() == ("", "")


def test_a_cut_file_of_voxels_beside_its_header_is_refused(stored):
    path = stored(image(numbers()), ".mhd")
    cut(path.with_suffix(".raw"))
    with pytest.raises(VolumeError, match=r"190 of 240 bytes of voxels"):
        read_file(path)
    path.with_suffix(".raw").unlink()
    with pytest.raises(VolumeError, match=r"0 of 240 bytes of voxels"):
        read_file(path)


def with_nan():
    voxels = numbers(np.float32)
    voxels[0, 0, :3] = np.nan
    return image(voxels)


def metres():
    made = image(numbers())
    made.SetSpacing((0.00075, 0.0008, 0.0025))
    return made


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize(
    ("made", "message"),
    [
        (with_nan(), "3 voxels are NaN or infinite"),
        (image(np.full((4, 5, 6), 7, np.int16)), "every voxel is 7"),
        (metres(), "voxel size 0.00075 × 0.0008 × 0.0025 mm is no CT's"),
        (image(numbers())[:, :, 0], "6×5 voxels; a CT has three dimensions"),
        (sitk.JoinSeries([image(numbers())] * 2), "6×5×4×2 voxels; a CT has three dimensions"),
        (sitk.Compose([image(numbers())] * 3), "not one number per voxel"),
    ],
)
def test_what_no_ct_is_is_refused_as_nifti_is(stored, suffix, made, message):
    with pytest.raises(VolumeError, match=message) as raised:
        read_file(stored(made, suffix))
    assert str(raised.value).startswith(f"ct_0000{suffix}: ")


def test_numbers_that_are_no_hounsfield_units_give_the_warning_of_nifti(stored):
    hu = np.full((12, 14, 16), -1000, dtype=np.int16)
    hu[2:10, 3:11, 3:13] = -100
    hu[3:9, 4:10, 4:12] = 50
    found = read_file(stored(image((hu + 1024).astype(np.int16)), ".nrrd"))
    assert found.warnings == read_file(stored(image((hu + 1024).astype(np.int16)), ".nii")).warnings
    assert "do not look like Hounsfield units" in found.warnings[0]


def without(path, *keys):
    """Remove lines of a text header."""
    head, mark, voxels = path.read_bytes().partition(
        b"ElementDataFile = LOCAL\n" if path.suffix == ".mha" else b"\n\n"
    )
    lines = [line for line in head.split(b"\n") if not line.startswith(keys)]
    path.write_bytes(b"\n".join(lines) + mark + voxels)
    return path


ASSUMED = (
    "the header says nothing of orientation; axes to Left, Posterior, Superior were assumed, as "
    "ITK does"
)


def test_what_the_header_leaves_open_is_said(stored):
    path = without(stored(image(numbers()), ".mha"), b"TransformMatrix", b"ElementSpacing")
    found = read_file(path)
    assert found.warnings == (
        ASSUMED,
        "the header says nothing of the voxel size; 1 mm was assumed",
    )
    assert found.grid.spacing_mm == (1, 1, 1)
    path = without(stored(image(numbers()), ".nrrd"), b"space", b"kinds")
    assert ASSUMED in read_file(path).warnings


def test_axes_that_are_not_at_right_angles_are_said(stored):
    path = stored(image(numbers()), ".nrrd")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(0,0,2.5)", b"(0,0.5,2.5)"))
    assert any("not orthonormal" in warning for warning in read_file(path).warnings)


def test_an_image_in_memory_is_the_file(stored):
    made = image(numbers(), OBLIQUE)
    found, expected = volume_of_image(made), read_file(stored(made, ".nrrd"))
    np.testing.assert_array_equal(found.hu, expected.hu)
    assert found.header == expected.header
    with pytest.raises(VolumeError, match="ct: not one number per voxel"):
        volume_of_image(sitk.Compose([made] * 3))


def test_a_missing_file_and_a_name_that_itk_cannot_open(tmp_path, stored):
    with pytest.raises(VolumeError, match=r"none\.nrrd: no such file"):
        read_file(tmp_path / "none.nrrd")
    odd = tmp_path / "M\udcfcller.nrrd"
    shutil.copy(stored(image(numbers()), ".nrrd"), odd)
    with pytest.raises(VolumeError, match="its path is not UTF-8; rename it"):
        read_file(odd)


@pytest.mark.parametrize(
    ("name", "suffix", "case"),
    [
        ("a_0000.nii.gz", ".nii.gz", "a"),
        ("a.NII.GZ", ".nii.gz", "a"),
        ("b.v2.nrrd", ".nrrd", "b.v2"),
        ("c_0001.mha", ".mha", "c_0001"),
        ("scan.dcm", None, "scan.dcm"),
        ("notes.gz", None, "notes.gz"),
    ],
)
def test_names(name, suffix, case):
    assert (suffix_of(name), case_of(name)) == (suffix, case)
