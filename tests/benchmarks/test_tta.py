"""What the benchmark of test-time augmentation measures and says, with the network of the tests."""

import json
from dataclasses import replace

import pytest
import SimpleITK as sitk
from click.testing import CliRunner

pytest.importorskip("onnx")
pytest.importorskip("openvino")

from benchmarks.cli import main
from benchmarks.tta import Found, mean_of, table_of
from evaluation.scoring.scores import LabelScore


@pytest.fixture
def measured(tmp_path, write_ct, boxes, network):
    """Run the command on one CT with a true label map; return its output and its JSON."""

    def run(manifest):
        hu, labels = boxes
        ct = write_ct(tmp_path / "a_0000.nii.gz", hu)
        image = sitk.GetImageFromArray(labels)
        image.CopyInformation(sitk.ReadImage(str(ct)))
        (tmp_path / "truth").mkdir()
        sitk.WriteImage(image, str(tmp_path / "truth" / "a.nii.gz"))
        output = tmp_path / "tta.json"
        command = ["tta", str(ct), "--truth", str(tmp_path / "truth"), "--repeats", "2"]
        command += ["--manifest", str(manifest.folder / "weights_manifest.json")]
        done = CliRunner().invoke(main, [*command, "-o", str(output)])
        assert done.exit_code == 0, done.output
        return done.output, json.loads(output.read_text())

    return run


def test_every_way_of_a_mirrored_network_is_scored_and_timed(measured, network):
    said, found = measured(network())
    # 8 windows, two along each axis; one between them; smaller and larger ones, which for a patch
    # of 4 x 5 x 6 have its size; at step .3 1 + ceil(2 / 1.2), ceil(2 / 1.5), ceil(2 / 1.8)
    counts = {"none": 8, "shift": 9, "finer": 16, "scales": 24, "flip-x": 8, "full": 8}
    windows = {way: row["windows"] for way, row in found["ways"].items()}
    assert windows == {**counts, "step 0.3": 27}
    for row in found["ways"].values():
        case = row["cases"]["a"]
        assert (row["dsc"], row["nsd"], case["dsc"]) == (1, 1, 1)
        assert sorted(case["scores"]) == ["liver", "right kidney"]  # 1 and 2 of FLARE23
        assert len(case["cpu_s"]) == len(case["wall_s"]) == 2
    assert "tiny: means over 1 CT" in said
    assert "100.00 +0.00" in said


def test_flips_are_left_out_where_training_did_not_mirror(measured, network):
    manifest = network()
    _, found = measured(network(window=replace(manifest.window, mirror_axes=())))
    assert list(found["ways"]) == ["none", "shift", "finer", "scales", "step 0.3"]


def test_means_are_over_cases_of_means_over_labels():
    def scores(*dsc):
        return {str(number): LabelScore(dsc=value, nsd=1.0) for number, value in enumerate(dsc)}

    first = Found(8, scores(0.9), [1.0, 5.0, 2.0], [1.0, 1.0, 1.0])
    second = Found(4, scores(0.4, 0.8), [4.0], [2.0])
    mean = mean_of({"a": first, "b": second})
    # (0.9 + 0.6) / 2; medians 2 and 4
    assert mean == pytest.approx({"windows": 6, "dsc": 0.75, "nsd": 1, "cpu_s": 3, "wall_s": 1.5})


def test_the_table_says_what_is_gained_by_second():
    plain = {"windows": 6.0, "dsc": 0.75, "nsd": 0.5, "cpu_s": 3.0}
    more = {"windows": 12.0, "dsc": 0.77, "nsd": 0.49, "cpu_s": 7.0}
    table = table_of("some", 2, {"none": plain, "finer": more})
    rows = [list(column.cells) for column in table.columns]
    assert [cells[0] for cells in rows] == ["none", "6", "75.00 +0.00", "50.00 +0.00", "3.00",
                                            "1.00", ""]  # fmt: skip
    assert [cells[1] for cells in rows] == ["finer", "12", "77.00 +2.00", "49.00 -1.00", "7.00",
                                            "2.33", "+0.50"]  # fmt: skip
