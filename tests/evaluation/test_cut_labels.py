"""Label maps whose numbers are no labels: saved with a slope, nearly whole, beyond a byte."""

import gzip
import struct

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evaluation.cli import main
from evaluation.scoring.folders import read_map
from evaluation.scoring.scores import load_scores
from imaging.errors import VolumeError
from imaging.label_maps import read_label_map
from tests.evaluation import plain_flare23
from tests.evaluation.maps import box

SHAPE = (9, 10, 11)
LABELS = box(SHAPE, (1, 8), (1, 8), (1, 5)) + box(SHAPE, (1, 8), (1, 8), (5, 9), 13)
DTYPES = ["uint8", "int8", "int16", "uint16", "int32", "float32", "float64"]


def store(voxels, path, slope=1.0, intercept=0.0):
    """Write [Z, Y, X] as they are, with any slope and intercept."""
    path.parent.mkdir(exist_ok=True)
    image = nibabel.Nifti1Image(voxels.T, np.eye(4), dtype=voxels.dtype)
    raw = bytearray(image.to_bytes())
    struct.pack_into("<2f", raw, 112, slope, intercept)
    path.write_bytes(gzip.compress(raw, 1))


def as_nibabel_saves(dtype):
    """Floats with an integer type in the header: nibabel stretches them over the type's range."""

    def save(path):
        path.parent.mkdir(exist_ok=True)
        header = nibabel.Nifti1Header()
        header.set_data_dtype(dtype)
        nibabel.save(nibabel.Nifti1Image(LABELS.T.astype(float), np.eye(4), header), path)

    return save


def swapped(number):
    return np.where(LABELS == 13, number, LABELS.astype(np.float64))


def stored(voxels, *scaling):
    return lambda path: store(voxels, path, *scaling)


CUT = {  # what writes the map, and the messages about its numbers
    "int16 as nibabel saves it": (
        as_nibabel_saves("int16"),
        "slope of 0.000198",
        "intercept of 6.5",
    ),
    "uint8 as nibabel saves it": (as_nibabel_saves("uint8"), "off by 0.0", "slope of 0.0509"),
    "nearly whole": (stored(LABELS * np.float32(0.99999)), "12.99987 is off by 0.00013"),
    "halves": (stored(LABELS, 0.5), "0.5 is off by 0.5", "slope of 0.5 and an intercept of 0"),
    "an intercept": (stored(LABELS, 1.0, 0.25), "off by 0.25", "intercept of 0.25"),
    "257": (stored(swapped(257).astype(np.int16)), "there is 257"),
    "256": (stored(swapped(256).astype(np.uint16)), "there is 256"),
    "-3": (stored(swapped(-3).astype(np.int16)), "there is -3"),
    "256 by a slope": (
        stored((LABELS == 13).astype(np.uint8), 256.0),
        "there is 256",
        "slope of 256",
    ),
    "huge": (stored(swapped(1e30).astype(np.float32)), "there is 1e+30"),
}
RIGHT = {  # these numbers are labels, however they are stored
    "int16": stored(LABELS.astype(np.int16)),
    "float64": stored(LABELS.astype(np.float64)),
    "a slope of 2": stored(np.where(LABELS, LABELS * 2, 0).astype(np.int16), 0.5),
    "an intercept of -1": stored((LABELS + 1).astype(np.uint8), 1.0, -1.0),
    "a slope of 0": stored(LABELS, 0.0, 3.0),
}


def run(folder, write, rules, whose):
    for name in ("truth", "pred"):
        (write if name == whose else stored(LABELS))(folder / name / "case.nii.gz")
    words = ["--truth", folder / "truth", "--pred", folder / "pred", "-o", folder / "out"]
    done = CliRunner().invoke(
        main, ["score", *map(str, words), "--rules", rules, "--no-report", "--annotated", "all"]
    )
    assert not done.exception or isinstance(done.exception, SystemExit), done.exception
    (case,) = load_scores(folder / "out" / "scores.json").cases
    return done.exit_code, case


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # the script's own
@pytest.mark.parametrize("whose", ["truth", "pred"])
@pytest.mark.parametrize("name", CUT)
def test_the_official_number_comes_with_a_warning(tmp_path, name, whose):
    write, *messages = CUT[name]
    code, case = run(tmp_path, write, "official", whose)
    assert code == 1
    plain = plain_flare23.score_folders(tmp_path / "truth", tmp_path / "pred", 0.2)
    theirs = plain["cases"]["case.nii.gz"]
    assert [(score.dsc, score.nsd) for score in case.labels.values()] == theirs
    start = {"truth": "the truth", "pred": "the prediction"}[whose]
    assert case.warning.startswith(
        f"{start} has numbers that are no labels, and the official script"
    )
    for part in messages:
        assert part in case.warning


@pytest.mark.parametrize("whose", ["truth", "pred"])
@pytest.mark.parametrize("name", CUT)
def test_the_fixed_rules_say_why_they_refuse(tmp_path, name, whose):
    write, *messages = CUT[name]
    code, case = run(tmp_path, write, "fixed", whose)
    assert (code, case.labels) == (1, {})
    assert case.error.startswith("case.nii.gz: labels must be whole numbers from 0 to 255; ")
    for part in messages:
        assert part in case.error


@pytest.mark.parametrize("rules", ["official", "fixed"])
@pytest.mark.parametrize("name", RIGHT)
def test_labels_that_are_whole_need_no_look(tmp_path, name, rules):
    code, case = run(tmp_path, RIGHT[name], rules, "pred")
    assert (code, case.warning, case.error) == (0, None, None)
    assert (case.labels["liver"].dsc, case.labels["left kidney"].dsc) == (1, 1)


@settings(max_examples=150, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 127), min_size=2, max_size=6),
    dtype=st.sampled_from(DTYPES),
    slope=st.one_of(st.sampled_from([0.0, 1.0, 0.1, 10.0]), st.floats(2**-10, 2, width=32)),
    intercept=st.one_of(st.just(0.0), st.floats(-4, 4, width=32)),
    off=st.sampled_from([0.0, 0.0, 1e-5, -1e-5, 0.3]),
)
# in 32 bits 0.7 times 10 is 7; the script has 64, in which it is 6.99999988, and cuts it to 6
@example(numbers=[7, 7], dtype="float32", slope=10.0, intercept=0.0, off=-6.3)
def test_numbers_are_read_as_nibabel_reads_them(
    tmp_path_factory, numbers, dtype, slope, intercept, off
):
    path = tmp_path_factory.mktemp("numbers") / "map.nii.gz"
    voxels = np.array(numbers, np.float64) + (off if dtype.startswith("float") else 0)
    store(voxels.astype(dtype).reshape(1, 1, -1), path, slope, intercept)
    wanted = nibabel.load(path).get_fdata().T
    found = read_map(path, "official")
    np.testing.assert_array_equal(
        found.labels.view(np.int8), wanted.astype(np.int32).astype(np.int8)
    )
    whole = bool(np.all((wanted == np.rint(wanted)) & (wanted >= 0) & (wanted <= 255)))
    assert (found.cut is None) == whole
    if whole:
        np.testing.assert_array_equal(read_label_map(path).labels, wanted)
    else:
        with pytest.raises(VolumeError, match="labels must be whole numbers from 0 to 255; "):
            read_label_map(path)
