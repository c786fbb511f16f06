"""The localiser: the organs' box where it is sure, the body's where it is not."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from imaging.errors import EngineError, ManifestError
from inference import Settings, segment
from inference.cli import main
from inference.localiser import Localiser, certainty_of, organ_probability, seen_cells
from inference.manifest import LOCALISER, Intensity, LocaliserSpec, verify_files
from inference.region import region
from inference.view import view_of
from tests.conftest import PATCH, weights_file

pytest.importorskip("onnx")
pytest.importorskip("openvino")

SPACING_MM = (4.0, 4.0, 4.0)
ORGANS = Settings(threads=1, precision="f32", crop="organs", step=1.0)
SPEC = LocaliserSpec(
    spacing_mm=(8.0, 8.0, 8.0),
    intensity=Intensity((-1000.0, 400.0), 100.0, 10.0),
    patch=PATCH,
    step=0.75,
    margin_mm=8.0,
    least_certainty=0.6,
)
"""Class k of the tiny network is at 100 + 10 k HU: 40 HU are surely no organ, 200 HU are one."""


@pytest.fixture
def localised(network):
    """The manifest of the tiny network on 4 mm, with itself as the localiser on 8 mm."""

    def made(spec=SPEC, **changes):
        plain = network(spacing_mm=SPACING_MM)
        onnx = weights_file(plain.weights("onnx"))
        changed = replace(plain, files={"onnx": onnx, LOCALISER: onnx}, localiser=spec, **changes)
        changed.write(plain.folder / "weights_manifest.json")
        return changed

    return made


def body(organ_hu=200):
    """A body in air, 40 HU, and in it an organ: voxels 20 to 28, 24 to 32, 40 to 48."""
    hu = np.full((60, 60, 80), -1000, dtype=np.int16)
    hu[:, 8:52, 16:64] = 40
    hu[20:28, 24:32, 40:48] = organ_hu
    return hu


@pytest.fixture
def ct(tmp_path, write_ct):
    """Write a CT of `body`, 4 mm."""

    def written(organ_hu=200):
        path = tmp_path / "in" / "a_0000.nii.gz"
        return write_ct(path, body(organ_hu), spacing_mm=SPACING_MM)

    return written


def test_the_probability_is_that_of_all_classes_but_the_first():
    logits = np.log(np.array([[1.0, 6.0], [1.0, 1.0], [2.0, 1.0]], np.float32)).reshape(3, 1, 1, 2)
    np.testing.assert_allclose(organ_probability(logits), [[[0.75, 0.25]]], rtol=1e-6)
    extreme = np.array([-1e30, 1e30], np.float32).reshape(2, 1, 1, 1)
    assert organ_probability(extreme) == 1


def test_cells_are_seen_from_a_tenth_on_and_four_millilitres_together():
    organ = np.zeros((1, 1, 9), np.float32)
    organ[0, 0] = [0.1, 0.9, 0, 0.09, 0, 0.5, 0, 0, 0.9]
    assert seen_cells(organ, 2.0)[0, 0].tolist() == [True, True] + 7 * [False]
    assert seen_cells(organ, 4.0)[0, 0].nonzero()[0].tolist() == [0, 1, 5, 8]


def test_a_piece_with_little_clear_is_noise_where_another_has_much():
    organ = np.zeros((1, 3, 120), np.float32)
    organ[0, 0, :100] = 0.9
    organ[0, 2, :50], organ[0, 2, :29] = 0.2, 0.9  # 29 clear cells of 100 are less than 0.3
    organ[0, 2, 60:110], organ[0, 2, 60:90] = 0.2, 0.9
    seen = seen_cells(organ, 1.0)
    assert np.flatnonzero(seen[0, 0]).tolist() == [*range(100)]
    assert np.flatnonzero(seen[0, 2]).tolist() == [*range(60, 110)]
    assert seen_cells(organ[:, 2:, :55], 1.0).sum() == 50  # alone it counts
    doubt = np.abs(2 * organ[organ > 0] - 1).mean()
    assert certainty_of(organ, seen) == pytest.approx(doubt)  # noise counts as doubt


def test_the_certainty_is_how_far_from_a_half_what_is_seen_lies():
    organ = np.array([[[0.1, 0.5, 1.0, 0.0]]], np.float32)
    # |2p - 1| of the three is 0.8, 0 and 1
    assert certainty_of(organ, organ >= 0.1) == pytest.approx(0.6)
    assert certainty_of(organ, organ > 1) == 0  # one cell at 1 is too small to be seen
    assert certainty_of(np.full((1, 1, 2), 0.05, np.float32), organ[..., :2] > 1) == pytest.approx(
        0.95
    )


def test_the_box_is_the_organs_cells_and_the_margin(ct, localised):
    found = segment(ct(), localised(), ORGANS)
    report = found.report
    assert (report.localiser, report.certainty) == ("organs", 1.0)
    # The body's box begins at voxels 0, 6 and 14, so a cell of 8 mm is two voxels: at 20, 24 and
    # 40 cells begin. The margin of 8 mm is two more voxels.
    assert report.region == ((18, 30), (22, 34), (38, 50))
    assert report.working_shape == (12, 12, 12)
    assert report.warnings == ()
    expected = np.zeros((60, 60, 80), np.uint8)
    expected[20:28, 24:32, 40:48] = 2
    np.testing.assert_array_equal(found.labels, expected)
    whole = segment(ct(), localised(), replace(ORGANS, crop="body"))
    np.testing.assert_array_equal(whole.labels, expected)
    assert (whole.report.localiser, whole.report.certainty) == (None, None)
    assert whole.report.windows > 5 * report.windows


def test_an_unsure_localiser_leaves_the_body(ct, localised):
    report = segment(ct(), localised(replace(SPEC, least_certainty=1.0)), ORGANS).report
    assert report.localiser == "organs"  # certain enough: exactly 1
    report = segment(ct(104), localised(), ORGANS).report
    # 104 HU: logits 0, -0.1 and -1.2, so p = 1 - 1 / (1 + 0.905 + 0.301) = 0.547, |2p - 1| = 0.09
    assert (report.localiser, report.certainty) == ("unsure", pytest.approx(0.09, abs=0.1))
    whole = segment(ct(104), localised(), replace(ORGANS, crop="body")).report
    assert (report.region, report.windows) == (whole.region, whole.windows)
    [warning] = [text for text in report.warnings if "localiser" in text]
    assert "the localiser is unsure where the organs are (certainty 0." in warning
    assert warning.endswith("the region of interest is the body's box")


def test_where_there_is_no_organ_the_network_does_not_run(ct, localised):
    found = segment(ct(40), localised(), ORGANS)
    report = found.report
    assert (report.status, report.localiser, report.certainty) == ("done", "no organ", 0.998)
    assert not found.labels.any()
    assert (report.windows, report.empty) == (0, ("liver", "tumour"))
    assert report.volumes_ml == {"liver": 0.0, "tumour": 0.0}
    assert "network" not in report.seconds
    assert report.warnings == (
        "the localiser sees no organ (certainty 1.00): the network did not run; "
        "--crop body runs it",
        "the label map is empty: no organ was found",
    )


def test_in_one_thin_slice_it_sees_too_little_to_be_sure(tmp_path, write_ct, localised):
    path = write_ct(tmp_path / "a_0000.nii.gz", body()[24:25], spacing_mm=(0.5, 4.0, 4.0))
    report = segment(path, localised(), ORGANS).report
    assert (report.localiser, report.certainty) == ("unsure", 0.0)  # 0.5 ml, of which p is 1


def test_without_a_localiser_organs_cannot_be_requested(ct, network):
    with pytest.raises(ManifestError, match="'tiny' has no localiser; use --crop body, or add one"):
        segment(ct(), network(), ORGANS)
    volume = view_of(_volume(ct()), network(spacing_mm=SPACING_MM), "organs")
    assert volume.region == region("body", body(), SPACING_MM, (4, 5, 6))


def _volume(path):
    from imaging.volumes import read_volume

    return read_volume(path)


def test_a_damaged_localiser_is_refused(ct, localised):
    manifest = localised()
    manifest.weights(LOCALISER).write_bytes(b"changed")
    plain = replace(manifest, files={LOCALISER: manifest.files[LOCALISER]})
    with pytest.raises(ManifestError, match="7 bytes, the manifest says"):
        verify_files(plain)
    with pytest.raises(ManifestError, match="7 bytes, the manifest says"):
        segment(ct(), manifest, ORGANS)


def test_logits_that_are_no_numbers_are_refused(localised):
    class Broken:
        def infer(self, patches):
            return np.full((1, 3, *PATCH), np.nan, np.float32)

    network, spec = localised().of_localiser()
    with pytest.raises(EngineError, match="the localiser answers NaN"):
        Localiser(network, Broken(), spec).probability(body(), SPACING_MM)


def test_predict_and_outside_take_the_organs_box(ct, localised, tmp_path, write_ct):
    manifest = localised(crop="organs").folder / "weights_manifest.json"
    path, out = ct(), tmp_path / "out"
    arguments = ["predict", path, out, "--manifest", manifest, "--threads", 1]
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    [case] = json.loads((out / "run.json").read_text())["cases"]
    assert (case["localiser"], case["certainty"]) == ("organs", 1.0)
    labels = np.zeros((60, 60, 80), np.uint8)
    labels[20:28, 24:32, 40:48] = 2
    labels[40, 30, 40] = 1
    truth = write_ct(tmp_path / "a.nii.gz", labels, spacing_mm=SPACING_MM)
    table = tmp_path / "outside.json"
    arguments = ["outside", path, truth, "--manifest", manifest, "-o", table]
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == 1
    found = json.loads(table.read_text())
    assert (found["localiser"], found["certainty"], found["lost_ml"]) == ("organs", 1.0, 0.064)
    assert found["region"] == [[18, 30], [22, 34], [38, 50]]
