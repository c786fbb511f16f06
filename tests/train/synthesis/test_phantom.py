"""The generated CT: reproducible, plausible sizes and neighbours, every label there."""

import numpy as np
import pytest
import SimpleITK as sitk

from imaging.errors import KitError
from imaging.geometry import Grid
from imaging.organs import ORGANS
from imaging.volumes import read_volume
from train.synthesis.phantom import phantom, write_phantom
from train.synthesis.solids import SolidEllipsoid, Tube, WarpedSpace, smooth_noise

SHAPE, SPACING_MM = (58, 76, 76), (5.0, 5.0, 5.0)
# Adults' volumes in ml, from small to large; organs in a small field of view are not required.
PLAUSIBLE_ML = {
    "liver": (600, 2300),
    "right kidney": (80, 280),
    "spleen": (60, 450),
    "pancreas": (30, 150),
    "aorta": (30, 150),
    "inferior vena cava": (40, 160),
    "right adrenal gland": (0.8, 9),
    "left adrenal gland": (0.8, 9),
    "gallbladder": (10, 60),
    "esophagus": (8, 60),
    "stomach": (120, 700),
    "duodenum": (30, 150),
    "left kidney": (80, 280),
    "tumour": (0.3, 200),
}


@pytest.fixture(scope="module")
def patients():
    return [phantom(seed, SHAPE, SPACING_MM) for seed in range(3)]


def center(labels, organ):
    """Middle of an organ, (Z, Y, X) in voxels."""
    return np.argwhere(labels == ORGANS[organ]).mean(axis=0)


def test_every_organ_has_a_plausible_size(patients):
    voxel_ml = Grid(SHAPE, SPACING_MM).voxel_ml
    for _, labels in patients:
        counts = np.bincount(labels.ravel(), minlength=15)
        for organ, (low, high) in PLAUSIBLE_ML.items():
            assert low <= counts[ORGANS[organ]] * voxel_ml <= high, organ


def test_organs_lie_where_they_should(patients):
    for _, labels in patients:
        z, y, x = np.transpose([center(labels, organ) for organ in ORGANS if organ != "tumour"])
        at = {o: (z[i], y[i], x[i]) for i, o in enumerate(o for o in ORGANS if o != "tumour")}
        # x grows to the patient's left, y to the back, z to the head
        assert at["liver"][2] < at["inferior vena cava"][2] < at["aorta"][2] < at["spleen"][2]
        assert at["right kidney"][2] < at["pancreas"][2] < at["left kidney"][2]
        assert at["gallbladder"][1] < at["pancreas"][1] < at["aorta"][1]
        assert at["stomach"][1] < at["left kidney"][1]
        assert at["duodenum"][0] < at["liver"][0] < at["esophagus"][0]


def test_a_tumour_grows_inside_the_liver_and_only_on_request():
    _, with_tumour = phantom(1, SHAPE, SPACING_MM)
    _, without = phantom(1, SHAPE, SPACING_MM, tumour=False)
    grown = with_tumour == ORGANS["tumour"]
    assert grown.any()
    assert set(np.unique(without[grown])) == {ORGANS["liver"]}
    np.testing.assert_array_equal(with_tumour[~grown], without[~grown])
    assert not np.any(without == ORGANS["tumour"])


def phase_of(aorta_hu, cava_hu):
    """Contrast reaches the aorta first, and the vein a minute later."""
    if aorta_hu < 80:
        return "native"
    return "portal" if cava_hu > 0.8 * aorta_hu else "arterial"


def test_tissues_have_their_hounsfield_units(patients):
    phases = []
    for hu, labels in patients:
        median = {organ: float(np.median(hu[labels == label])) for organ, label in ORGANS.items()}
        assert -10 < median["gallbladder"] < 30
        assert 40 < median["liver"] < 125
        phases.append(phase_of(median["aorta"], median["inferior vena cava"]))
        assert (median["left kidney"] > 100) == (phases[-1] != "native")
        assert hu[0, 0, 0] < -950  # air around the patient
        assert np.mean(hu > 250) > 0.003  # bone
        assert np.mean((hu > -120) & (hu < -80)) > 0.05  # fat
        assert np.mean(hu[-1] < -750) > np.mean(hu[0] < -750)  # the lungs, at the top
    assert phases == ["portal", "arterial", "native"]


def test_the_seed_decides_everything():
    first, again, other = (phantom(seed, (20, 30, 32), (8.0, 9.0, 10.0)) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])
    assert (first[0].dtype, first[1].dtype) == (np.int16, np.uint8)


def test_the_default_is_a_whole_abdomen_with_every_label():
    hu, labels = phantom(0)
    assert hu.shape == labels.shape == (96, 128, 128)
    assert np.unique(labels).tolist() == list(range(15))


@pytest.mark.parametrize("shape", [(1, 40, 40), (30, 1, 1), (3, 2, 5)])
def test_any_box_can_be_painted(shape):
    hu, labels = phantom(0, shape, (7.0, 8.0, 8.0))
    assert hu.shape == labels.shape == shape


def test_a_sample_is_a_case_that_can_be_read(tmp_path):
    path = write_phantom(tmp_path / "inputs", seed=0)
    assert path == tmp_path / "inputs/sample_0000.nii.gz"
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    volume = read_volume(path)
    assert volume.grid == Grid((96, 176, 192), (3.0, 2.0, 2.0))
    assert volume.hu.dtype == np.int16
    np.testing.assert_array_equal(volume.direction, np.eye(3))
    assert sitk.ReadImage(str(path)).GetSpacing() == (2.0, 2.0, 3.0)


def test_a_sample_that_cannot_be_written_says_where(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KitError, match=r"cannot make .*file: .*; choose another folder"):
        write_phantom(tmp_path / "file", seed=0)


def straight(shape, spacing_mm):
    return WarpedSpace(Grid(shape, spacing_mm), np.random.default_rng(0), warp_mm=0.0, scale=1.0)


def test_a_space_has_its_zero_in_the_middle():
    places = straight((3, 4, 5), (2.0, 1.0, 3.0)).places
    np.testing.assert_array_equal(places[0, :, 0, 0], [-2, 0, 2])
    np.testing.assert_array_equal(places[1, 0, :, 0], [-1.5, -0.5, 0.5, 1.5])
    np.testing.assert_array_equal(places[2, 0, 0, :], [-6, -3, 0, 3, 6])


def test_an_ellipsoid_fills_what_it_should():
    # centers at -2..2 in mm; radii 1, 2, 1: along y the voxels -2..2, one voxel on the others
    mask = straight((5, 5, 5), (1.0, 1.0, 1.0)).mask(SolidEllipsoid((0, 0, 0), (0.9, 2, 0.9)))
    expected = np.zeros((5, 5, 5), dtype=bool)
    expected[2, :, 2] = True
    np.testing.assert_array_equal(mask, expected)


def test_a_tube_has_round_ends_and_tapers():
    # knots at x = -2 and 2 on a line; radius 0.5 at the left end, 1.5 at the right, 1 in the middle
    tube = Tube(((0, 0, -2), (0, 0, 2)), (0.5, 1.5))
    mask = straight((5, 5, 9), (1.0, 1.0, 1.0)).mask(tube)
    assert mask[2, 2].tolist() == [False, False, True, True, True, True, True, True, False]
    assert mask[2, 1].tolist() == [False, False, False, False, True, True, True, True, False]
    assert mask[2, 0].tolist() == [False] * 9


def test_shrinking_leaves_a_wall():
    assert SolidEllipsoid((1, 2, 3), (5, 6, 1)).shrunk(2) == SolidEllipsoid((1, 2, 3), (3, 4, 0.1))
    assert Tube(((0, 0, 0), (1, 1, 1)), (5, 4)).shrunk(1).radii == (4, 3)


def test_noise_is_bounded_smooth_and_of_unit_variance():
    grid = Grid((40, 40, 40), (3.0, 3.0, 3.0))
    noise = smooth_noise(grid, np.random.default_rng(0), width_mm=30.0)
    assert noise.shape == grid.shape
    assert np.abs(noise).max() <= 3
    assert 0.5 < noise.std() < 1.1  # linear interpolation between lattice points lowers it
    assert np.abs(np.diff(noise, axis=0)).max() < 1.5  # neighbours, 3 mm apart, are alike
