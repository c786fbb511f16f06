"""The same CT written in another way has the same labels at the same place in the patient."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.files import passed_over
from imaging.label_maps import read_label_map
from inference.manifest import WindowSpec
from inference.pipeline import find_cases, predict_folder
from inference.settings import Settings
from tests.imaging.encodings import METRES, MICROMETRES, TURNS, Encoding
from train.synthesis.phantom import phantom

pytest.importorskip("onnx")
pytest.importorskip("openvino")
pytest.importorskip("nibabel")

SPACING_MM = (8.0, 9.0, 10.0)
"""(X, Y, Z): no two alike."""
AFFINE = np.array([[8.0, 0.0, 0.0, -130.5], [0.0, 9.0, 0.0, 70.25], [0.0, 0.0, 10.0, -900.0]])
COS, SIN = np.cos(0.2), np.sin(0.2)
TILT = np.array([[COS, -SIN, 0.0], [SIN, COS, 0.0], [0.0, 0.0, 1.0]])
LAS = TURNS.index(((0, 1, 2), (True, False, False)))
SOME = [TURNS[i] for i in (0, 5, 13, 22, 31, 46)]

FORMS = {
    "qform": {"sform": 0, "qform": 1},
    "sform 5": {"sform": 5},
    "qform 4": {"sform": 0, "qform": 4},
    "both": {"qform": 1},
    "wrong qform": {"sform": 2, "qform": 1, "wrong_qform": True},
    "sform that is not valid": {"sform": 6, "qform": 2, "wrong_sform": True},
    "sform without code": {"sform": 0, "qform": 3, "wrong_sform": True},
    "negative code": {"sform": -1, "qform": 1, "wrong_sform": True},
    "pixdim of ones": {"pixdim": (1.0, 1.0, 1.0)},
    "pixdim in micrometres": {"pixdim": (8000.0, 9000.0, 10000.0)},
    "pixdim of another order": {"pixdim": (10.0, 8.0, 9.0), "qform": 1},
    "millimetres called micrometres": {"unit": MICROMETRES},
    "millimetres called metres": {"unit": METRES},
    "no unit": {"unit": 0},
    "micrometres": {"unit": MICROMETRES, "scale": 1000.0},
    "metres": {"unit": METRES, "scale": 0.001, "qform": 1, "sform": 0},
    "broken sform": {"qform": 1, "patch": ((284, "f", (float("nan"),)),)},
    "singular sform": {"qform": 1, "patch": ((280, "12f", (0.0,) * 12),)},
    "broken qform": {"qform": 1, "patch": ((256, "f", (float("inf"),)),)},
}
NUMBERS = {
    "big-endian": {"dtype": ">i2"},
    "i4": {"dtype": "<i4"},
    "big-endian i8": {"dtype": ">i8"},
    "f4": {"dtype": "<f4"},
    "big-endian f8": {"dtype": ">f8"},
    "slope 1": {"slope": 1.0},
    "slope 0.5": {"slope": 0.5},
    "u1": {"dtype": "<u1", "slope": 8.0, "intercept": -1000.0},
    "i1": {"dtype": "<i1", "slope": 8.0, "intercept": 24.0},
    "u2": {"dtype": "<u2", "slope": 1.0, "intercept": -1024.0},
    "u4 turned over": {"dtype": "<u4", "slope": -1.0, "intercept": 2000.0},
    "u8": {"dtype": "<u8", "slope": 2.0, "intercept": -1000.0},
    "f4 of tenths": {"dtype": "<f4", "slope": 0.125, "intercept": -8.0},
    "intercept NaN": {"slope": 1.0, "patch": ((116, "f", (float("nan"),)),)},
}
CONTAINERS = ("gz best", "stored gz", "plain", "two members", "extension", "bytes after")


def encodings():
    for number, turn in enumerate(TURNS):
        yield Encoding(f"turn{number:02}", turn)
        yield Encoding(f"qform_of_turn{number:02}", turn, sform=0, qform=1)
    for number, turn in enumerate(SOME):
        for name, form in FORMS.items():
            yield Encoding(f"{name} {number}", turn, **form)
    for name, numbers in NUMBERS.items():
        yield Encoding(name, **numbers)
        yield Encoding(f"{name}, turned", SOME[3], **numbers)
    for container in CONTAINERS:
        yield Encoding(container, container=container)
        yield Encoding(f"{container}, turned", SOME[2], container=container)
    yield Encoding("no orientation", TURNS[LAS], sform=0)
    yield Encoding("codes that are not valid", TURNS[LAS], sform=9, qform=-7, wrong_sform=True)


ENCODINGS = {encoding.name: encoding for encoding in encodings()}


@pytest.fixture(scope="module")
def hu():
    """A phantom whose numbers any of the types above can hold."""
    made = phantom(0, (24, 32, 36), SPACING_MM[::-1])[0]
    return (np.rint((made.astype(np.float64) + 1000) / 8).clip(0, 255) * 8 - 1000).astype(np.int16)


@pytest.fixture
def manifest(network):
    """The tiny network on patches that cover the CT in few steps, in RAS, on a grid of its own."""
    return network(
        patch=(16, 16, 16),
        window=WindowSpec((16, 16, 16), 0.5, "gaussian", "none", (0, 1, 2)),
        orientation="RAS",
        spacing_mm=(7.0, 9.5, 11.0),
        crop="body",
    )


def labelled(folder, encoded, manifest):
    """Predict encoded CTs; return the run's report, and each label map as it is stored."""
    for case, content in encoded.items():
        (folder / "in").mkdir(parents=True, exist_ok=True)
        (folder / "in" / f"{case}_0000.nii.gz").write_bytes(content)
    assert passed_over(folder / "in", "_0000.nii.gz") == {}
    settings = Settings(threads=1, precision="f32")
    report = predict_folder(find_cases(folder / "in"), folder / "out", manifest, settings)
    assert [(case.case, case.error) for case in report.failed] == []
    return report, {case: read_label_map(folder / "out" / f"{case}.nii.gz") for case in encoded}


def test_any_encoding_gives_the_same_labels_in_the_patient(tmp_path, hu, manifest):
    assert len(ENCODINGS) >= 100
    encoded = {name: encoding.content(hu, AFFINE) for name, encoding in ENCODINGS.items()}
    report, maps = labelled(tmp_path, encoded, manifest)
    expected = maps["turn00"].labels
    assert np.bincount(expected.ravel(), minlength=3).min() > 100  # all classes are there
    for case in report.cases:
        encoding, found = ENCODINGS[case.case], maps[case.case]
        np.testing.assert_array_equal(found.labels, encoding.turned(expected), err_msg=case.case)
        assert case.volumes_ml == report.cases[0].volumes_ml
        bare = encoding.container == "plain"
        header = encoded[case.case] if bare else gzip.decompress(encoded[case.case])
        with gzip.open(tmp_path / "out" / f"{case.case}.nii.gz") as stream:
            written = stream.read(348)
        for first, last in ((39, 56), (76, 108), (123, 124), (252, 328)):
            assert written[first:last] == header[first:last], case.case


def test_the_same_voxels_give_the_same_file(tmp_path, hu, manifest):
    """Another container, and another type of one byte order and geometry, change not a byte."""
    same = [Encoding("as it is"), *(Encoding(name, container=name) for name in CONTAINERS)]
    same += [
        Encoding(name, **numbers) for name, numbers in NUMBERS.items()
        if numbers.get("dtype", "<")[0] == "<"
    ]  # fmt: skip
    labelled(tmp_path, {one.name: one.content(hu, AFFINE) for one in same}, manifest)
    assert len({(tmp_path / "out" / f"{one.name}.nii.gz").read_bytes() for one in same}) == 1


def test_what_a_reader_may_take_otherwise_is_a_warning(tmp_path, hu, manifest):
    silent = {"qform", "sform 5", "qform 4", "both", "no unit", "sform without code"}
    encoded = {name: Encoding(name, **form).content(hu, AFFINE) for name, form in FORMS.items()}
    report, _ = labelled(tmp_path, encoded, manifest)
    assert {case.case for case in report.cases if not case.warnings} == silent
    (warning,) = next(case.warnings for case in report.cases if case.case == "wrong qform")
    assert warning.startswith("the sform says RAS and the qform says LPS, up to ")
    (warning,) = next(case.warnings for case in report.cases if case.case == "pixdim of ones")
    assert warning == (
        "voxels are 8 × 9 × 10 mm by the sform and 1 × 1 × 1 mm by pixdim; the sform was taken"
    )


def test_a_tilted_ct_has_the_labels_of_a_straight_one(tmp_path, hu, manifest):
    tilted = AFFINE.copy()
    tilted[:, :3] = TILT @ AFFINE[:, :3]
    encoded = {"straight": Encoding("").content(hu, AFFINE)}
    for name, turn in zip("abc", SOME, strict=False):
        encoded[name] = Encoding(name, turn, qform=1).content(hu, tilted)
    report, maps = labelled(tmp_path, encoded, manifest)
    for name, turn in zip("abc", SOME, strict=False):
        turned = Encoding(name, turn).turned(maps["straight"].labels)
        np.testing.assert_array_equal(maps[name].labels, turned)
    assert all(case.warnings == () for case in report.cases)


@given(
    turn=st.sampled_from(TURNS),
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    angle=st.floats(0, 0.7),
)
def test_an_encoding_moves_no_voxel(turn, shape, angle):
    """The test's own turning: a voxel has one place in the patient, however it is stored."""
    turned = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.column_stack([turned @ AFFINE[:, :3], AFFINE[:, 3]])
    numbers = np.arange(np.prod(shape)).reshape(shape)
    encoding = Encoding("", turn)
    stored, lies = encoding.turned(numbers), encoding.affine(affine, shape)
    for place in np.ndindex(stored.shape):
        was = np.argwhere(numbers == stored[place])[0]
        there = lies @ [*place[::-1], 1]
        np.testing.assert_allclose(there, affine @ [*was[::-1], 1], atol=1e-9)
    assert replace(encoding, name="again") != encoding
