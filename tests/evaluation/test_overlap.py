import json

import numpy as np
import SimpleITK as sitk
from click.testing import CliRunner

from evaluation.cli import main
from evaluation.overlap import dice


def box(start, stop):
    mask = np.zeros((10, 4, 1), dtype=bool)
    mask[start:stop] = True
    return mask


def test_nothing_in_both_is_full_agreement():
    assert dice(box(0, 0), box(0, 0)) == 1.0


def test_nothing_in_one_is_none():
    assert dice(box(0, 2), box(0, 0)) == 0.0


def test_half_overlapping_boxes():
    # |A| = 8, |B| = 8, |A and B| = 4  ->  2 * 4 / 16 = 1/2
    assert dice(box(0, 2), box(1, 3)) == 0.5


def write(path, labels, spacing=(1.0, 1.0, 2.0)):
    image = sitk.GetImageFromArray(labels.astype(np.uint8))
    image.SetSpacing(spacing)
    path.parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(path))


def test_missing_and_displaced_predictions_are_named_and_the_rest_is_scored(tmp_path):
    truth, pred = tmp_path / "truth", tmp_path / "pred"
    for case in "abc":
        write(truth / f"{case}.nii.gz", box(0, 2) * 3)
    write(pred / "a.nii.gz", box(1, 3) * 3)
    write(pred / "b.nii.gz", box(0, 2) * 3, spacing=(1.0, 1.0, 3.0))

    arguments = ["overlap", "--truth", str(truth), "--pred", str(pred), "-o", str(tmp_path / "o")]
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 1
    assert "b.nii.gz: spacing is (1.0, 1.0, 3.0), the truth's (1.0, 1.0, 2.0)" in result.output
    assert "c.nii.gz is missing" in result.output
    first = json.loads((tmp_path / "o" / "dsc.json").read_text())[0]
    assert first == {"case": "a", "dsc": {"spleen": 0.5}, "error": None}
    assert (tmp_path / "o" / "dsc.csv").read_text().splitlines()[1].split(",")[3] == "0.5"
