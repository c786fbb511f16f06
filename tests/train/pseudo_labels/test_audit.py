import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from imaging.label_maps import read_label_map
from imaging.organs import ORGANS
from imaging.volumes import write_labels, write_volume
from train.cli import main
from train.data.anatomy import IGNORE
from train.pseudo_labels.audit.figure import draw_volumes
from train.pseudo_labels.audit.measure import CaseMeasures, Files, agreement_of, measure, oddities
from train.pseudo_labels.audit.ranking import FLAG, Normal, normals_of, rank_cases
from train.synthesis.phantom_release import HIDDEN, Phantoms, from_shapes, write_release

PHANTOM = Path(__file__).parents[3] / "train" / "recipes" / "phantom.toml"
LIVER, SPLEEN, TUMOUR = ORGANS["liver"], ORGANS["spleen"], ORGANS["tumour"]
SPACING_MM = (10.0, 10.0, 10.0)  # a voxel is a millilitre


def volume(*labels):
    return np.array([[labels]], np.uint8)


class TestMeasure:
    """What is measured of one case."""

    def files(self, folder, **maps):
        for name, labels in maps.items():
            write_volume(labels, SPACING_MM, folder / f"{name}.nii.gz")
        compared = tuple(folder / f"{name}.nii.gz" for name in ("one", "two") if name in maps)
        real = folder / "real.nii.gz" if "real" in maps else None
        return Files("case", folder / "fused.nii.gz", compared, real, (LIVER, SPLEEN))

    def test_volumes_and_what_is_ignored(self, tmp_path):
        fused = volume(0, LIVER, LIVER, LIVER, SPLEEN, IGNORE)
        found = measure(self.files(tmp_path, fused=fused, real=volume(0, LIVER, LIVER, 0, 0, 5)))
        assert found.ml == pytest.approx({"liver": 3.0, "spleen": 1.0})
        # looked for and not there: 0; there and not looked for: nothing
        assert found.real_ml == pytest.approx({"liver": 2.0, "spleen": 0.0})
        assert found.ignored == pytest.approx(1 / 5)
        assert (found.agreement, found.error) == ({}, None)

    def test_what_cannot_be_read_is_reported(self, tmp_path):
        found = measure(self.files(tmp_path, one=volume(1)))
        assert found.error is not None
        assert "fused.nii.gz is missing" in found.error

    def test_labels_that_are_not_flares_are_reported(self, tmp_path):
        found = measure(self.files(tmp_path, fused=volume(1), one=volume(1), two=volume(17)))
        assert found.error is not None
        assert "two.nii.gz: label 17; FLARE's end at 14" in found.error

    def test_sources_of_two_shapes_are_reported(self, tmp_path):
        found = measure(self.files(tmp_path, fused=volume(1), one=volume(1), two=volume(1, 1)))
        assert found.error is not None
        assert "give maps of one CT" in found.error


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        ([], {}),
        ([volume(1, 1)], {}),
        # liver: 2 * 1 / (2 + 1); spleen: 0 of one
        ([volume(1, 1), volume(1, 3)], {"liver": 2 / 3, "spleen": 0.0}),
        # three pairs for the liver: 2/3, 0, 0; two for the spleen, which the first has not: 0, 2/3
        ([volume(1, 1), volume(1, 3), volume(3, 3)], {"liver": (2 / 3) / 3, "spleen": (2 / 3) / 3}),
        # what one ignores is no part
        ([volume(1, IGNORE), volume(1, 3)], {"liver": 1.0}),
    ],
)
def test_agreement_over_all_pairs(maps, expected):
    assert agreement_of(maps) == pytest.approx(expected)


def test_pieces_that_no_patient_has():
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[0:4, 0:4, 0:4] = LIVER  # 64 voxels
    labels[6:8, 0:2, 0:2] = LIVER  # 8, an eighth
    labels[0, 0, 8] = SPLEEN
    labels[9, 9, 9] = TUMOUR
    assert oddities(labels, 0.5) == [
        "a second liver of 4.0 ml",
        "a tumour of 0.5 ml touches no organ",
    ]


def test_a_second_organ_of_the_very_same_size():
    labels = np.zeros((4, 4, 12), np.uint8)
    labels[..., 0:2] = labels[..., 5:7] = labels[..., 10:12] = LIVER  # 32 voxels each
    assert oddities(labels, 0.5) == ["a second liver of 16.0 ml"] * 2


def test_the_modified_z_score():
    # logarithms of 1, e, e^2, e^3, e^4: median 2, deviations 2 1 0 1 2, their median 1
    normal = Normal(tuple(float(np.exp(n)) for n in range(5)), 1.0)
    assert normal.z_of(float(np.exp(8))) == pytest.approx(0.6745 * 6)
    assert normal.z_of(float(np.exp(0))) == pytest.approx(0.6745 * -2)


@pytest.mark.parametrize("ml", [(100.0, 120.0, 130.0, 140.0), (100.0,) * 6])
def test_no_score_where_there_is_too_little_to_compare(ml):
    assert Normal(ml, 1.0).z_of(9000.0) is None


def labelled(count):
    """Return cases with an annotated liver, 100 ml and more; half of them have a spleen."""
    return [
        CaseMeasures(f"labelled{n}", real_ml={"liver": 100.0 + 10 * n, "spleen": 50.0 * (n % 2)})
        for n in range(count)
    ]


def test_what_is_normal():
    normals = normals_of(labelled(6))
    assert normals["liver"].ml == (100.0, 110.0, 120.0, 130.0, 140.0, 150.0)
    assert (normals["liver"].share, normals["liver"].median_ml) == (1.0, 125.0)
    assert (normals["spleen"].ml, normals["spleen"].share) == ((50.0,) * 3, 0.5)
    assert normals["pancreas"] == Normal((), 0.0)


def test_the_cases_most_worth_a_look_come_first():
    normals = normals_of(labelled(6))
    agreement = {"liver": 0.9, "spleen": 0.5}
    cases = [
        CaseMeasures("fine", {"liver": 120.0}, agreement={"liver": 1.0}),
        CaseMeasures("huge", {"liver": 900.0}, agreement={"liver": 1.0}),
        CaseMeasures("lost", {"spleen": 50.0}, agreement={"liver": 1.0}),
        CaseMeasures("odd", {"liver": 120.0}, agreement=agreement, odd=("a second liver of 9 ml",)),
        CaseMeasures("broken", error="no file"),
    ]
    ranked = rank_cases(cases, normals)
    # odd: mean of .1 and .5, and one flag; huge and lost: one flag, by name
    assert [row.measured.case for row in ranked] == ["broken", "odd", "huge", "lost", "fine"]
    assert [row.worth for row in ranked[1:]] == pytest.approx([0.3 + FLAG, FLAG, FLAG, 0.0])
    assert ranked[0].reasons == ("no file",)
    assert ranked[1].reasons == ("a second liver of 9 ml", "little agreement: spleen 0.50")
    assert ranked[2].reasons == ("liver: 900.0 ml, 7.2 times the median",)
    assert ranked[2].outliers == ("liver",)
    assert ranked[3].reasons == ("no liver",)  # that half have no spleen makes its absence no news


def test_the_figure_of_many_cases_is_no_larger_than_that_of_few():
    normals = normals_of(labelled(6))
    cases = [CaseMeasures(f"c{n}", dict.fromkeys(ORGANS, 100.0 + n)) for n in range(1201)]
    few, some, many = (
        draw_volumes(rank_cases(cases[:count], normals), normals) for count in (20, 301, 1201)
    )
    assert ("<image" in few, "<image" in many) == (False, True)
    assert len(many) < 1.2 * len(some)
    assert many == draw_volumes(rank_cases(cases, normals), normals)


RECIPE = """
name = "audited"
seed = 1
spacing_mm = [8.0, 8.0, 8.0]
shards = 1
precision = "f32"
external = ["one", "two"]
held_out = 0
confidence = ""
component_rules = false

[stop]
least_gain = -1.0
least_change = 0.0
"""
ROUNDS = """
[[rounds]]
name = "student"
cases = "all"
sources = ["one", "two"]
combine = "agree_or_ignore"
least_precision = 0.0
merge = "annotated_only"
least_agreement = 0.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make a run of stages data and fuse: one source is right, the other lies a voxel off."""
    folder = tmp_path_factory.mktemp("audit")
    phantoms = Phantoms(3, 6, 3, 0, (32, 36, 40), (8.0, 8.0, 8.0))
    write_release(phantoms, 1, from_shapes(phantoms), folder / "release")
    (folder / "one").symlink_to(folder / "release" / HIDDEN)
    (folder / "two").mkdir()
    for path in (folder / "one").iterdir():
        found = read_label_map(path)
        write_labels(np.roll(found.labels, 1, 2), found.header, folder / "two" / path.name)
    text = PHANTOM.read_text()
    training = text[text.index("[training]") : text.index("[[rounds]]")]
    (folder / "recipe.toml").write_text(RECIPE + training + ROUNDS)
    assert call(folder, "stage", "data").exit_code == 0
    return folder


def call(folder, *words, options=()):
    place = [*words, folder / "recipe.toml", "--run", folder / "run"]
    place += ["--release", folder / "release", *options]
    place += [f"--source=one={folder / 'one'}", f"--source=two={folder / 'two'}"]
    return CliRunner().invoke(main, [str(word) for word in place])


def audited(folder, name="student", out="out"):
    return call(folder, "audit", options=["--round", name, "-o", folder / out])


def test_before_there_are_labels(folder):
    done = audited(folder)
    assert done.exit_code == 1
    assert "run its stage fuse first" in done.output


def test_a_round_that_is_not_there(folder):
    assert "no round 'pupil'" in audited(folder, "pupil").output


class Images(HTMLParser):
    """What a page shows."""

    def __init__(self):
        super().__init__()
        self.pictures = []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.pictures.append(dict(attrs))


def test_the_page_of_a_round(folder):
    assert call(folder, "stage", "fuse", options=["--round", "student"]).exit_code == 0
    done = audited(folder)
    assert done.exit_code == 0, done.output
    table = json.loads((folder / "out" / "audit.json").read_text())
    assert len(table["cases"]) == 12
    agreement = [row["measured"]["agreement"]["liver"] for row in table["cases"]]
    assert all(0.5 < value < 1 for value in agreement)
    # Annotated in five; two more, with a rare set of labels, are taken for complete ones.
    assert table["labelled"]["liver"]["share"] == 5 / 7
    page = (folder / "out" / "audit.html").read_text()
    found = Images()
    found.feed(page)
    assert len(found.pictures) == 6 * 3
    assert all(one["alt"] and one["src"].startswith("data:image/png") for one in found.pictures)
    assert "White: one; orange, dashed: two." in page
    assert not re.search(r"(src|href)=\"(?!data:|#|view/)", page)  # nothing from elsewhere
    links = re.findall(r'href="(view/[^"]+)"', page)
    assert len(links) == 6
    view = (folder / "out" / links[0]).read_text()
    assert '"maps":["two","one"]' in view  # painted: the second; outlined: the first
    assert '"name":"ignored"' not in view  # these two ignore nothing
    worst = table["cases"][0]["measured"]["case"]
    assert page.index(worst) < page.index(table["cases"][1]["measured"]["case"])


def test_the_same_round_makes_the_same_page(folder):
    call(folder, "stage", "fuse", options=["--round", "student"])
    audited(folder, out="first")
    audited(folder, out="second")
    first, second = ((folder / out / "audit.html").read_bytes() for out in ("first", "second"))
    assert first == second


def test_a_map_that_cannot_be_read_is_reported_and_the_others_go_on(folder):
    call(folder, "stage", "fuse", options=["--round", "student"])
    broken = sorted((folder / "run" / "student" / "fuse").glob("*.nii.gz"))[0]
    broken.write_bytes(b"no map")
    done = audited(folder, out="broken")
    assert done.exit_code == 1
    assert "1 case could not be read" in done.output
    rows = json.loads((folder / "broken" / "audit.json").read_text())["cases"]
    assert (rows[0]["worth"], rows[0]["measured"]["case"]) == (None, broken.name.split(".")[0])
    assert len(rows) == 12
