import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from imaging.volumes import read_header, stored_voxels
from train.cli import main
from train.data.release import case_list
from train.synthesis.phantom_release import (
    HIDDEN,
    PATTERNS,
    Phantoms,
    from_shapes,
    phantom_cases,
    write_release,
)

PHANTOMS = Phantoms(3, 6, 3, 2, (40, 48, 48), (8.0, 8.0, 8.0))
RECIPE = """
seed = 5
[phantoms]
complete = 1
partial = 1
unlabelled = 1
validation = 1
shape = [20, 24, 24]
spacing_mm = [16.0, 16.0, 16.0]
tumours_mm = []
"""
LAYOUT = {
    "imagesTr2200": ["FLARE23_0001_0000.nii.gz", "FLARE23_0002_0000.nii.gz"],
    "labelsTr2200": ["FLARE23_0001.nii.gz", "FLARE23_0002.nii.gz"],
    "unlabeledTr1800": ["FLARE23_2201_0000.nii.gz"],
    "imagesVal50": ["FLARE23Ts_0001_0000.nii.gz"],
    HIDDEN: [
        "FLARE23Ts_0001.nii.gz",
        "FLARE23_0001.nii.gz",
        "FLARE23_0002.nii.gz",
        "FLARE23_2201.nii.gz",
    ],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    assert write_release(PHANTOMS, 5, from_shapes(PHANTOMS), folder) == 14
    return folder


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def run(recipe, output, *more):
    return CliRunner().invoke(main, ["phantoms", str(recipe), "-o", str(output), *more])


def layout_of(folder):
    return {part.name: sorted(p.name for p in part.iterdir()) for part in folder.iterdir()}


def test_ids_are_in_the_papers_lists():
    cases = list(phantom_cases(PHANTOMS))
    ids = {kind: {p.case for p in cases if p.kind == kind} for kind in ("complete", "partial")}
    assert ids["complete"] == {"FLARE23_0001", "FLARE23_0006", "FLARE23_0009"}
    assert ids["complete"] == set(case_list("organ_complete")) & {p.case for p in cases}
    assert ids["complete"] | ids["partial"] == set(case_list("tumour")) & {p.case for p in cases}
    # The first of 1,800 comes after the 2,200 of which somebody drew something.
    assert next(p.case for p in cases if p.kind == "unlabelled") == "FLARE23_2201"


def test_who_has_tumours():
    tumours = [p.tumour for p in phantom_cases(PHANTOMS)]
    # 3 complete without; 2 of 6 partial are annotated for their tumours; then every other one
    assert tumours == [False] * 3 + [False, False, True] * 2 + [True, False, True] + [True, False]


def test_partial_labels_are_the_truth_of_the_annotated_classes(made):
    for case in phantom_cases(PHANTOMS):
        truth = read(made / HIDDEN / f"{case.case}.nii.gz")
        assert (truth == 14).any() == case.tumour
        path = made / "labelsTr2200" / f"{case.case}.nii.gz"
        assert path.exists() == (case.kind in ("complete", "partial"))
        if case.kind == "partial":
            assert case.annotated in PATTERNS
        if path.exists():
            np.testing.assert_array_equal(read(path), truth * np.isin(truth, case.annotated))


def test_patterns_draw_every_class_once():
    assert sorted(label for pattern in PATTERNS for label in pattern) == list(range(1, 15))


def test_a_case_does_not_depend_on_what_else_is_made(made, tmp_path):
    fewer = replace(PHANTOMS, complete=1, partial=2, unlabelled=1, validation=1)
    write_release(fewer, 5, from_shapes(fewer), tmp_path)
    files = [path for path in tmp_path.rglob("*.nii.gz")]
    assert len(files) == 5 + 5 + 3  # CTs, truths, labels
    for path in files:
        assert path.read_bytes() == (made / path.relative_to(tmp_path)).read_bytes()


def test_another_seed_gives_other_patients(made, tmp_path):
    one = replace(PHANTOMS, complete=1, partial=0, unlabelled=0, validation=0)
    write_release(one, 6, from_shapes(one), tmp_path)
    (path,) = (tmp_path / HIDDEN).iterdir()
    assert not np.array_equal(read(path), read(made / HIDDEN / path.name))


def test_command(recipe, tmp_path):
    done = run(recipe, tmp_path / "r")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"cases": 4})
    assert layout_of(tmp_path / "r") == LAYOUT


BAD = [
    ("complete = 1", "complete = 223", "phantoms: complete is 223; choose from 0 to 222"),
    ("partial = 1", "partial = 1978", "partial is 1978; choose from 0 to 1977"),
    ("unlabelled = 1", "unlabelled = -1", "unlabelled is -1; choose from 0 to 1800"),
    ("validation = 1", "validation = 101", "validation is 101; choose from 0 to 100"),
    ("shape = [20, 24, 24]", "shape = [20, 24]", "phantoms: shape: expected array of length 3"),
    ("[16.0, 16.0, 16.0]", "[16.0, 16.0, 0.0]", "spacing_mm[2]: expected float > 0"),
    ("complete", "compleet", "phantoms: missing key: complete, found 'compleet'"),
    ("seed = 5", "", "no [phantoms] or no seed"),
    ("[phantoms]", "[fantoms]", "no [phantoms] or no seed"),
    ("seed = 5", "seed =", "recipe.toml is not TOML"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD)
def test_a_bad_recipe(recipe, tmp_path, old, new, message):
    recipe.write_text(RECIPE.replace(old, new))
    done = run(recipe, tmp_path / "r")
    assert (done.exit_code, "Traceback" in done.output) == (1, False)
    assert message in done.output
    assert not (tmp_path / "r").exists()


def test_a_folder_that_holds_something_is_left_alone(recipe, tmp_path):
    done = run(recipe, tmp_path)
    assert done.exit_code == 1
    assert "is not empty; give a new folder" in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["recipe.toml"]


def test_a_full_disk(recipe, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    try:
        done = run(recipe, disk)
        assert done.exit_code == 1
        assert "No space left on device" in done.output
        for path in disk.rglob("*.nii.gz"):  # what is there is whole
            stored_voxels(path, read_header(path))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture(scope="module")
def anatomies(made, tmp_path_factory):
    """Three label maps that come from elsewhere: other patients' truths."""
    folder = tmp_path_factory.mktemp("anatomies")
    for path in sorted((made / HIDDEN).iterdir())[3:6]:
        shutil.copy(path, folder)
    return folder


@pytest.mark.slow
def test_real_shapes(recipe, anatomies, tmp_path):
    two = RECIPE.replace("partial = 1", "partial = 0").replace("unlabelled = 1", "unlabelled = 0")
    recipe.write_text(two.replace("16.0", "8.0"))
    done = run(recipe, tmp_path / "r", "--anatomies", str(anatomies))
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"cases": 2})
    shapes = [read(path) for path in sorted(anatomies.iterdir())]
    for case, usable in (("FLARE23_0001", shapes[:2]), ("FLARE23Ts_0001", shapes[2:])):
        truth = read(tmp_path / "r" / HIDDEN / f"{case}.nii.gz")
        # Organs are where they were annotated; tumours may have grown in some of them.
        tumour = truth == 14
        alike = [np.where(shape == 14, 1, shape) for shape in usable if shape.shape == truth.shape]
        (shape,) = (s for s in alike if np.array_equal(truth[~tumour], s[~tumour]))
        assert set(np.unique(shape[tumour])) <= {1, 2, 3, 4, 11, 12, 13}
        assert tumour.mean() < 0.05


def test_real_shapes_need_cubes_and_maps(recipe, anatomies, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    output = {}
    output["maps"] = run(recipe, tmp_path / "r", "--anatomies", str(few)).output
    recipe.write_text(RECIPE.replace("[16.0", "[20.0"))
    output["cubes"] = run(recipe, tmp_path / "r", "--anatomies", str(anatomies)).output
    assert "give a folder of label maps, two or more" in output["maps"]
    assert "with anatomies give cubes" in output["cubes"]
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_experts_shapes(recipe, data_dir, tmp_path):
    for name in ("word_0014", "word_0016"):
        (tmp_path / "word").mkdir(exist_ok=True)
        shutil.copy(data_dir / "labels" / "word" / f"{name}.nii.gz", tmp_path / "word")
    recipe.write_text(RECIPE.replace("16.0", "8.0").replace("= 1\n", "= 0\n", 3))
    done = run(recipe, tmp_path / "r", "--anatomies", str(tmp_path / "word"), "--ids", "word")
    assert done.exit_code == 0
    truth = read(tmp_path / "r" / HIDDEN / "FLARE23Ts_0001.nii.gz")
    # WORD has no aorta and no vena cava: they are the phantom's.
    assert set(np.unique(truth)) == set(range(15))


def test_a_map_of_other_ids(recipe, tmp_path):
    for name in ("a", "b"):
        image = sitk.GetImageFromArray(np.full((4, 4, 4), 77, np.uint8))
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    done = run(recipe, tmp_path / "r", "--anatomies", str(tmp_path))
    assert done.exit_code == 1
    assert "a.nii.gz: fewer than 4 organs; are its ids 'flare'?" in done.output
