"""The model card of a network: what its manifest says, as a page for people."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imaging.files import replacing
from inference.manifest import Manifest

_USE = (
    "For research and for benchmarks on abdominal CT of adults. **Not a medical device**: not for "
    "diagnosis, planning or any decision about a patient. A person has to review every label map."
)
_GENERATED = "<!-- Written by `python -m inference card`; edit the manifest instead. -->"


def write_card(manifest: Manifest, path: Path) -> None:
    """Write the model card of a network as Markdown.

    Raises:
        KitError: The file cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text("\n".join(_lines(manifest)) + "\n", encoding="utf-8")


def _lines(manifest: Manifest) -> Iterator[str]:
    yield from (f"# Model card: {manifest.name}", "", _GENERATED, "", _USE, "")
    yield from ("## Input and output", "")
    yield from _bullets(_facts(manifest))
    yield from ("", "| value | label | kept after prediction |", "| --- | --- | --- |")
    rules = {rule.label: rule for rule in manifest.postprocess}
    for label, value in manifest.labels.items():
        rule = rules.get(label)
        kept = "every component"
        if rule is not None and rule.keep:
            kept = "the largest component"
        elif rule is not None:
            kept = f"components of {rule.min_ml:g} ml or more"
        yield f"| {value} | {label} | {kept} |"
    yield from (
        "",
        "## Files",
        "",
        "| format | file | bytes | SHA-256 |",
        "| --- | --- | --- | --- |",
    )
    for kind, file in manifest.files.items():
        yield f"| {kind} | {file.path} | {file.bytes:,} | `{file.sha256}` |"
    yield from ("", "## Where it comes from")
    for key, value in manifest.provenance.items():
        yield from ("", f"### {_words(key)}", "")
        yield from _shown(value)


def _facts(manifest: Manifest) -> dict[str, str]:
    """Return what goes in and how it is prepared."""
    window, intensity = manifest.window, manifest.intensity
    low, high = intensity.clip_hu
    spacing = " × ".join(f"{mm:g}" for mm in manifest.spacing_mm)
    patch = " × ".join(map(str, window.patch))
    return {
        "input": "one CT in Hounsfield units",
        "orientation": manifest.orientation or "as stored",
        "working grid": f"{spacing} mm (Z, Y, X)",
        "region of interest": manifest.crop,
        "intensities": f"clipped to {low:g} to {high:g} HU, then "
        f"(HU - {intensity.mean_hu:g}) / {intensity.std_hu:g}",
        "windows": f"{patch} voxels, step {window.step:g}, {window.blending} blending",
        "test-time augmentation": window.tta,
        "output": "one label a voxel, on the voxels of the CT; 0 is background",
    }


def _shown(value: Any) -> Iterator[str]:
    """Yield a value of the provenance: a table, a list or a sentence."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        columns = list(dict.fromkeys(key for row in value for key in row))
        yield f"| {' | '.join(map(_words, columns))} |"
        yield f"|{' --- |' * len(columns)}"
        for row in value:
            yield f"| {' | '.join(str(row.get(key, '')) for key in columns)} |"
    elif isinstance(value, dict):
        yield from _bullets(value)
    elif isinstance(value, list):
        yield ", ".join(map(str, value)) or "none"
    else:
        yield str(value)


def _bullets(table: dict[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield f"{indent}- {_words(key)}:"
            yield from _bullets(value, indent + "  ")
        else:
            text = ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
            yield f"{indent}- {_words(key)}: {text}"


def _words(key: str) -> str:
    return key.replace("_", " ")
