"""The model card of a network: what its manifest says, as a page for people."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imaging.files import replacing
from inference.manifest import Manifest

_TEMPLATE = Path(__file__).with_name("card_template.md")


def write_card(manifest: Manifest, path: Path) -> None:
    """Write the model card of a network as Markdown.

    Raises:
        KitError: The file cannot be written.
    """
    text = _TEMPLATE.read_text(encoding="utf-8").format(
        manifest=manifest,
        hu=manifest.intensity,
        window=manifest.window,
        orientation=manifest.orientation or "as stored",
        spacing=" × ".join(f"{mm:g}" for mm in manifest.spacing_mm),
        patch=" × ".join(map(str, manifest.window.patch)),
        labels="\n".join(_labels(manifest)),
        files="\n".join(
            f"| {kind} | {file.path} | {file.bytes:,} | `{file.sha256}` |"
            for kind, file in manifest.files.items()
        ),
        provenance="".join(f"\n{line}" for line in _provenance(manifest)),
    )
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _labels(manifest: Manifest) -> Iterator[str]:
    rules = {rule.label: rule for rule in manifest.postprocess}
    for label, value in manifest.labels.items():
        rule = rules.get(label)
        kept = "every component"
        if rule is not None and rule.keep:
            kept = "the largest component"
        elif rule is not None:
            kept = f"components of {rule.min_ml:g} ml or more"
        yield f"| {value} | {label} | {kept} |"


def _provenance(manifest: Manifest) -> Iterator[str]:
    for key, value in manifest.provenance.items():
        yield from ("", f"### {_words(key)}", "", *_shown(value))


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
    else:
        yield _text(value)


def _bullets(table: dict[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield f"{indent}- {_words(key)}:"
            yield from _bullets(value, indent + "  ")
        else:
            yield f"{indent}- {_words(key)}: {_text(value)}"


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _words(key: str) -> str:
    return key.replace("_", " ")
