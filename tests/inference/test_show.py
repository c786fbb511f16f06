"""Pictures: the right slice, the right way up, true proportions, contours where labels end."""

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from imaging.errors import GeometryError, KitError, VolumeError
from imaging.geometry import Grid
from imaging.organs import COLORS
from inference.tools.show import busiest_slice, edges, overlay, overlay_png, planes_of

LIVER, SPLEEN = 1, 3


def test_edges_are_the_inner_line():
    labels = np.zeros((6, 6), np.uint8)
    labels[1:5, 1:5] = 2
    expected = labels > 0
    expected[2:4, 2:4] = False
    np.testing.assert_array_equal(edges(labels), expected)


def test_edges_between_two_labels_belong_to_both_and_the_picture_has_none():
    labels = np.repeat(np.array([[1, 1, 1, 2, 2, 2]], np.uint8), 4, axis=0)
    np.testing.assert_array_equal(edges(labels), [[False, False, True, True, False, False]] * 4)


def test_the_busiest_slice_has_most_organs_then_most_voxels():
    labels = np.zeros((5, 4, 4), np.uint8)
    assert busiest_slice(labels, 0) == 2  # empty: the middle
    labels[0] = 1  # 16 voxels of one organ
    labels[3, 0, :2] = (1, 2)  # two organs
    labels[4, 0, :3] = (1, 2, 2)  # two organs, one voxel more
    assert busiest_slice(labels, 0) == 4
    assert busiest_slice(labels, 1) == 0


def test_planes_are_painted_as_radiologists_view_them():
    hu = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)  # axes S, P, L
    labels = np.zeros((2, 3, 4), np.uint8)
    labels[1, 2, 3] = LIVER
    axial, coronal, sagittal = planes_of(hu, labels, Grid((2, 3, 4), (5.0, 2.0, 1.0)))
    np.testing.assert_array_equal(axial.hu, hu[1])  # front on top, right on the left
    np.testing.assert_array_equal(coronal.hu, [hu[1, 2], hu[0, 2]])  # head on top
    np.testing.assert_array_equal(sagittal.hu, [hu[1, :, 3], hu[0, :, 3]])  # front on the left
    assert [p.spacing_mm for p in (axial, coronal, sagittal)] == [(2, 1), (5, 1), (5, 2)]
    assert [p.sides for p in (axial, coronal, sagittal)] == [("R", "L"), ("R", "L"), ("A", "P")]
    assert coronal.labels[0, 3] == LIVER


def painted(picture, label):
    """Where the picture [rows, columns, RGB] has the color of a label, left of the legend."""
    return np.argwhere((picture == COLORS[label]).all(axis=2)[:, : -300 + 30])


def test_the_patients_right_is_on_the_left_and_proportions_are_in_mm():
    labels = np.zeros((10, 20, 40), np.uint8)
    labels[4:6, 8:12, 4:12] = LIVER  # low x: the patient's right
    labels[4:6, 8:12, 28:36] = SPLEEN
    hu = np.zeros(labels.shape, np.float32)
    picture = overlay(hu, labels, Grid(labels.shape, (4.0, 2.0, 1.0)), "case")
    # 40 x 1 mm wide, 20 x 2 mm deep, 10 x 4 mm high: three squares of 640 pixels
    assert picture.shape == (34 + 640 + 12, 3 * (640 + 12) + 12 + 270, 3)
    axial = picture[:, : 12 + 640]
    liver, spleen = painted(axial_only(axial), LIVER), painted(axial_only(axial), SPLEEN)
    # 16 pixels a mm; box of x 4..12 of 40, y 8..12 of 20 (2 mm each), below title, beside gap
    assert liver.min(axis=0).tolist() == [34 + 8 * 32, 12 + 4 * 16]
    assert liver.max(axis=0).tolist() == [34 + 12 * 32 - 1, 12 + 12 * 16 - 1]
    assert spleen.min(axis=0)[1] == 12 + 28 * 16
    # a line of two pixels: perimeter of 128 x 128 less the same box 2 pixels further in
    assert len(liver) == 128**2 - 124**2


def axial_only(part):
    """Pad a part of a picture on the right, as if a legend were there."""
    return np.pad(part, ((0, 0), (0, 270), (0, 0)))


def test_the_window_is_40_400():
    hu = np.full((4, 4, 4), -160, np.float32)
    hu[:, :, 2:] = 240
    picture = overlay(hu, np.zeros(hu.shape, np.uint8), Grid(hu.shape, (1.0, 1.0, 1.0)), "")
    row = picture[34 + 500]
    assert row[12 + 100].tolist() == [0, 0, 0]
    assert row[12 + 540].tolist() == [255, 255, 255]


def test_every_organ_has_its_color_and_a_label_of_another_kit_is_grey():
    labels = np.zeros((2, 4, 64), np.uint8)
    for label in (*COLORS, 20):
        labels[:, 1:3, 3 * label : 3 * label + 2] = label
    picture = overlay(labels.astype(np.int16), labels, Grid(labels.shape, (2.0, 2.0, 1.0)), "all")
    legend = picture[:, -270:]
    for color in (*COLORS.values(), (200, 200, 200)):
        assert np.any(np.all(picture[:, :652] == color, axis=2)), color
        assert np.count_nonzero(np.all(legend == color, axis=2)) >= 14 * 14, color


def test_an_endless_stack_still_makes_a_picture():
    labels = np.zeros((2000, 2, 3), np.uint8)
    picture = overlay(
        labels.astype(np.float32), labels, Grid(labels.shape, (5.0, 0.7, 0.7)), "long"
    )
    assert picture.shape[0] == 34 + 1000 + 12


def image_of(array, **place):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(place.get("spacing", (2.0, 2.0, 3.0)))
    image.SetOrigin(place.get("origin", (1.0, 2.0, 3.0)))
    image.SetDirection(place.get("direction", (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    return image


@pytest.fixture
def files(tmp_path):
    """A CT and a label map of it, with the liver on the patient's right."""
    hu = np.arange(6 * 7 * 8, dtype=np.int16).reshape(6, 7, 8)
    labels = np.zeros(hu.shape, np.uint8)
    labels[2:4, 3:5, 1:3] = LIVER
    ct, path = tmp_path / "case_0000.nii.gz", tmp_path / "case.nii.gz"
    sitk.WriteImage(image_of(hu), str(ct))
    sitk.WriteImage(image_of(labels), str(path))
    return ct, path


def test_a_stored_axis_that_runs_the_other_way_gives_the_same_picture(files, tmp_path):
    overlay_png(*files, tmp_path / "straight.png")
    for path in files:  # turn the stored axes; the patient stays where he is
        sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS"), str(path))
    overlay_png(*files, tmp_path / "turned.png")
    pictures = [np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("straight", "turned")]
    np.testing.assert_array_equal(*pictures)


@pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64])
def test_a_map_of_any_type_gives_the_same_picture(files, tmp_path, kind):
    ct, path = files
    overlay_png(ct, path, tmp_path / "before.png")
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    sitk.WriteImage(image_of(stored.astype(kind)), str(path))
    overlay_png(ct, path, tmp_path / "after.png")
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()


def test_an_empty_map_can_be_shown(files, tmp_path):
    ct, path = files
    sitk.WriteImage(image_of(np.zeros((6, 7, 8), np.uint8)), str(path))
    overlay_png(ct, path, tmp_path / "empty.png")
    assert (tmp_path / "empty.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p: p.unlink(), VolumeError, "missing; run predict first"),
        (lambda p: p.write_text("no map"), VolumeError, "not a NIfTI-1 file"),
        (lambda p: p.write_bytes(p.read_bytes()[:-20]), VolumeError, "damaged or truncated"),
        (
            lambda p: sitk.WriteImage(image_of(np.full((6, 7, 8), np.nan, np.float32)), str(p)),
            VolumeError,
            "whole numbers",
        ),
        (
            lambda p: sitk.WriteImage(image_of(np.full((6, 7, 8), -1, np.int16)), str(p)),
            VolumeError,
            "whole numbers",
        ),
        (
            lambda p: sitk.WriteImage(image_of(np.zeros((6, 7, 9), np.uint8)), str(p)),
            GeometryError,
            r"9×7×6 voxels, not 8×7×6",
        ),
        (
            lambda p: sitk.WriteImage(
                image_of(np.zeros((6, 7, 8), np.uint8), origin=(0.0, 0.0, 0.0)), str(p)
            ),
            GeometryError,
            "origin",
        ),
        (
            lambda p: sitk.WriteImage(image_of(np.full((6, 7, 8), 0.5, np.float32)), str(p)),
            VolumeError,
            "whole numbers",
        ),
    ],
)
def test_a_map_that_does_not_fit_is_refused(files, tmp_path, change, error, message):
    ct, path = files
    change(path)
    with pytest.raises(error, match=message):
        overlay_png(ct, path, tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_only_png_and_only_where_it_can_be_written(files, tmp_path):
    with pytest.raises(KitError, match=r"name it \.png"):
        overlay_png(*files, tmp_path / "out.jpg")
    with pytest.raises(KitError, match="cannot write"):
        overlay_png(*files, tmp_path / "no folder" / "out.png")
