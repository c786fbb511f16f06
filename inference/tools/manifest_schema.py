"""The JSON Schema of weights_manifest.json, for editors and other programs.

It is made from the types that `inference.manifest` reads with. `_MEANINGS` adds what each key
means, `_RULES` what those types cannot express and the reader checks by itself.
"""

from itertools import permutations, product
from typing import Any

from imaging.records import json_schema
from inference.manifest import CROPS, INT8, SCHEMA, Manifest

_NOT_NULL = {"not": {"type": "null"}}
_ORIENTATIONS = sorted(
    "".join(letters) for pairs in permutations(("RL", "AP", "SI")) for letters in product(*pairs)
)
_PAIR = {INT8[0]: [INT8[1]], INT8[1]: [INT8[0]]}
_MEANINGS = {
    "Manifest": {
        "schema": "Version of this format.",
        "name": "Name of the network, for reports.",
        "files": "Files of weights by format: onnx; perhaps int8 with int8_weights, or localiser.",
        "orientation": "Axes the network was trained in, such as LPS; null: as stored in the CT.",
        "spacing_mm": "Working grid (Z, Y, X), in mm.",
        "crop": "Region of interest: all, the box of voxels that are not 0, the body, the organs.",
        "intensity": "Normalization: clip to clip_hu, subtract mean_hu, divide by std_hu.",
        "window": "How the network's patch is moved over the CT.",
        "labels": "Names and values of the outputs after the background: 1, 2, 3, … in order.",
        "postprocess": "Component rules, applied in order.",
        "provenance": "Where the network comes from; free, prediction does not read it.",
        "localiser": "How to use the small network of files.localiser, which finds the organs.",
    },
    "LocaliserSpec": {
        "spacing_mm": "Its working grid (Z, Y, X), in mm.",
        "intensity": "Its normalization.",
        "patch": "Size of its input (Z, Y, X), in voxels of its grid.",
        "step": "From window to window, as a share of its patch: above 0, at most 1.",
        "margin_mm": "Around everything that it finds, in mm.",
        "least_certainty": "Below it the body's box is taken instead, 0 to 1.",
    },
    "WeightsFile": {
        "path": "Relative to the manifest's folder; it must not leave it.",
        "sha256": "Digest of the file, 64 hexadecimal digits in lower case.",
        "bytes": "Size of the file.",
    },
    "Intensity": {
        "clip_hu": "Lower and upper bound, in HU.",
        "mean_hu": "In HU.",
        "std_hu": "In HU, above 0.",
    },
    "WindowSpec": {
        "patch": "Size of the network's input (Z, Y, X), in voxels of the working grid.",
        "step": "From window to window, as a share of the patch: above 0, at most 1.",
        "blending": "Weights of overlapping windows.",
        "tta": "Test-time augmentation: windows laid or flipped in several ways, averaged.",
        "mirror_axes": "Axes that the network was trained to be flipped in: 0 Z, 1 Y, 2 X.",
    },
    "ComponentRule": {
        "label": "One of the names in labels.",
        "keep": "Keep the largest connected component.",
        "min_ml": "Keep the components of at least this volume, in ml.",
    },
}
_RULES: dict[str, dict[str, dict[str, Any]]] = {
    "Manifest": {
        "files": {"required": ["onnx"], "dependentRequired": _PAIR},
        "orientation": {"enum": [None, *_ORIENTATIONS]},
        "crop": {"enum": [*CROPS]},
        "labels": {"minProperties": 1, "additionalProperties": {"type": "integer", "minimum": 1}},
    },
    "WeightsFile": {"path": {"pattern": r"^(?!/)(?!([\s\S]*/)?\.\.(/|$))"}},
    "LocaliserSpec": {"step": {"maximum": 1}},
    "WindowSpec": {
        "step": {"maximum": 1},
        "mirror_axes": {"items": {"type": "integer", "enum": [0, 1, 2]}, "uniqueItems": True},
    },
}
_ONE_RULE = {
    "oneOf": [{"required": [key], "properties": {key: _NOT_NULL}} for key in ("keep", "min_ml")]
}


def manifest_schema() -> dict[str, Any]:
    """Return the schema, draft 2020-12.

    What it cannot say: that label values count up from 1 without a gap, that the lower bound of
    `clip_hu` comes first, that `postprocess` names labels of this manifest, that a localiser comes
    with its file and `crop` "organs" with a localiser, that a whole number is written without a
    point, and what the files hold.
    """
    table = json_schema(Manifest, head={"schema": SCHEMA}, known=("folder", "sha256"))
    parts = {"Manifest": table, **table["$defs"]}
    for kind, meanings in _MEANINGS.items():
        for key, meaning in meanings.items():
            described = {**parts[kind]["properties"][key], **_RULES.get(kind, {}).get(key, {})}
            parts[kind]["properties"][key] = {"description": meaning, **described}
    parts["ComponentRule"] |= _ONE_RULE
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "weights_manifest.json of the FLARE23 kit",
        **{key: value for key, value in table.items() if key != "title"},
    }
