"""Croissant metadata of weights: files by digest, labels as records, licence and origin as text.

Croissant (docs.mlcommons.org/croissant, version 1.0) describes data sets; a manifest's files and
labels fit into it, what makes them a network stays in the manifest, which is among the files.
"""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlcroissant as mlc

from imaging import __version__
from imaging.digest import file_sha256
from imaging.errors import KitError
from imaging.files import replacing
from imaging.records import write_json
from inference.manifest import Manifest, load_manifest

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_FORMATS = {".onnx": "application/onnx", ".json": "application/json", ".xml": "application/xml"}
_PLAIN_VERSION = re.compile(r"\d+\.\d+\.\d+")
"""What Croissant takes for a version; it is that of the kit that wrote the metadata."""
_BINARY = "application/octet-stream"


def croissant_of(manifest: Manifest, path: Path) -> dict[str, Any]:
    """Return the metadata as JSON-LD.

    Args:
        manifest: Of the weights.
        path: Its file; addresses in the metadata are relative to its folder.

    Raises:
        KitError: mlcroissant finds an error in it.
    """
    files = [_file("manifest", path.name, file_sha256(path), path.stat().st_size)]
    files += [_file(k, f.path, f.sha256, f.bytes) for k, f in manifest.files.items()]
    license_text = str(manifest.provenance.get("license", "not stated"))
    try:
        metadata = mlc.Metadata(
            name=manifest.name,
            description=_description(manifest),
            conforms_to=[CONFORMS_TO],
            license=[license_text],
            url="https://arxiv.org/abs/2310.01159",
            cite_as="Zhuang et al., arXiv 2310.01159, 2023: the paper that the kit reproduces",
            version=__version__ if _PLAIN_VERSION.fullmatch(__version__) else None,
            date_published=datetime.fromtimestamp(path.stat().st_mtime, UTC),
            creators=[mlc.Organization(name="flare23-kit", url="https://arxiv.org/abs/2310.01159")],
            distribution=files,
            record_sets=[_labels(manifest)],
        )
        return dict(json.loads(json.dumps(metadata.to_json(), default=str)))
    except mlc.ValidationError as error:
        raise KitError(f"{path}: no Croissant metadata can be made of it: {error}") from error


def write_croissant(path: Path, target: Path) -> None:
    """Write the metadata of a manifest's weights.

    Raises:
        KitError: The manifest cannot be read, or the file cannot be written.
    """
    table = croissant_of(load_manifest(path), path)
    with replacing(target) as partial:
        write_json(table, partial)


def _file(name: str, place: str, sha256: str, size: int) -> mlc.FileObject:
    return mlc.FileObject(
        id=name,
        name=name,
        content_url=place,
        content_size=f"{size} B",
        encoding_formats=[_FORMATS.get(Path(place).suffix, _BINARY)],
        sha256=sha256,
    )


def _labels(manifest: Manifest) -> mlc.RecordSet:
    """Return the labels as records that stand in the metadata themselves."""
    return mlc.RecordSet(
        id="labels",
        name="labels",
        description="Values of the label maps that the network writes; 0 is background.",
        key=["labels/value"],
        fields=[
            mlc.Field(id="labels/value", name="value", description="The value.",
                      data_types=[mlc.DataType.INTEGER]),
            mlc.Field(id="labels/organ", name="organ", description="What it means.",
                      data_types=[mlc.DataType.TEXT]),
        ],
        data=[{"labels/value": v, "labels/organ": name} for name, v in manifest.labels.items()],
    )  # fmt: skip


def _description(manifest: Manifest) -> str:
    grid = " × ".join(f"{mm:g}" for mm in manifest.spacing_mm)
    origin = "; ".join(
        f"{key}: {value}" for key, value in manifest.provenance.items() if isinstance(value, str)
    )
    data = manifest.provenance.get("data")
    rows = data if isinstance(data, list) else []
    sources = "; ".join(
        f"{row.get('what')} ({row.get('source')}, {row.get('license')})"
        for row in rows
        if isinstance(row, dict)
    )
    parts = [
        f"Weights that label {len(manifest.labels)} structures in abdominal CT, on a grid of "
        f"{grid} mm. For research; not a medical device.",
        f"Origin: {origin}." if origin else "",
        f"Trained on: {sources}." if sources else "",
    ]
    return " ".join(filter(None, parts))
