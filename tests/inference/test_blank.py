"""Slices that show nothing do not split a patient: the patient stays whole, with a warning."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.label_maps import read_label_map
from imaging.volumes import read_volume
from inference.blank import blank_slices, bridged
from inference.manifest import ComponentRule
from inference.pipeline import predict_folder
from inference.region import region
from inference.results_table import volumes_table
from inference.settings import Settings
from inference.view import view_of
from train.synthesis.phantom import phantom

SPACING_MM = (5.0, 4.0, 4.0)
FILLS = [-1000, -1024, -3024, -32768, 0, 40, 3071]


@pytest.fixture(scope="module")
def patient():
    """A generated CT of 390 mm with its labels."""
    return phantom(3, (78, 100, 110), SPACING_MM)


def body(slices=12):
    """A patient of 100 HU, 96 mm wide, in air."""
    hu = np.full((slices, 30, 30), -1000, np.int16)
    hu[:, 3:27, 3:27] = 100
    return hu


def test_gaps_between_slices_of_a_body():
    hu = body()
    assert blank_slices(hu, SPACING_MM) == ()
    hu[3] = -1024
    hu[5:8] = 0
    assert blank_slices(hu, SPACING_MM) == ((3, 4), (5, 8))
    hu[0] = hu[-2:] = -1024  # ends are no gaps
    assert blank_slices(hu, SPACING_MM) == ((3, 4), (5, 8))


@pytest.mark.parametrize("fill", FILLS)
def test_whatever_the_number_that_fills_them(fill):
    hu = body()
    hu[4:6] = fill
    assert blank_slices(hu, SPACING_MM) == ((4, 6),)


def test_noise_of_air_is_blank_and_a_part_of_a_body_is_not():
    hu = body()
    hu[4] = np.random.default_rng(0).normal(-1000, 15, hu[4].shape)
    hu[6, :15] = -1024
    assert blank_slices(hu, SPACING_MM) == ((4, 5),)


def test_objects_too_small_for_a_body_have_no_gaps():
    # 24 x 24 voxels of 1.2 mm are 8.3 cm², of 1.4 mm 11.3 cm²
    hu = body()
    hu[4] = -1024
    assert blank_slices(hu, (5.0, 1.2, 1.2)) == ()
    assert blank_slices(hu, (5.0, 1.4, 1.4)) == ((4, 5),)


def test_a_gap_shows_the_nearest_slices():
    hu = np.arange(10, dtype=np.float32).reshape(10, 1, 1)
    found = bridged(hu, ((1, 2), (4, 8)))
    assert found.ravel().tolist() == [0, 2, 2, 3, 3, 3, 8, 8, 8, 9]
    assert found.dtype == np.float32
    assert bridged(hu, ()) is hu


@given(
    blank=st.sets(st.integers(1, 76), max_size=40),
    fill=st.sampled_from(FILLS),
    crop=st.sampled_from(["body", "none"]),
)
def test_blank_slices_anywhere_leave_the_region_as_it_was(patient, blank, fill, crop):
    whole, labels = patient
    hu = whole.copy()
    hu[sorted(blank)] = fill
    runs = blank_slices(hu, SPACING_MM)
    assert {z for start, stop in runs for z in range(start, stop)} == blank
    shown = bridged(hu, runs)
    rest = sorted(set(range(78)) - blank)
    np.testing.assert_array_equal(shown[rest], whole[rest])
    found = region(crop, shown, SPACING_MM, (1, 1, 1))
    assert (found.box[0].start, found.box[0].stop) == (0, 78)
    assert not np.delete(labels, np.r_[found.box[1]], axis=1).any()
    assert not np.delete(labels, np.r_[found.box[2]], axis=2).any()
    assert found.outside_ml < 0.01 * found.tissue_ml or crop == "none"


@pytest.fixture
def label(tmp_path, write_ct, network):
    """Label a CT [Z, Y, X] with the tiny network and "largest"; labels, report and table."""
    pytest.importorskip("openvino")

    def run(hu, **changes):
        path = write_ct(tmp_path / "in" / "a_0000.nii.gz", hu, spacing_mm=SPACING_MM)
        rules = (ComponentRule("liver", keep="largest"),)
        manifest = network(**{"spacing_mm": SPACING_MM, "postprocess": rules, **changes})
        settings = Settings(engine="openvino", threads=1, precision="f32")
        report = predict_folder({"a": path}, tmp_path / "out", manifest, settings)
        labels = read_label_map(tmp_path / "out" / "a.nii.gz").labels
        return labels, report.cases[0], volumes_table(report, manifest)

    return run


def cells(table):
    """The rows of a table of one case."""
    names, values = (list(column.cells) for column in table.columns)
    return dict(zip(names, values, strict=True))


def organ(slices=30):
    """A body of 30 HU, air around it, a liver of 100 HU through half of its slices."""
    hu = body(slices)
    hu[hu == 100] = 30
    hu[slices // 4 : -(slices // 4), 10:20, 10:20] = 100
    return hu


@pytest.mark.parametrize("gaps", [[(14, 15)], [(12, 18)], [(9, 10), (14, 16), (20, 21)]])
@pytest.mark.parametrize("orientation", [None, "LPI"])
def test_an_organ_is_not_halved_by_a_gap(label, gaps, orientation):
    hu = organ()
    expected = (hu == 100).astype(np.uint8)
    for start, stop in gaps:
        hu[start:stop], expected[start:stop] = -1024, 0
    labels, case, _ = label(hu, crop="body", orientation=orientation)
    np.testing.assert_array_equal(labels, expected)
    count = sum(stop - start for start, stop in gaps)
    most = max(stop - start for start, stop in gaps)
    show = "shows" if count == 1 else "show"
    assert case.warnings == (
        f"{count} of 30 slices {show} nothing between others that do ({5 * most} mm at a stretch): "
        "the network was shown the nearest slices in their place, and nothing is labelled there",
    )
    turned = [(30 - stop, 30 - start) for start, stop in reversed(gaps)]
    assert list(case.blank_slices) == (gaps if orientation is None else turned)


def test_what_is_removed_or_empty_or_outside_is_reported(label):
    hu = organ(48)  # slices 12 to 35, 100 voxels each
    hu[20:26, 10:20, 10:20] = 30  # a gap that is no blank slice: 8 and 10 slices stay
    hu[22, 3:27, 3:27] = -1000
    hu[22, :3, :] = 30  # and the body's halves have nothing in common
    labels, case, table = label(hu, crop="body")
    # of the halves of 22 and 25 slices the first is left out, but for two slices of margin from 23
    # on; a slice of 24 x 24 voxels has 22 x 22 whose neighbours are dense too, of 0.08 ml
    assert not labels[:20].any()
    assert labels[26:36].sum() == 1000
    assert case.outside_ml == round(21 * 22 * 22 * 0.08, 1)
    assert case.removed_ml == {"liver": 0.0}
    assert case.empty == ("tumour",)
    rows = cells(table)
    assert rows["outside the region"] == f"{case.outside_ml:.1f}"
    assert rows["tumour"] == "empty"
    assert rows["liver"] == "80.0"
    (warning,) = case.warnings
    assert "ml of tissue lie outside of the region of interest; --crop none labels" in warning
    labels, case, table = label(hu, crop="none")
    assert case.outside_ml == 0
    assert case.removed_ml == {"liver": 64.0}
    assert cells(table)["removed by rules"] == "64.0"
    warning = "component rules took much away: liver (64.0 of 144.0 ml); --no-clean keeps it"
    assert case.warnings == (warning,)


def test_an_empty_map_is_reported(label):
    _, case, table = label(np.where(body() > 0, 30, -1000).astype(np.int16))
    assert case.empty == ("liver", "tumour")
    assert case.warnings == ("the label map is empty: no organ was found",)
    assert cells(table)["liver"] == cells(table)["tumour"] == "empty"


def test_a_view_warns_from_a_tenth_on(network, write_ct, tmp_path):
    hu = np.full((30, 60, 80), -1000, np.int16)
    hu[:, 20:42, 20:42] = 40  # 20 x 20 cells of tissue a slice
    volume = read_volume(write_ct(tmp_path / "a_0000.nii.gz", hu, spacing_mm=(4.0, 4.0, 4.0)))
    for wide, warned in ((5, True), (4, False)):  # 44.4 cells would be a tenth of all
        arm = hu.copy()
        arm[:, 20:31, 60 : 60 + wide + 2] = 40  # 9 x 5 or 9 x 4 cells
        view = view_of(replace(volume, hu=arm), network(), "body")
        assert view.region.outside_ml == pytest.approx(30 * 9 * wide * 0.064)
        assert bool(view.warnings) is warned
