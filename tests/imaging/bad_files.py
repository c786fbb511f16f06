"""Files that are no CT, or an odd one: each function makes one at a path."""

import gzip
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk

SIZE_X, DATATYPE, PIXDIM_X, SFORM_CODE, SFORM_ROW_X = 42, 70, 80, 254, 280  # in a NIfTI-1 header
VOXELS_AT = 352


def write_ct(path, hu, spacing_mm=(2.0, 2.0, 2.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)):
    """Write an array [Z, Y, X] as NIfTI; spacing (Z, Y, X) in mm, direction as SimpleITK has it."""
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(spacing_mm[::-1])
    image.SetOrigin((-11.5, 7.25, 30.125))
    image.SetDirection(direction)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return Path(path)


def patched(path, offset, form, *values):
    """Change a header field of a .nii.gz."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<" + form, content, offset, *values)
    path.write_bytes(gzip.compress(bytes(content), mtime=0))


def ramp(shape, dtype=np.int16):
    return (np.arange(np.prod(shape)).reshape(shape) % 250).astype(dtype)


def not_a_nifti(path, write_ct):
    path.write_text("DICM, perhaps")


def no_gzip_inside(path, write_ct):
    path.write_bytes(b"\x1f\x8b\x08\x00 this is no gzip stream")


def nothing_in_it(path, write_ct):
    path.write_bytes(b"")


def truncated_gzip(path, write_ct):
    noise = np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20), dtype=np.int16)
    write_ct(path, noise)
    path.write_bytes(path.read_bytes()[:4000])


def truncated_voxels(path, write_ct):
    write_ct(path, ramp((8, 8, 8)))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:600]))


def two_dimensions(path, write_ct):
    sitk.WriteImage(sitk.GetImageFromArray(ramp((8, 9))), str(path))


def four_dimensions(path, write_ct):
    sitk.WriteImage(sitk.GetImageFromArray(ramp((2, 3, 4, 5)), isVector=False), str(path))


def vectors(path, write_ct):
    sitk.WriteImage(sitk.GetImageFromArray(ramp((4, 5, 6, 3), np.uint8), isVector=True), str(path))


def colors(path, write_ct):
    write_ct(path, ramp((4, 5, 18), np.uint8))
    patched(path, SIZE_X, "h", 6)
    patched(path, DATATYPE, "2h", 128, 24)


def complex_numbers(path, write_ct):
    sitk.WriteImage(sitk.GetImageFromArray(ramp((4, 5, 6), np.complex64)), str(path))


def not_a_number(path, write_ct):
    hu = ramp((6, 7, 8), np.float32)
    hu[0, 0, :3] = np.nan
    write_ct(path, hu)


def infinite(path, write_ct):
    hu = ramp((6, 7, 8), np.float32)
    hu[0, 0, 0] = np.inf
    write_ct(path, hu)


def damaged_gzip(path, write_ct):
    write_ct(path, ramp((20, 20, 20)))
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # the checksum
    path.write_bytes(content)


def constant(path, write_ct):
    write_ct(path, np.full((6, 7, 8), -1000, dtype=np.int16))


def negative_spacing(path, write_ct):
    write_ct(path, ramp((6, 7, 8)))
    patched(path, PIXDIM_X, "f", -2.0)


def zero_spacing(path, write_ct):
    write_ct(path, ramp((6, 7, 8)))
    patched(path, PIXDIM_X + 8, "f", 0.0)


def nan_spacing(path, write_ct):
    write_ct(path, ramp((6, 7, 8)))
    patched(path, PIXDIM_X + 4, "f", float("nan"))


def huge(path, write_ct):
    write_ct(path, ramp((6, 7, 8)))
    patched(path, SIZE_X, "3h", 32767, 32767, 32767)


def metres(path, write_ct):
    write_ct(path, ramp((6, 7, 8)))
    patched(path, PIXDIM_X, "3f", 0.0008, 0.0008, 0.0025)
    patched(path, SFORM_CODE, "h", 0)  # the sform would count


def sheared(path, write_ct):
    write_ct(path, ramp((6, 7, 8)))
    patched(path, SFORM_ROW_X, "3f", -2.0, 0.3, 0.0)


def zero_sform(path, write_ct):
    write_ct(path, ramp((6, 7, 8)))
    patched(path, SFORM_ROW_X, "12f", *[0.0] * 12)


def one_slice(path, write_ct):
    write_ct(path, ramp((1, 7, 8)))


def many_slices(path, write_ct):
    write_ct(path, ramp((2000, 2, 3)), (1.0, 2.0, 2.0))


def fourth_dimension_of_one(path, write_ct):
    sitk.WriteImage(sitk.GetImageFromArray(ramp((1, 6, 7, 8)), isVector=False), str(path))


def unsigned(path, write_ct):
    write_ct(path, ramp((6, 7, 8), np.uint16))


def scaled(path, write_ct):
    write_ct(path, ramp((6, 7, 8)))
    patched(path, 112, "2f", 2.0, -100.0)


def plain_nifti_under_the_name(path, write_ct):
    write_ct(path, ramp((6, 7, 8)))
    path.write_bytes(gzip.decompress(path.read_bytes()))
