"""Reads weights_manifest.json.

Strict: an unknown or missing key is an error, so that a misspelt one is never a silent default.
"""

import json
import math
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, cast

from imaging.digest import sha256
from imaging.errors import ManifestError
from imaging.geometry import Shape, SpacingMm, is_orientation
from inference.manifest import (
    INT8,
    SCHEMA,
    ComponentRule,
    Intensity,
    Manifest,
    WeightsFile,
    WindowSpec,
)
from inference.region import CROPS

T = TypeVar("T")


def load_manifest(path: Path) -> Manifest:
    """Read and check a manifest; the weights themselves are not read (see `verify_files`).

    Raises:
        ManifestError: It is missing, is not JSON, or does not say exactly what the schema asks.
    """
    try:
        content = path.read_bytes()
        table = json.loads(content, object_pairs_hook=_once_each)
    except OSError as error:
        raise ManifestError(f"cannot read manifest {path}: {error.strerror}") from error
    except ValueError as error:
        raise ManifestError(f"manifest {path} is not JSON: {error}") from error
    reader = _Reader(str(path))
    manifest = reader.manifest(table, path.parent, sha256(content))
    reader.check(manifest)
    return manifest


class _Reader:
    """Turns JSON into the dataclasses; every complaint names the file and the key."""

    def __init__(self, where: str) -> None:
        self._where = where

    def manifest(self, table: Any, folder: Path, digest: str) -> Manifest:
        found = table.get("schema") if isinstance(table, dict) else table
        if table is found or type(found) is not int or found != SCHEMA:
            raise self._error("schema", f"expected {SCHEMA}, found {found!r}")
        kinds = {"schema", *(f.name for f in fields(Manifest))} - {"folder", "sha256"}
        self._keys(table, kinds, kinds, "manifest")
        rules = self._typed(table["postprocess"], list, "postprocess")
        files = self._typed(table["files"], dict, "files")
        window = self._table(WindowSpec, table["window"], "window")
        intensity = self._table(Intensity, table["intensity"], "intensity")
        orientation = table["orientation"]
        return Manifest(
            name=self._typed(table["name"], str, "name"),
            files={k: self._table(WeightsFile, v, f"files.{k}") for k, v in files.items()},
            orientation=None
            if orientation is None
            else self._typed(orientation, str, "orientation"),
            spacing_mm=cast(SpacingMm, self._numbers(table["spacing_mm"], 3, "spacing_mm")),
            crop=self._typed(table["crop"], str, "crop"),
            intensity=Intensity(
                cast(tuple[float, float], self._numbers(intensity.clip_hu, 2, "clip_hu")),
                *self._numbers([intensity.mean_hu, intensity.std_hu], 2, "intensity"),
            ),
            window=WindowSpec(
                cast(Shape, self._integers(window.patch, "window.patch", 3)),
                self._numbers([window.step], 1, "step")[0],
                self._typed(window.blending, str, "blending"),
                self._typed(window.tta, str, "tta"),
                self._integers(window.mirror_axes, "window.mirror_axes"),
            ),
            labels=self._typed(table["labels"], dict, "labels"),
            postprocess=tuple(self._rule(rule) for rule in rules),
            provenance=self._typed(table["provenance"], dict, "provenance"),
            folder=folder,
            sha256=digest,
        )

    def check(self, manifest: Manifest) -> None:
        """Check what types cannot say."""
        values = list(manifest.labels.values())
        ordered = values == list(range(1, len(values) + 1)) and values != []
        flipped = manifest.window.mirror_axes
        rules = manifest.postprocess
        turn = manifest.orientation
        low_hu, high_hu = manifest.intensity.clip_hu
        facts = (
            ("labels", ordered and {*map(type, values)} == {int}, "values must be 1, 2, 3, …"),
            ("files", "onnx" in manifest.files, "an 'onnx' file is needed"),
            ("files", len({*INT8} & {*manifest.files}) != 1, f"{' and '.join(INT8)} are a pair"),
            ("files", all(_inside(f.path) for f in manifest.files.values()), "path leaves folder"),
            ("orientation", turn is None or is_orientation(turn), f"{turn!r} is no orientation"),
            ("crop", manifest.crop in CROPS, f"must be one of {', '.join(CROPS)}"),
            ("spacing_mm", min(manifest.spacing_mm) > 0, "must be positive"),
            ("intensity.std_hu", manifest.intensity.std_hu > 0, "must be positive"),
            ("intensity.clip_hu", low_hu < high_hu, "the lower bound comes first"),
            ("window.patch", min(manifest.window.patch) > 0, "must be positive"),
            ("window.step", 0 < manifest.window.step <= 1, "must be in (0, 1]"),
            ("window.blending", manifest.window.blending in ("gaussian", "constant"), "unknown"),
            ("window.tta", manifest.window.tta in ("none", "flip-x", "full"), "unknown"),
            ("window.mirror_axes", set(flipped) <= {0, 1, 2}, "must be of 0, 1, 2, each once"),
            ("window.mirror_axes", len(set(flipped)) == len(flipped), "must be each once"),
            ("postprocess", all(r.label in manifest.labels for r in rules), "unknown label"),
            ("postprocess", all(r.keep in (None, "largest") for r in rules), "unknown keep"),
            (
                "postprocess",
                all((r.keep is None) != (r.min_ml is None) for r in rules),
                "a rule has either 'keep' or 'min_ml'",
            ),
        )
        for key, holds, complaint in facts:
            if not holds:
                raise self._error(key, complaint)

    def _error(self, key: str, complaint: str) -> ManifestError:
        return ManifestError(f"manifest {self._where}: {key}: {complaint}")

    def _keys(self, table: dict[str, Any], known: set[str], needed: set[str], key: str) -> None:
        odd = sorted((table.keys() - known) | (needed - table.keys()))
        if odd:
            raise self._error(key, f"unknown or missing keys: {', '.join(odd)}")

    def _table(self, kind: type[T], table: Any, key: str) -> T:
        table = self._typed(table, dict, key)
        known = {f.name for f in fields(cast(Any, kind))}
        optional = {"keep", "min_ml"} if kind is ComponentRule else set()
        self._keys(table, known, known - optional, key)
        if kind is WeightsFile:
            for name, expected in (("path", str), ("sha256", str), ("bytes", int)):
                self._typed(table[name], expected, f"{key}.{name}")
        return kind(**table)

    def _rule(self, table: Any) -> ComponentRule:
        rule = self._table(ComponentRule, table, "postprocess")
        self._typed(rule.label, str, "postprocess.label")
        if rule.min_ml is not None:
            self._numbers([rule.min_ml], 1, "postprocess.min_ml")
        return rule

    def _typed(self, value: Any, kind: type[T], key: str) -> T:
        if type(value) is not kind:
            raise self._error(key, f"expected {kind.__name__}, found {value!r}")
        return value

    def _numbers(self, values: Any, count: int, key: str) -> tuple[float, ...]:
        good = isinstance(values, list) and len(values) == count
        if not good or not all(type(v) in (int, float) and abs(v) < math.inf for v in values):
            raise self._error(key, f"expected {count} finite numbers, found {values!r}")
        try:
            return tuple(float(v) for v in values)
        except OverflowError as error:
            raise self._error(key, f"expected {count} finite numbers, found huge ones") from error

    def _integers(self, values: Any, key: str, count: int | None = None) -> tuple[int, ...]:
        good = isinstance(values, list) and count in (None, len(values))
        if not good or any(type(v) is not int for v in values):
            told = "integers" if count is None else f"{count} integers"
            raise self._error(key, f"expected {told}, found {values!r}")
        return tuple(values)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a JSON object that gives a key twice: the first would be lost without a word."""
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"{key!r} is given twice")
        table[key] = value
    return table


def _inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts
