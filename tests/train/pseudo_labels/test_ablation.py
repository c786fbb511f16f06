import json

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.sources import coarse, confused, mirrored, shifted, write_sources
from imaging.errors import KitError
from imaging.label_maps import read_label_map
from imaging.volumes import write_volume
from train.cli import main
from train.data.anatomy import IGNORE
from train.pseudo_labels.ablation import compare_rules, without_each

LIVER, TUMOUR = 1, 14
SPACING_MM = (2.0, 2.0, 2.0)


def patient(tumour_at):
    """Return a liver of 12 x 8 x 8 voxels, with a tumour of 64 voxels in it."""
    truth = np.zeros((16, 12, 12), np.uint8)
    truth[2:14, 2:10, 2:10] = LIVER
    truth[tumour_at : tumour_at + 4, 4:8, 4:8] = TUMOUR
    return truth


def blind(truth):
    return np.where(truth == TUMOUR, np.uint8(LIVER), truth)


@pytest.fixture
def folder(tmp_path):
    """Write four cases, a source that is right and two that see no tumour."""
    for number, at in enumerate((3, 5, 7, 9)):
        truth = patient(at)
        for name, labels in (
            ("truth", truth), ("seeing", truth), ("blind", blind(truth)), ("dark", blind(truth)),
        ):  # fmt: skip
            (tmp_path / name).mkdir(exist_ok=True)
            write_volume(labels, SPACING_MM, tmp_path / name / f"case{number}.nii.gz")
    return tmp_path


def run(folder, *sources):
    return compare_rules(
        folder / "truth", {name: folder / name for name in sources}, folder / "out"
    )


def test_what_every_rule_makes_of_one_source_that_sees(folder):
    found = run(folder, "seeing", "blind", "dark")
    agree = found["first two agree, else background"]
    # The tumour becomes background; the liver is the truth's.
    assert (agree.dsc["liver"], agree.dsc["tumour"], agree.recall["tumour"]) == (1.0, 0.0, 0.0)
    assert agree.precision["tumour"] is None
    # 64 of 12 * 8 * 8 = 768 voxels are taught as what they are not
    assert agree.wrong == pytest.approx(64 / 768)
    # Two of three vote for liver: 704 of its 768 voxels are one.
    assert found["vote"].dsc["liver"] == pytest.approx(2 * 704 / (704 + 768))
    assert found["weighted, all sources"].dsc["tumour"] == 1.0
    # 64 voxels of 8 mm^3 are 0.512 ml, a ball of 9.9 mm
    assert found["weighted, all sources"].tumours_found["under 10 mm"] == (4, 4)
    assert found["weighted, without seeing"].dsc["tumour"] == 0.0
    assert found["seeing alone"].wrong == 0.0


def test_no_figure_is_cut_off_on_a_narrow_screen(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    words = ["ablate", folder / "truth", "-o", folder / "out"]
    words += ["--source", f"seeing={folder / 'seeing'}", "--source", f"blind={folder / 'blind'}"]
    shown = CliRunner().invoke(main, [str(word) for word in words]).stdout
    rows = [line for line in shown.splitlines() if "seeing alone" in line]  # one a page
    cells = [cell.strip() for row in rows for cell in row.strip("│ ").split("│")[1:]]
    assert cells[:4] == ["1.0000", "1.000", "1.000", "1.000"]
    assert len(rows) > 1
    assert max(map(len, shown.splitlines())) <= 60
    assert "…" not in shown


def test_what_is_on_disk(folder):
    run(folder, "seeing", "blind")
    table = json.loads((folder / "out" / "ablation.json").read_text())
    assert (table["cases"], table["sources"]) == (4, ["seeing", "blind"])
    assert table["rules"]["seeing alone"]["dsc"]["tumour"] == 1.0
    assert (folder / "out" / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_ignored_voxels_count_as_ignored_and_not_as_wrong(folder):
    for path in (folder / "seeing").iterdir():
        labels = read_label_map(path).labels
        write_volume(np.where(labels == TUMOUR, np.uint8(IGNORE), labels), SPACING_MM, path)
    alone = run(folder, "seeing", "blind")["seeing alone"]
    assert (alone.ignored, alone.wrong) == (pytest.approx(64 / 768), 0.0)
    assert alone.dsc["tumour"] == 0.0


def test_leaving_out_each():
    assert without_each(["a", "b", "c"]) == {
        "all sources": ("a", "b", "c"),
        "without a": ("b", "c"),
        "without b": ("a", "c"),
        "without c": ("a", "b"),
    }


def test_a_map_on_another_grid_is_named(folder):
    write_volume(patient(3)[1:], SPACING_MM, folder / "blind" / "case2.nii.gz")
    with pytest.raises(KitError, match=r"blind: case2\.nii\.gz: the map has 12×12×15 voxels"):
        run(folder, "seeing", "blind")


@pytest.mark.parametrize(
    ("options", "code", "complaint"),
    [
        (["--source", "seeing"], 2, "seeing: give NAME=FOLDER, each name once"),
        (["--source", "a=x", "--source", "a=y"], 2, "each name once"),
        (["--source", "a=x"], 1, "4 cases, 1 source; give two or more of each"),
        (["--source", "a=x", "--source", "b=y"], 1, "is missing"),
    ],
)
def test_wrong_usage_and_bad_input(folder, options, code, complaint):
    words = ["ablate", folder / "truth", "-o", folder / "out", *options]
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == code
    assert complaint in done.output
    assert not (folder / "out" / "ablation.json").exists()


class TestSourcesWithKnownErrors:
    """What the benchmark's three sources do to a patient."""

    rng = staticmethod(lambda: np.random.default_rng(3))

    def test_shifted_is_the_truth_one_voxel_off(self):
        truth = patient(5)
        labels = shifted(truth, self.rng())
        moves = [np.roll(truth, step, axis) for axis in range(3) for step in (-1, 1)]
        assert sum(np.array_equal(labels, move) for move in moves) == 1

    def test_shifted_misses_small_tumours(self):
        truth = patient(5)
        truth[truth == TUMOUR] = LIVER
        truth[6:9, 6:9, 6:9] = TUMOUR  # 27 voxels of 30
        assert TUMOUR not in shifted(truth, self.rng())

    def test_confused_grows_every_tumour(self):
        truth = patient(5)
        labels = confused(truth, self.rng())
        assert (labels[truth == TUMOUR] == TUMOUR).all()
        assert (labels == TUMOUR).sum() >= 64 + 6 * 16  # a layer on each face

    def test_coarse_never_sees_a_tumour(self):
        labels = coarse(patient(5), self.rng())
        assert set(np.unique(labels)) == {0, LIVER}
        np.testing.assert_array_equal(labels[::2], labels[1::2])

    def test_mirrored_takes_left_for_right(self):
        truth = patient(5)
        truth[0, 0, 0] = 3
        labels = mirrored(truth, self.rng())
        assert labels[0, 0, -1] == 3
        assert (labels == 3).sum() == 1

    def test_the_same_seed_makes_the_same_sources(self, folder):
        for place in ("one", "two"):
            assert write_sources(folder / "truth", 7, folder / place) == 4
        for path in (folder / "one").rglob("*.nii.gz"):
            other = folder / "two" / path.relative_to(folder / "one")
            assert path.read_bytes() == other.read_bytes()

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(KitError, match="give a folder of true label maps"):
            write_sources(tmp_path, 7, tmp_path / "out")
