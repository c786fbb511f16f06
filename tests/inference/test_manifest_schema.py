"""The JSON Schema of manifests says what the reader does, and the page names every key."""

import json
import re
from dataclasses import field, fields, make_dataclass
from itertools import permutations, product
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
from click.testing import CliRunner

from inference.cli import main
from inference.manifest import CROPS, INT8, SCHEMA, Manifest, load_manifest
from tests.inference.test_manifest import ALLOWED, WRONG, changed

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).parents[2]
FILE = ROOT / "inference/manifest.schema.json"
PAGE = (ROOT / "docs/manifest.md").read_text(encoding="utf-8")
MANIFESTS = [ROOT / "weights_manifest.json", *sorted(ROOT.glob("train/teachers/*.json"))]
NOT_JSON = ("NaN", "Infinity")
BEYOND = {
    "files.onnx.bytes: expected int, found 3.0",
    "window.patch[2]: expected int, found 6.0",
    "labels.liver: expected int, found 1.0",
    "schema: expected 1, found 1.0",
    "1, 2, 3, … in order, found [1, 3]",
    "clip_hu: the lower bound comes first, found 400, ",
    "[0].label: 'heart' is not in labels",
    "crop: 'organs' needs a localiser, found none",
    "localiser and files.localiser are a pair, found one alone",
}
"""What the reader refuses and a schema cannot; the page says so."""


@pytest.fixture(scope="module")
def schema():
    return jsonschema.Draft202012Validator(json.loads(FILE.read_text(encoding="utf-8")))


@pytest.fixture
def table(manifest_path):
    return json.loads(manifest_path.read_text())


def keys(described, parts, path=""):
    """Yield the path of every key; `*` stands for names that the user chooses."""

    def whole(part):
        part = next((one for one in part.get("anyOf", ()) if "$ref" in one), part)
        return parts[part["$ref"].rpartition("/")[2]] if "$ref" in part else part

    for key, value in whole(described).get("properties", {}).items():
        here = f"{path}{key}"
        yield here
        value = whole(value)
        if isinstance(value.get("additionalProperties"), dict):
            yield from keys(value["additionalProperties"], parts, f"{here}.*.")
        elif isinstance(value.get("items"), dict):
            yield from keys(value["items"], parts, f"{here}[].")
        else:
            yield from keys(value, parts, f"{here}.")


def test_it_is_a_schema_of_its_draft(schema):
    schema.check_schema(schema.schema)


def by_the_types():
    """The schema that msgspec makes of `Manifest`: without meanings, and what types cannot say."""
    types = get_type_hints(Manifest, include_extras=True)
    written = [
        (item.name, types[item.name], field(default=item.default))
        for item in fields(Manifest)
        if item.name not in ("folder", "sha256")  # of the file that was read, not in it
    ]
    parts = msgspec.json.schema(make_dataclass("Manifest", written))["$defs"]
    whole = parts.pop("Manifest")
    whole["properties"] = {"schema": {"const": SCHEMA}, **whole["properties"]}
    whole["required"].insert(0, "schema")
    for part in (whole, *parts.values()):
        part["additionalProperties"] = False
    return {**whole, "$defs": parts}


def holds(told, expected):
    """Whether `told` says all that `expected` does; it may say more, and a lower maximum."""
    if isinstance(expected, dict) and isinstance(told, dict):
        return all(
            key in told and (holds(told[key], value) or (key == "maximum" and told[key] < value))
            for key, value in expected.items()
        )
    return type(told) is type(expected) and told == expected


def test_the_file_says_what_the_types_say(schema):
    expected = by_the_types()
    told = {**schema.schema, "title": "Manifest"}
    assert told["$defs"].keys() == expected["$defs"].keys()
    parts = [(told["$defs"][name], typed) for name, typed in expected["$defs"].items()]
    for part, typed in ((told, expected), *parts):
        assert [*part["properties"]] == [*typed["properties"]]
        for key, value in typed["properties"].items():
            assert holds(part["properties"][key], value), key
            assert part["properties"][key]["description"]
        assert holds(part, {key: typed[key] for key in typed if key not in ("properties", "$defs")})


def test_it_names_the_choices_of_the_reader(schema):
    keys = schema.schema["properties"]
    assert keys["crop"]["enum"] == [*CROPS]
    assert keys["files"]["required"] == ["onnx"]
    one, other = INT8
    assert keys["files"]["dependentRequired"] == {one: [other], other: [one]}
    axes = permutations(("RL", "AP", "SI"))
    codes = sorted("".join(letters) for pairs in axes for letters in product(*pairs))
    assert keys["orientation"]["enum"] == [None, *codes]


def test_verify_prints_it():
    done = CliRunner().invoke(main, ["verify", "--schema"])
    assert done.exit_code == 0
    assert done.output == FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_the_kits_own_manifests_hold_to_it(schema, path):
    load_manifest(path)
    schema.validate(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("key", "value"), ALLOWED)
def test_what_the_reader_takes_is_valid(schema, table, key, value):
    schema.validate(changed(table, key, value))


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_what_the_reader_refuses_is_invalid_or_said_to_be_beyond_it(
    schema, table, key, value, message
):
    found = changed(table, key, value)
    if any(word in json.dumps(found) for word in NOT_JSON):
        return
    assert schema.is_valid(found) == (message in BEYOND)


@pytest.mark.parametrize("key", ["keep", "min_ml"])
def test_a_null_is_as_good_as_none(schema, table, manifest_path, key):
    rule = {"label": "liver", "keep": "largest", "min_ml": 1.0} | {key: None}
    found = changed(table, "postprocess", [rule])
    schema.validate(found)
    manifest_path.write_text(json.dumps(found))
    load_manifest(manifest_path)


def test_verify_names_the_path_of_what_is_wrong(table, manifest_path):
    manifest_path.write_text(json.dumps(changed(table, "window.patch", [4, 5, 6.5])))
    done = CliRunner().invoke(main, ["verify", str(manifest_path)])
    assert done.exit_code == 1
    expected = f"Error: manifest {manifest_path}: window.patch[2]: expected int, found 6.5\n"
    assert done.output == expected


def test_the_page_names_every_key_and_no_other(schema):
    found = {*keys(schema.schema, schema.schema["$defs"])}
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(found)


def test_the_example_of_the_page_is_a_manifest(schema, tmp_path):
    [text] = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    schema.validate(json.loads(text))
    (tmp_path / "example.json").write_text(text, encoding="utf-8")
    load_manifest(tmp_path / "example.json")
