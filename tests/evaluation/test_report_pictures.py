"""Pictures of the worst cases: the right place, the right way up, true proportions."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evaluation.report.pictures import draw_planes, name_places
from evaluation.report.scene import Folders, Scene, most_wrong_place, read_scene, worst_organs
from evaluation.scoring.scores import CaseScores, LabelScore
from imaging.errors import GeometryError, VolumeError
from imaging.organs import ORGANS
from tests.evaluation.maps import box, write_map

LIVER, SPLEEN = ORGANS["liver"], ORGANS["spleen"]
SHAPE, SPACING_MM = (20, 30, 40), (6.0, 4.0, 4.0)
CASE = CaseScores("a", {"liver": LabelScore(0.5, 0.5), "spleen": LabelScore(0.9, 0.9)})
DIRECTIONS = {
    "LPS": (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0),
    "RAS": (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0),
    "PIL": (0, 0, 1.0, 1.0, 0, 0, 0, -1.0, 0),
}
"""By where the index axes X, Y, Z grow to; column i of the matrix is axis i in LPS."""


def liver_and_shifted():
    """A liver of 4 x 6 x 8 voxels in the patient's right half, predicted 3 columns further left."""
    truth = box(SHAPE, (12, 16), (10, 16), (6, 14), LIVER)
    return truth, box(SHAPE, (12, 16), (10, 16), (9, 17), LIVER)


def write_pair(root, truth, pred, hu=None, direction=None):
    folders = Folders(root / "truth", root / "pred", None if hu is None else root / "images")
    options = {"spacing_mm": SPACING_MM, "direction": direction}
    write_map(truth, folders.truth / "a.nii.gz", **options)
    write_map(pred, folders.pred / "a.nii.gz", **options)
    if hu is not None:
        write_map(hu, folders.images / "a_0000.nii.gz", **options)
    return folders


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)


class TestWorstOrgans:
    def test_lowest_first_without_perfect_and_missing_ones(self):
        labels = {
            "liver": LabelScore(0.5),
            "spleen": LabelScore(1.0),
            "aorta": LabelScore(0.2),
            "stomach": LabelScore(None),
            "pancreas": LabelScore(0.9),
            "duodenum": LabelScore(0.8),
        }
        assert worst_organs(CaseScores("a", labels)) == ("aorta", "liver", "duodenum")
        assert worst_organs(CaseScores("a", {"liver": LabelScore(1.0)})) == ()
        assert worst_organs(CaseScores("a", error="broken")) == ()

    def test_of_equal_ones_the_order_of_the_labels(self):
        labels = {organ: LabelScore(0.0) for organ in ORGANS}
        assert worst_organs(CaseScores("a", labels)) == ("liver", "right kidney", "spleen")


class TestPlace:
    def test_the_middle_of_what_is_missing(self):
        truth = box((3, 7, 9), (1, 2), (1, 6), (2, 7)) > 0  # 5 x 5 around row 3, column 4
        assert most_wrong_place(truth, np.zeros_like(truth), (1.0, 1.0, 1.0)) == (1, 3, 4)

    def test_the_slice_that_is_most_wrong(self):
        truth = box((4, 7, 7), (0, 4), (1, 4), (1, 4)) > 0
        pred = truth.copy()
        pred[1, 1:4, 4] = True  # three voxels too many
        pred[2, 1:4, 2:4] = False  # six too few
        assert most_wrong_place(truth, pred, (1.0, 1.0, 1.0))[0] == 2

    def test_millimetres_count_and_not_voxels(self):
        truth = np.zeros((1, 9, 9), bool)
        pred = truth.copy()
        # 5 rows x 1 column of 1 x 9 mm: centre 3 mm from the ends, 9 mm from the sides: 3 mm deep
        pred[0, 0:5, 0] = True
        # 1 row x 5 columns: 1 mm deep everywhere
        pred[0, 7, 2:7] = True
        assert most_wrong_place(truth, pred, (1.0, 1.0, 9.0)) == (0, 2, 0)

    def test_without_a_difference_the_truth_itself(self):
        truth = box((3, 5, 5), (0, 1), (0, 3), (0, 3)) > 0
        assert most_wrong_place(truth, truth, (1.0, 1.0, 1.0)) == (0, 1, 1)

    @given(st.data())
    def test_it_lies_in_the_difference(self, data):
        bits = st.lists(st.booleans(), min_size=60, max_size=60)
        truth, pred = (np.array(data.draw(bits)).reshape(3, 4, 5) for _ in range(2))
        if (truth ^ pred).any():
            place = most_wrong_place(truth, pred, (2.5, 0.8, 0.8))
            assert truth[place] != pred[place]


class TestScene:
    @pytest.mark.parametrize("direction", DIRECTIONS)
    def test_the_voxel_that_is_named_is_wrong_in_the_file(self, tmp_path, direction):
        truth, pred = liver_and_shifted()
        pred[9, 2, 3] = LIVER  # alone, so that nothing is symmetric
        folders = write_pair(tmp_path, truth, pred, direction=DIRECTIONS[direction])
        scene = read_scene(CASE, folders, "fixed")
        assert truth[scene.stored] != pred[scene.stored]
        assert scene.truth[scene.place] == truth[scene.stored]
        assert scene.pred[scene.place] == pred[scene.stored]
        assert scene.organs == {"liver": 1}  # neither map has a spleen

    def test_an_organ_far_from_every_plane_is_left_out(self, tmp_path):
        truth, pred = liver_and_shifted()
        truth[0:2, 25:28, 30:33] = SPLEEN
        near = truth.copy()
        near[13, 25:28, 30:33] = SPLEEN  # a slice of it is in the liver's range
        for name, labels, organs in (
            ("far", truth, ("liver",)),
            ("near", near, ("liver", "spleen")),
        ):
            scene = read_scene(CASE, write_pair(tmp_path / name, labels, pred), "fixed")
            assert tuple(scene.organs) == organs

    def test_thirty_millimetres_around(self, tmp_path):
        scene = read_scene(CASE, write_pair(tmp_path, *liver_and_shifted()), "fixed")
        # hull of both: z 12..16 of 20, y 10..16, x 6..17; 30 mm are 5, 8 (7.5) and 8 voxels
        assert scene.truth.shape == (5 + 4 + 4, 8 + 6 + 8, 6 + 11 + 8)

    def test_the_window(self, tmp_path):
        hu = np.full(SHAPE, 40, np.int16)  # the middle of -160..240
        hu[12] = -500
        hu[13] = 400
        scene = read_scene(CASE, write_pair(tmp_path, *liver_and_shifted(), hu), "fixed")
        # The scene starts at slice 7, five below the liver's first.
        np.testing.assert_allclose(scene.gray[[5, 6, 7], 0, 0], [0, 1, 0.5])
        assert scene.remark is None

    def test_without_cts_neighbours_differ_in_shade(self, tmp_path):
        truth, pred = liver_and_shifted()
        truth[8:12, 10:16, 14:16] = ORGANS["right kidney"]
        scene = read_scene(CASE, write_pair(tmp_path, truth, pred), "fixed")
        shades = [float(scene.gray[scene.truth == label][0]) for label in (0, 1, 2)]
        assert shades[0] < min(shades[1:]) - 0.15
        assert abs(shades[1] - shades[2]) > 0.05
        assert scene.remark is None


class TestFiles:
    @pytest.mark.parametrize(
        "problem", ["missing", "cut", "origin", "shape", "no ct"], ids=lambda name: name
    )
    def test_a_ct_that_is_no_good_is_left_out_and_named(self, tmp_path, problem):
        rng = np.random.default_rng(0)
        hu = rng.integers(-100, 100, SHAPE, np.int16)
        folders = write_pair(tmp_path, *liver_and_shifted(), hu)
        path = folders.images / "a_0000.nii.gz"
        if problem == "missing":
            path.unlink()
        elif problem == "cut":
            path.write_bytes(path.read_bytes()[:-2000])
        elif problem == "origin":
            write_map(hu, path, SPACING_MM, origin=(5.0, 0.0, 0.0))
        elif problem == "shape":
            write_map(hu[1:], path, SPACING_MM)
        else:
            write_map(np.zeros(SHAPE, np.int16), path, SPACING_MM)
        remarks = {
            "missing": "a_0000.nii.gz: there is no such file",
            "cut": "a_0000.nii.gz: damaged or truncated",
            "origin": "a_0000.nii.gz: not this truth's CT: the map's origin is",
            "shape": "a_0000.nii.gz: not this truth's CT: the map has 40×30×20 voxels, not",
            "no ct": "a_0000.nii.gz: every voxel is 0",
        }
        scene = read_scene(CASE, folders, "fixed")
        assert scene.remark is not None and scene.remark.startswith(remarks[problem])
        assert len(draw_planes(scene)) == 3

    def test_a_map_that_cannot_be_read(self, tmp_path):
        folders = write_pair(tmp_path, *liver_and_shifted())
        (folders.pred / "a.nii.gz").write_bytes(b"no map")
        with pytest.raises(VolumeError, match="not a NIfTI-1 file"):
            read_scene(CASE, folders, "official")
        (folders.truth / "a.nii.gz").unlink()
        with pytest.raises(VolumeError, match="missing"):
            read_scene(CASE, folders, "official")

    @pytest.mark.parametrize("rules", ["official", "fixed"])
    def test_a_prediction_of_another_shape(self, tmp_path, rules):
        truth, pred = liver_and_shifted()
        folders = write_pair(tmp_path, truth, pred[:-1])
        with pytest.raises(GeometryError, match="40×30×19 voxels, not 40×30×20"):
            read_scene(CASE, folders, rules)

    def test_a_prediction_elsewhere_is_painted_by_the_official_rules_alone(self, tmp_path):
        truth, pred = liver_and_shifted()
        folders = write_pair(tmp_path, truth, pred)
        write_map(pred, folders.pred / "a.nii.gz", SPACING_MM, origin=(9.0, 0.0, 0.0))
        painted = read_scene(CASE, folders, "official").pred
        assert np.count_nonzero(painted) == np.count_nonzero(pred)
        with pytest.raises(GeometryError, match="origin"):
            read_scene(CASE, folders, "fixed")

    def test_nothing_to_see(self, tmp_path):
        empty = np.zeros(SHAPE, np.uint8)
        with pytest.raises(GeometryError, match="neither map has any"):
            read_scene(CASE, write_pair(tmp_path, empty, empty), "fixed")


def scene_of(shape, spacing_mm):
    truth = np.zeros(shape, np.uint8)
    middle = tuple(n // 2 for n in shape)
    truth[middle] = LIVER
    gray = np.zeros(shape, np.float32)
    return Scene(gray, truth, truth * 0, spacing_mm, middle, middle, {"liver": LIVER}, None)


class TestPlanes:
    @pytest.mark.parametrize(
        ("shape", "spacing_mm", "px_mm"),
        [
            # 60 x 48 mm across, 30 mm high: 1040 / (60 + 60 + 48) = 6.2 px a mm, but 5 at most
            ((10, 24, 30), (3.0, 2.0, 2.0), 5.0),
            # 200 x 120 mm, 60 mm high: 1040 / (200 + 200 + 120) = 2
            ((20, 60, 100), (3.0, 2.0, 2.0), 2.0),
            # 80 x 80 mm, 460 mm high: 460 / 460 = 1
            ((92, 40, 40), (5.0, 2.0, 2.0), 1.0),
        ],
    )
    def test_one_scale_for_all_three(self, shape, spacing_mm, px_mm):
        z_mm, y_mm, x_mm = (n * mm for n, mm in zip(shape, spacing_mm, strict=True))
        planes = draw_planes(scene_of(shape, spacing_mm))
        assert [plane.name for plane in planes] == ["axial", "coronal", "sagittal"]
        assert [plane.sides for plane in planes] == [("R", "L"), ("R", "L"), ("A", "P")]
        sizes_mm = [(x_mm, y_mm), (x_mm, z_mm), (y_mm, z_mm)]
        for plane, (width_mm, height_mm) in zip(planes, sizes_mm, strict=True):
            assert (plane.width_px, plane.height_px) == (width_mm * px_mm, height_mm * px_mm)
            assert pixels(plane).shape == (plane.height_px, plane.width_px, 3)
            bar_px = plane.bar_percent / 100 * plane.width_px
            assert bar_px == pytest.approx(plane.bar_mm * px_mm, abs=0.1)
            assert bar_px <= 0.4 * plane.width_px + 0.1
        assert len({plane.bar_mm for plane in planes}) == 1

    @pytest.mark.parametrize("direction", DIRECTIONS)
    def test_outlines_are_where_the_masks_end(self, tmp_path, direction):
        """However the file is stored, the patient looks the same."""
        truth, pred = liver_and_shifted()
        hu = np.full(SHAPE, -200, np.int16)
        hu[0] = 0
        # Axes of the written array are to be Z, Y, X = S, P, L, whatever the file's own are.
        arrays = [stored(part, direction) for part in (truth, pred, hu)]
        spacing_mm = {"PIL": (4.0, 6.0, 4.0)}.get(direction, SPACING_MM)
        folders = Folders(tmp_path / "truth", tmp_path / "pred", tmp_path / "images")
        for array, name in zip(
            arrays, ("truth/a.nii.gz", "pred/a.nii.gz", "images/a_0000.nii.gz"), strict=True
        ):
            write_map(array, tmp_path / name, spacing_mm, direction=DIRECTIONS[direction])
        scene = read_scene(CASE, folders, "fixed")
        axial, coronal, _ = (pixels(plane) for plane in draw_planes(scene))
        # The crop: x 0..25, y 2..24, z 7..20 (voxels); 100 x 88 x 78 mm; px = 1040 / 288 a mm.
        px = 1040 / (100 + 100 + 88)
        white = np.argwhere((axial > 250).all(axis=2))
        # Truth in the crop: x 6..14, y 8..14 of 4 mm. Its name is below: keep to rows of the mask.
        white = white[white[:, 0] < 14 * 4 * px + 2]
        np.testing.assert_allclose(white.min(axis=0), [8 * 4 * px, 6 * 4 * px], atol=3)
        np.testing.assert_allclose(white.max(axis=0), [14 * 4 * px, 14 * 4 * px], atol=3)
        orange = np.argwhere(np.abs(axial - (255, 176, 0)).max(axis=2) < 30)
        np.testing.assert_allclose(orange[:, 1].min(), 9 * 4 * px, atol=3)
        np.testing.assert_allclose(orange[:, 1].max(), 17 * 4 * px, atol=3)
        # In the coronal plane the head is on top: z 12..16 of 7..20 is 4 below it.
        white = np.argwhere((coronal > 250).all(axis=2))
        np.testing.assert_allclose(white.min(axis=0), [4 * 6 * px, 6 * 4 * px], atol=3)

    def test_colours_survive_however_few_pixels_have_them(self):
        rng = np.random.default_rng(0)
        scene = scene_of((40, 60, 60), (3.0, 3.0, 3.0))
        pred = scene.truth * 0
        pred[20, 10, 10] = LIVER
        gray = rng.random(scene.gray.shape, np.float32)
        shown = pixels(draw_planes(replace(scene, gray=gray, pred=pred))[0])
        assert ((shown == (255, 176, 0)).all(axis=2)).sum() > 5
        assert len(np.unique(shown[..., 2])) > 150  # and the CT keeps its greys

    def test_the_same_scene_gives_the_same_bytes(self):
        scene = scene_of((10, 24, 30), (3.0, 2.0, 2.0))
        assert draw_planes(scene) == draw_planes(scene)


def stored(array, direction):
    """Store an array with axes S, P, L by the axes of DIRECTIONS."""
    if direction == "RAS":
        return np.ascontiguousarray(array[:, ::-1, ::-1])
    if direction == "PIL":  # Z, Y, X of the file are L, I, P
        return np.ascontiguousarray(array[::-1].transpose(2, 0, 1))
    return array


@given(st.data())
def test_names_lie_in_the_picture_and_not_on_each_other(data):
    rows, columns = data.draw(st.integers(14, 30)), data.draw(st.integers(45, 60))
    organs = []
    for organ in ("right adrenal gland", "left adrenal gland", "inferior vena cava"):
        mask = np.zeros((rows, columns), bool)
        top, left = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
        mask[
            top : top + data.draw(st.integers(1, 9)), left : left + data.draw(st.integers(1, 9))
        ] = 1
        organs.append((organ, mask))
    width, height = columns * 6, rows * 6  # 84 high: two lines of 14 leave room for a third
    found = list(name_places(organs, (6.0, 6.0), (width, height)))
    assert sorted(name for name, _, _ in found) == sorted(name for name, _ in organs)
    boxes = [(x - 3.2 * len(name), y, x + 3.2 * len(name), y + 14) for name, x, y in found]
    for place, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and top >= 0 and right <= width and bottom <= height
        for other in boxes[place + 1 :]:
            apart = other[0] >= right or other[2] <= left or other[1] >= bottom or other[3] <= top
            assert apart


def test_a_name_stands_under_the_largest_part():
    mask = np.zeros((20, 60), bool)
    mask[2, 2] = True
    mask[5:9, 30:34] = True  # columns 30..33: middle 32; last row 8
    ((_, x, y),) = name_places([("liver", mask)], (10.0, 10.0), (600, 200))
    assert (x, y) == (320.0, pytest.approx(92.0))  # 8 + 1.2 rows
