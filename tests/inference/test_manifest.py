"""The manifest says exactly what the schema asks, or is refused with the key's name."""

import copy
import hashlib
import json
import math

import pytest

from imaging.errors import ManifestError
from inference.manifest import load_manifest, verify_files

REMOVED = object()
FILE = {"path": "weights/a.xml", "sha256": "0" * 64, "bytes": 1}
LOCALISER = {
    "spacing_mm": [8.0, 8.0, 8.0],
    "intensity": {"clip_hu": [-200.0, 300.0], "mean_hu": 50.0, "std_hu": 80.0},
    "patch": [40, 40, 56],
    "step": 0.75,
    "margin_mm": 16.0,
    "least_certainty": 0.5,
}


@pytest.fixture
def table(manifest_path):
    return json.loads(manifest_path.read_text())


def changed(table, key, value):
    """Return the table with the entry at a dotted key replaced, or removed."""
    *parents, last = key.split(".")
    place = table = copy.deepcopy(table)
    for parent in parents:
        place = place[parent]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value
    return table


@pytest.fixture
def load_changed(manifest_path, table):
    """Load the manifest with the entry at a dotted key replaced, or removed."""

    def load(key, value):
        manifest_path.write_text(json.dumps(changed(table, key, value)))
        return load_manifest(manifest_path)

    return load


def test_what_is_written_is_read_back(network, tmp_path):
    manifest = network(
        orientation="RAS",
        crop="nonzero",
        provenance={"rounds": [1, 2], "licence": None, "where": {"commit": "é"}},
    )
    manifest.write(manifest.folder / "again.json")
    again = load_manifest(manifest.folder / "again.json")
    assert again == manifest  # also the digest: the same bytes
    assert again.provenance == {"rounds": [1, 2], "licence": None, "where": {"commit": "é"}}


def test_digest_is_that_of_the_file(manifest_path):
    expected = hashlib.sha256(manifest_path.read_bytes()).hexdigest()
    assert load_manifest(manifest_path).sha256 == expected


WRONG = [
    ("schema", 2, "schema: expected 1, found 2"),
    ("schema", True, "schema: expected 1, found True"),
    ("schema", 1.0, "schema: expected 1, found 1.0"),
    ("schema", REMOVED, "schema: expected 1, found None"),
    ("spacing", [1, 1, 1], "json: unknown keys: spacing"),
    ("folder", "/", "json: unknown keys: folder"),
    ("sha256", "", "json: unknown keys: sha256"),
    ("name", REMOVED, "json: missing key: name"),
    ("name", 3, "name: expected str, found 3"),
    ("files", [], "files: expected object, found []"),
    ("files", {}, "files: an 'onnx' file is needed"),
    ("files.onnx", "tiny.onnx", "files.onnx: expected object, found 'tiny.onnx'"),
    ("files.int8", None, "files.int8: expected object, found None"),
    ("files.int8", FILE, "files: int8 and int8_weights are a pair, found 'int8' alone"),
    ("files.onnx.size", 3, "files.onnx: unknown keys: size"),
    ("files.onnx.bytes", REMOVED, "files.onnx: missing key: bytes"),
    ("files.onnx.bytes", 3.0, "files.onnx.bytes: expected int, found 3.0"),
    ("files.onnx.bytes", True, "files.onnx.bytes: expected int"),
    ("files.onnx.sha256", None, "files.onnx.sha256: expected str"),
    ("files.onnx.path", ["tiny.onnx"], "files.onnx.path: expected str"),
    ("files.onnx.path", "../tiny.onnx", "files.onnx.path: '../tiny.onnx' leaves the"),
    ("files.onnx.path", "a/../../tiny.onnx", "files.onnx.path: 'a/../../tiny.onnx' leaves"),
    ("files.onnx.path", "/tiny.onnx", "files.onnx.path: '/tiny.onnx' leaves the manifest's folder"),
    ("orientation", 3, "orientation: expected str"),
    ("orientation", "RAX", "orientation: 'RAX' is no orientation"),
    ("orientation", "ras", "orientation: 'ras' is no orientation"),
    ("spacing_mm", [1.0, 1.0], "spacing_mm: expected array of length 3, found [1.0"),
    ("spacing_mm", "1 1 1", "spacing_mm: expected array, found '1 1 1'"),
    ("spacing_mm", [1.0, 1.0, "1"], "spacing_mm[2]: expected float, found '1'"),
    ("spacing_mm", [1.0, 1.0, True], "spacing_mm[2]: expected float, found True"),
    ("spacing_mm", [1.0, 1.0, math.nan], "spacing_mm[2]: expected float > 0.0, found nan"),
    ("spacing_mm", [1.0, 1.0, math.inf], "spacing_mm[2]: expected float <= 1.79"),
    ("spacing_mm", [1.0, 1.0, 10**400], "spacing_mm[2]: number out of range"),
    ("spacing_mm", [1.0, 1.0, 0], "spacing_mm[2]: expected float > 0.0, found 0"),
    ("crop", None, "crop: expected str"),
    ("crop", "torso", "crop: must be one of none, nonzero, body, organs, found 'torso'"),
    ("intensity", [], "intensity: expected object"),
    ("intensity.mean", 3, "intensity: unknown keys: mean"),
    ("intensity.clip_hu", [0.0], "intensity.clip_hu: expected array of length 2"),
    ("intensity.clip_hu", [400.0, -1000.0], "clip_hu: the lower bound comes first, found 400, "),
    ("intensity.mean_hu", math.nan, "intensity.mean_hu: expected float >= -1.79"),
    ("intensity.std_hu", 0.0, "intensity.std_hu: expected float > 0.0, found 0.0"),
    ("window.tile", 3, "window: unknown keys: tile"),
    ("window.step", REMOVED, "window: missing key: step"),
    ("window.patch", [], "window.patch: expected array of length 3"),
    ("window.patch", [4, 5], "window.patch: expected array of length 3"),
    ("window.patch", [4, 5, 6.0], "window.patch[2]: expected int, found 6.0"),
    ("window.patch", [4, 5, True], "window.patch[2]: expected int, found True"),
    ("window.patch", [4, 5, 0], "window.patch[2]: expected int >= 1, found 0"),
    ("window.step", 0, "window.step: expected float > 0.0, found 0"),
    ("window.step", 1.5, "window.step: must be in (0, 1], found 1.5"),
    ("window.step", "0.5", "window.step: expected float, found '0.5'"),
    (
        "window.blending",
        "sharp",
        "window.blending: expected one of 'constant', 'gaussian', found 'sharp'",
    ),
    ("window.tta", "some", "window.tta: expected one of 'finer', 'flip-x', 'full', "),
    ("window.tta", None, "tta: expected str"),
    ("window.mirror_axes", [3], "window.mirror_axes: must be of 0, 1, 2, each once"),
    ("window.mirror_axes", [0, 0], "must be of 0, 1, 2, each once, found [0, 0]"),
    ("window.mirror_axes", ["x"], "window.mirror_axes[0]: expected int, found 'x'"),
    ("labels", ["liver"], "labels: expected object"),
    ("labels", {}, "1, 2, 3, … in order, found []"),
    ("labels", {"liver": 1, "tumour": 3}, "1, 2, 3, … in order, found [1, 3]"),
    ("labels", {"background": 0, "liver": 1}, "1, 2, 3, … in order, found [0, 1]"),
    ("labels", {"liver": True}, "labels.liver: expected int, found True"),
    ("labels", {"liver": 1.0}, "labels.liver: expected int, found 1.0"),
    ("labels", {"liver": "1"}, "labels.liver: expected int, found '1'"),
    ("postprocess", {}, "postprocess: expected array"),
    ("postprocess", ["liver"], "postprocess[0]: expected object"),
    ("postprocess", [{"keep": "largest"}], "postprocess[0]: missing key: label"),
    ("postprocess", [{"label": "heart", "keep": "largest"}], "[0].label: 'heart' is not in labels"),
    (
        "postprocess",
        [{"label": ["liver"], "keep": "largest"}],
        "[0].label: expected str",
    ),
    ("postprocess", [{"label": "liver"}], "postprocess[0]: a rule has either 'keep' or 'min_ml'"),
    ("postprocess", [{"label": "liver", "keep": "largest", "min_ml": 1}], "either 'keep' or"),
    (
        "postprocess",
        [{"label": "liver", "keep": "two"}],
        "postprocess[0].keep: expected one of 'largest', found 'two'",
    ),
    ("postprocess", [{"label": "liver", "min_ml": "1"}], "[0].min_ml: expected float"),
    ("postprocess", [{"label": "liver", "min_ml": math.nan}], "[0].min_ml: expected float"),
    ("provenance", "me", "provenance: expected object"),
    ("crop", "organs", "crop: 'organs' needs a localiser, found none"),
    ("files.localiser", FILE, "localiser and files.localiser are a pair, found one alone"),
    ("localiser", LOCALISER, "localiser and files.localiser are a pair, found one alone"),
    ("localiser", "me", "localiser: expected object"),
    ("localiser", LOCALISER | {"step": 1.5}, "localiser.step: must be in (0, 1], found 1.5"),
    ("localiser", LOCALISER | {"margin_mm": 0}, "localiser.margin_mm: expected float > 0.0"),
    ("localiser", LOCALISER | {"least_certainty": 2}, "localiser.least_certainty: expected float"),
    ("localiser", LOCALISER | {"margin": 1}, "localiser: unknown keys: margin"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_what_the_schema_does_not_allow_is_refused(
    load_changed, manifest_path, key, value, message
):
    with pytest.raises(ManifestError) as caught:
        load_changed(key, value)
    assert str(caught.value).startswith(f"manifest {manifest_path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


ALLOWED = [
    ("orientation", None),
    ("orientation", "LPS"),
    ("spacing_mm", [3, 2, 2]),
    ("window.step", 1),
    ("window.mirror_axes", []),
    ("postprocess", [{"label": "liver", "keep": "largest"}, {"label": "tumour", "min_ml": 1}]),
    ("files.onnx.path", "weights/tiny.onnx"),
    ("files.onnx.path", "..hidden/tiny.onnx"),
    ("provenance", {}),
    ("localiser", None),
]


@pytest.mark.parametrize(("key", "value"), ALLOWED)
def test_what_the_schema_allows_is_read(load_changed, key, value):
    load_changed(key, value)


def test_a_localiser_comes_with_its_file(load_changed, table, manifest_path):
    files = {**table["files"], "localiser": FILE}
    bounds = {"intensity": LOCALISER["intensity"] | {"clip_hu": [300.0, -200.0]}}
    manifest_path.write_text(json.dumps(table | {"files": files, "localiser": LOCALISER}))
    manifest = load_manifest(manifest_path)
    network, spec = manifest.of_localiser()
    assert (spec.margin_mm, network.spacing_mm) == (16.0, (8.0, 8.0, 8.0))
    assert (network.window.patch, network.files["onnx"].bytes) == ((40, 40, 56), 1)
    manifest.write(manifest_path)
    assert load_manifest(manifest_path).localiser == spec
    manifest_path.write_text(json.dumps(table | {"files": files, "localiser": LOCALISER | bounds}))
    with pytest.raises(ManifestError, match=r"localiser\.intensity\.clip_hu: the lower bound"):
        load_manifest(manifest_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[1", b'"text'])
def test_what_is_no_json_is_refused(manifest_path, content):
    manifest_path.write_bytes(content)
    with pytest.raises(ManifestError, match="is not JSON"):
        load_manifest(manifest_path)


@pytest.mark.parametrize("content", [b"[]", b"null", b"1", b'"text"'])
def test_json_that_is_no_table_is_refused(manifest_path, content):
    manifest_path.write_bytes(content)
    with pytest.raises(ManifestError, match="json: expected object"):
        load_manifest(manifest_path)


def test_a_key_given_twice_is_refused(manifest_path):
    text = manifest_path.read_text().replace('"crop": "none"', '"crop": "none", "crop": "nonzero"')
    manifest_path.write_text(text)
    with pytest.raises(ManifestError, match="'crop' is given twice"):
        load_manifest(manifest_path)


def test_missing_manifest(tmp_path):
    with pytest.raises(ManifestError, match=r"cannot read manifest .*: No such file"):
        load_manifest(tmp_path / "none.json")


def test_files_that_are_as_described(network):
    verify_files(network())


def test_one_changed_byte_is_noticed(network):
    manifest = network()
    path = manifest.weights("onnx")
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=r"sha256 [0-9a-f]{64}, the manifest says [0-9a-f]{64}"):
        verify_files(manifest)


def test_a_cut_file_is_noticed_by_its_size(network):
    manifest = network()
    path = manifest.weights("onnx")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ManifestError, match=f"{size - 5} bytes, the manifest says {size}"):
        verify_files(manifest)


def test_weights_elsewhere_must_have_the_same_digest(network, tmp_path):
    manifest = network()
    elsewhere = tmp_path / "elsewhere.onnx"
    elsewhere.write_bytes(manifest.weights("onnx").read_bytes())
    moved = manifest.with_onnx(elsewhere)
    assert moved.weights("onnx") == elsewhere
    verify_files(moved)
    elsewhere.write_bytes(b"something else")
    with pytest.raises(ManifestError, match="14 bytes, the manifest says"):
        verify_files(moved)


def test_weights_elsewhere_leave_the_integer_ones_behind(network):
    manifest = network()
    onnx = manifest.files["onnx"]
    both = network(files={"onnx": onnx, "int8": onnx, "int8_weights": onnx})
    assert both.with_onnx(both.weights("onnx")).files.keys() == {"onnx"}


def test_unknown_kind_of_weights(network):
    with pytest.raises(ManifestError, match="has no 'torch' weights; it has: onnx"):
        network().weights("torch")
